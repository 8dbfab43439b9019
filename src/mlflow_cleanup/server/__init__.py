"""`ui` and `server`: MLflow as a child process with the monitor beside it."""
