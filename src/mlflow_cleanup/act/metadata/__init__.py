"""Removing the rows of what is gone for good from MLflow's own tables.

`sqlite` and `servers` know how it is done on a kind of database; the modules beside them know what
hangs on what, whatever keeps it.
"""

from mlflow_cleanup.act.metadata.pacing import UNPACED, Pace
from mlflow_cleanup.act.metadata.removing import foresee, remove_rows, require_removable, vacuum
from mlflow_cleanup.act.metadata.targets import CHANGED, Outcome, Result, Target, TargetKind
from mlflow_cleanup.act.metadata.vacuumed import Vacuumed

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
    "require_removable",
    "vacuum",
]
