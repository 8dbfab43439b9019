"""Removing the rows of what is gone for good from MLflow's own tables."""

from mlflow_cleanup.act.metadata.job import remove_rows
from mlflow_cleanup.act.metadata.pacing import Pace
from mlflow_cleanup.act.metadata.targets import Outcome, Result, Target, TargetKind
from mlflow_cleanup.act.metadata.vacuum import Vacuumed, vacuum

__all__ = [
    "Outcome",
    "Pace",
    "Result",
    "Target",
    "TargetKind",
    "Vacuumed",
    "remove_rows",
    "vacuum",
]
