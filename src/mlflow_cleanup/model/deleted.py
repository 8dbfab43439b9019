"""What MLflow calls deleted, row by row, and what an operator selects of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from mlflow_cleanup.model.target import Target, TargetKind
from mlflow_cleanup.model.verdict import Gone

Ids = tuple[str, ...]

DEFAULT_WORKSPACE = "default"
"""The workspace of everything that was there before there were workspaces."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of what is deleted is to be removed, as the flags of `mlflow gc` say it.

    An id list of None means every one. `older_than` leaves younger ones alone; `takes_jobs` adds
    the finished jobs, all or those of `job_ids`. `workspace` limits everything to one workspace;
    `tolerates_missing`: all workspaces are meant, and an id that is not there is no error.
    """

    older_than: timedelta | None = None
    run_ids: Ids | None = None
    experiment_ids: Ids | None = None
    logged_model_ids: Ids | None = None
    takes_jobs: bool = False
    job_ids: Ids | None = None
    workspace: str | None = None
    tolerates_missing: bool = False

    @property
    def named(self) -> Mapping[TargetKind, Ids]:
        """The ids that were given, by kind; jobs are not among them, which MLflow passes over."""
        given = {
            TargetKind.RUN: self.run_ids,
            TargetKind.EXPERIMENT: self.experiment_ids,
            TargetKind.LOGGED_MODEL: self.logged_model_ids,
        }
        return {kind: ids for kind, ids in given.items() if ids is not None}

    @property
    def targets(self) -> tuple[Target, ...]:
        """The entities that were named."""
        return tuple(Target(kind, id_) for kind, ids in self.named.items() for id_ in ids)


@dataclass(frozen=True, slots=True)
class Deleted:
    """One row that is deleted, belongs to a deleted experiment, or is a finished job.

    `texts` are the locations of its bytes as stored, and `gone` is why they are nobody's; an
    experiment has none of its own, and its location only names a directory. `since_ms` is the time
    that `--older-than` counts from, None where no row says it.
    """

    target: Target
    gone: Gone | None = None
    texts: tuple[str | None, ...] = ()
    since_ms: int | None = None
    name: str | None = None
    experiment_id: str | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """What the rows say of the ids that were given: their stages; those not there are missing.

    `workspaces` are the names of all workspaces, None where the database knows none; `used` those
    that have experiments.
    """

    stages: Mapping[Target, str] = field(default_factory=dict)
    workspaces: frozenset[str] | None = None
    used: frozenset[str] = frozenset()
