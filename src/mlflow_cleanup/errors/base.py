"""The roots of all errors that mlflow-cleanup raises by itself."""

from __future__ import annotations


class CleanupError(Exception):
    """The root of all errors that mlflow-cleanup raises by itself."""


class BadUsage(CleanupError):
    """An option, environment variable or configuration key that cannot be understood."""
