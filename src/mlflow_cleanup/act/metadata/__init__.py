"""Removing the rows of what is gone for good from MLflow's own tables."""

from mlflow_cleanup.act.metadata.foresight import foresee
from mlflow_cleanup.act.metadata.job import remove_rows
from mlflow_cleanup.act.metadata.pacing import UNPACED, Pace
from mlflow_cleanup.act.metadata.targets import CHANGED, Outcome, Result, Target, TargetKind
from mlflow_cleanup.act.metadata.vacuum import Vacuumed, vacuum

__all__ = [
    "CHANGED",
    "UNPACED",
    "Outcome",
    "Pace",
    "Result",
    "Target",
    "TargetKind",
    "Vacuumed",
    "foresee",
    "remove_rows",
    "vacuum",
]
