"""Rows of MLflow's tables that may be removed, with the state they were decided on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

DELETED = "deleted"
"""The lifecycle stage of what may be removed; every other one is a live one."""

FINISHED_JOBS = (2, 3, 4, 5)
"""SUCCEEDED, FAILED, TIMEOUT and CANCELED, as `mlflow.entities.JobStatus.to_int` writes them."""


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

    A run and experiment must be deleted still, a logged model too, or its experiment, a trace's
    experiment, and a job finished. `at_ms` is what the row said of when: `deleted_time` of a run,
    `last_updated_timestamp_ms` of a logged model, `last_update_time` of an experiment; None is
    NULL there, and also stands for a column that this schema does not have. Traces and jobs have
    no such time.
    """

    kind: TargetKind
    id: str
    at_ms: int | None = None

    def __str__(self) -> str:
        return f"{self.kind.value} {self.id}"
