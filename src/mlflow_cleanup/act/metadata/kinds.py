"""Which row an entity is, and in which state it may go."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, FromClause, and_, column, exists, literal, select, table

from mlflow_cleanup.act.metadata.exactness import exactly
from mlflow_cleanup.model.target import DELETED, FINISHED_JOBS, TargetKind

LARGEST = 2**63 - 1
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Kind:
    """The table of one kind of entity. `needs` are columns without which nothing can be told.

    `goes_with_experiment`: it may go as its experiment is deleted.
    """

    kind: TargetKind
    table: str
    key: str
    needs: tuple[str, ...]
    may_go: Callable[[FromClause], ColumnElement[bool]]
    at: str | None = None
    has_numbers: bool = False
    goes_with_experiment: bool = False

    def key_of(self, id_: str) -> str | int | None:
        """Return the id as the key column holds it; None: no row can have it."""
        if not self.has_numbers:
            return id_ if _is_text(id_) else None
        # '007' is not how anybody names experiment 7.
        if not _NUMBER.fullmatch(id_) or int(id_) > LARGEST:
            return None
        return int(id_)


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_deleted(rows: FromClause) -> ColumnElement[bool]:
    return exactly(rows.c.lifecycle_stage) == DELETED


def _is_finished(rows: FromClause) -> ColumnElement[bool]:
    return rows.c.status.in_(FINISHED_JOBS)


def _has_deleted_experiment(rows: FromClause) -> ColumnElement[bool]:
    of = table("experiments", column("experiment_id"), column("lifecycle_stage")).alias("of")
    found = select(literal(1)).where(
        and_(of.c.experiment_id == rows.c.experiment_id, _is_deleted(of))
    )
    return exists(found.correlate_except(of))


def _is_deleted_or_its_experiment_is(rows: FromClause) -> ColumnElement[bool]:
    return _is_deleted(rows) | _has_deleted_experiment(rows)


_ALL = (
    Kind(TargetKind.JOB, "jobs", "id", ("status",), _is_finished),
    Kind(
        kind=TargetKind.TRACE,
        table="trace_info",
        key="request_id",
        needs=("experiment_id",),
        may_go=_has_deleted_experiment,
        goes_with_experiment=True,
    ),
    Kind(
        kind=TargetKind.LOGGED_MODEL,
        table="logged_models",
        key="model_id",
        needs=("lifecycle_stage", "experiment_id"),
        may_go=_is_deleted_or_its_experiment_is,
        goes_with_experiment=True,
        at="last_updated_timestamp_ms",
    ),
    Kind(
        kind=TargetKind.RUN,
        table="runs",
        key="run_uuid",
        needs=("lifecycle_stage",),
        may_go=_is_deleted,
        at="deleted_time",
    ),
    Kind(
        kind=TargetKind.EXPERIMENT,
        table="experiments",
        key="experiment_id",
        needs=("lifecycle_stage",),
        may_go=_is_deleted,
        at="last_update_time",
        has_numbers=True,
    ),
)

KINDS: Mapping[TargetKind, Kind] = {kind.kind: kind for kind in _ALL}
"""In the order in which they are removed: what others hang on comes after them."""

ENTITY_TABLES = frozenset(kind.table for kind in _ALL)
