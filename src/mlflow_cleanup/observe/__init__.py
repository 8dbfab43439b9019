"""Reading, never writing: the tracking database, whether it changed, and where places really are."""
