"""Reading, never writing: the tracking database, whether it changed, where places really are."""
