"""The command line: one file a verb; verbs parse, call and render."""
