"""What is to be removed from MLflow's tables, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mlflow_cleanup.model.target import Target, TargetKind


class Result(str, Enum):
    """What became of one target."""

    REMOVED = "removed"
    KEPT = "kept"
    ABSENT = "not there"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One target as it was carried out; all of its rows went, or none. `reason`: why it stays."""

    target: Target
    result: Result
    reason: str = ""


CHANGED = "its row is not as it was when this was decided: restored, or written to since"
NO_ID = "no entity of this kind can have such an id or time"
NOT_LET_GO = "the database did not let its row go"

__all__ = ["CHANGED", "NOT_LET_GO", "NO_ID", "Outcome", "Result", "Target", "TargetKind"]
