"""What the tracking database said at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mlflow_cleanup.model.claim import ClaimIndex
from mlflow_cleanup.model.holding import Holdings
from mlflow_cleanup.model.moment import from_ms


@dataclass(frozen=True, slots=True)
class RunRow:
    """One row of `runs`, as far as cleaning up needs it.

    `artifact_uri` and `name` are any client's text. `lifecycle_stage` is "active" or "deleted";
    anything else counts as active. `deleted_ms` is None before MLflow 1.28.
    """

    run_id: str
    experiment_id: str
    artifact_uri: str | None
    lifecycle_stage: str
    status: str | None = None
    name: str | None = None
    deleted_ms: int | None = None

    @property
    def deleted_at(self) -> datetime | None:
        """When it was deleted (UTC), None where that is not known."""
        return from_ms(self.deleted_ms)

    @property
    def is_deleted(self) -> bool:
        """Tell whether MLflow calls the run deleted; every other stage is a live one."""
        return self.lifecycle_stage == "deleted"


@dataclass(frozen=True, slots=True)
class BackendIdentity:
    """What tells one tracking database from another, as MLflow stores no id of its own.

    `anchors` maps the ids of the oldest experiments, and of the oldest that are not deleted, to
    their creation time in ms (None before MLflow 1.30). `change_count` is SQLite's file change
    counter, which only grows while the file lives on; None where there is no such counter. `file`
    is device and inode; `schema_count` the schema cookie, which SQLite's backup API and VACUUM
    count up though the schema stays the same; `pages` the size of the database, which only VACUUM
    makes smaller.

    On a server `change_count` counts transactions, `server` is its own id, None where that cannot
    be read, `file` that of the database there, `schema_count` when its tables were made, and
    `timeline` PostgreSQL's, which a fail-over and a restored backup count up. `is_standby`: it
    follows another server, and may be behind it.
    """

    anchors: Mapping[str, int | None]
    change_count: int | None = None
    file: str | None = None
    schema_count: int | None = None
    pages: int | None = None
    server: str | None = None
    timeline: int | None = None
    is_standby: bool = False

    def is_same_as(self, other: BackendIdentity) -> bool:
        """Tell whether both can be one database: some oldest experiment is the same in both."""
        dated = {id_: at for id_, at in self.anchors.items() if at is not None}
        others = {id_: at for id_, at in other.anchors.items() if at is not None}
        if not dated or not others:
            return True  # nothing to tell by; vanished rows are what would be noticed then
        return any(others.get(id_) == at for id_, at in dated.items())

    def went_back(self, found: BackendIdentity) -> bool:
        """Tell whether the change counter fell, which it does not while a database lives on.

        Those of two servers have nothing to do with each other.
        """
        pairs = ((self.change_count, found.change_count), (self.timeline, found.timeline))
        return self.server == found.server and any(
            known is not None and now is not None and now < known for known, now in pairs
        )

    def may_become(self, found: BackendIdentity) -> bool:
        """Tell whether a later look at the same database can find this."""
        return self.is_same_as(found) and not self.went_back(found) and not found.is_standby

    def was_written_over(self, found: BackendIdentity) -> bool:
        """Tell whether it is another file, timeline or database, or was written anew as a whole."""
        shrank = None not in (self.pages, found.pages) and (found.pages or 0) < (self.pages or 0)
        return shrank or any(
            None not in pair and pair[0] != pair[1]
            for pair in (
                (self.file, found.file),
                (self.schema_count, found.schema_count),
                (self.timeline, found.timeline),
            )
        )

    def __str__(self) -> str:
        first = min(self.anchors.items(), default=("none", None))
        return f"experiment {first[0]} created at {first[1]} ms"


NO_REVISION = "none"
"""The revision of a database that names none, as while MLflow is still making its tables."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The revision the database says it has, and whether its meaning is known here."""

    revision: str
    is_known: bool


@dataclass(frozen=True, slots=True)
class Heads:
    """The cheap read: which runs are active and which are deleted, by id."""

    active: frozenset[str]
    deleted: frozenset[str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every claim at one moment, read in one transaction.

    `departed` holds the rows asked for that are deleted; a row asked for that is neither there nor
    in `heads.active` is gone. `problems` are the reasons why claims may be incomplete: with any,
    nothing may be judged garbage. `soft_claims` are those of models whose run was deleted.
    `holdings` are read where asked for.
    """

    schema: Schema
    identity: BackendIdentity
    heads: Heads
    claims: ClaimIndex
    departed: Mapping[str, RunRow] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    soft_claims: ClaimIndex = field(default_factory=lambda: ClaimIndex(()))
    holdings: Holdings = field(default_factory=Holdings)
