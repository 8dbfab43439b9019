"""What is to be removed from MLflow's tables, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

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


@dataclass(frozen=True, slots=True)
class Waiting:
    """One target as it was taken down; `key` is its id as the database has it."""

    number: int
    key: str | int
    target: Target


class Why(NamedTuple):
    """Why a target stays; `is_trouble`: nothing needs it."""

    text: str
    is_trouble: bool = False


class Refused(Exception):
    """Something has to stay, so all that are removed together do for now."""

    def __init__(self, why: str, *, is_trouble: bool = False) -> None:
        self.why = Why(why, is_trouble)
        super().__init__(why)


def outcome_of(item: Waiting, state: bool | None, why: Why | None) -> Outcome:
    """Say what became of a target; `state`: whether its row was as decided, None: not there."""
    if state is None:
        return Outcome(item.target, Result.ABSENT)
    if why is not None:
        return Outcome(item.target, Result.KEPT, why.text, is_trouble=why.is_trouble)
    return Outcome(item.target, Result.REMOVED)


CHANGED = "its row is not as it was when this was decided: restored, or written to since"
NO_ID = "no entity of this kind can have such an id or time"
NOT_LET_GO = "the database did not let its row go"
LOCKED = "others are changing its rows right now"

__all__ = [
    "CHANGED",
    "LOCKED",
    "NOT_LET_GO",
    "NO_ID",
    "Outcome",
    "Refused",
    "Result",
    "Target",
    "TargetKind",
    "Waiting",
    "Why",
    "outcome_of",
]
