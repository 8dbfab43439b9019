"""What is to be removed from MLflow's tables, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class TargetKind(str, Enum):
    """The kinds of entity whose rows can be removed."""

    RUN = "run"
    LOGGED_MODEL = "logged model"
    TRACE = "trace"
    EXPERIMENT = "experiment"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Target:
    """One entity to remove, with the state it was decided on.

    A run, logged model and experiment must be deleted still, a trace's experiment too, a job
    finished. `at_ms` is what the row said of when: `deleted_time` of a run,
    `last_updated_timestamp_ms` of a logged model, `last_update_time` of an experiment; None is
    NULL there, and also stands for a column that this schema does not have. Traces and jobs have
    no such time.
    """

    kind: TargetKind
    id: str
    at_ms: int | None = None


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
