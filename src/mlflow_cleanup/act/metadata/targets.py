"""What is to be removed from MLflow's tables, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from mlflow_cleanup.model.target import Target, TargetKind


class Result(str, Enum):
    """What became of one target."""

    REMOVED = "removed"
    KEPT = "kept"
    ABSENT = "not there"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One target as it was carried out; all of its rows went, or none. `reason`: why it stays.

    `is_trouble`: not because something needs it, but as the database is not as it should be.
    """

    target: Target
    result: Result
    reason: str = ""
    is_trouble: bool = field(default=False, compare=False)


CHANGED = "its row is not as it was when this was decided: restored, or written to since"
NO_ID = "no entity of this kind can have such an id or time"
NOT_LET_GO = "the database did not let its row go"

__all__ = ["CHANGED", "NOT_LET_GO", "NO_ID", "Outcome", "Result", "Target", "TargetKind"]
