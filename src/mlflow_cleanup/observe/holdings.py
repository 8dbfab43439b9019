"""Reading what left: deleted runs, models, versions, and all that went with an experiment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Connection, column, select, table

from mlflow_cleanup.backends.base import Columns
from mlflow_cleanup.backends.sql import exact
from mlflow_cleanup.model.entity import Entity, EntityKind, plain
from mlflow_cleanup.model.holding import Holding, Holdings
from mlflow_cleanup.model.moment import from_ms
from mlflow_cleanup.model.verdict import Gone
from mlflow_cleanup.observe.members import Members
from mlflow_cleanup.observe.schema import Layout
from mlflow_cleanup.observe.texts import text_or_none

_DELETED_STAGE = "Deleted_Internal"  # what MLflow writes into a deleted version's current_stage

_PLACE_COLUMN = re.compile(
    r"(artifact|storage|archiv\w*)_?(uri|location|path|root)|(^|_)uri$", re.IGNORECASE
)
_KNOWN_PLACES = frozenset(
    {
        ("runs", "artifact_uri"),
        ("experiments", "artifact_location"),
        ("logged_models", "artifact_location"),
        ("model_versions", "storage_location"),
        ("workspaces", "default_artifact_root"),
        ("workspaces", "trace_archival_location"),
    }
)
"""The columns that name places, in every revision up to MLflow 3.17. With another one, what no row
claims may be claimed there."""


def read_holdings(connection: Connection, layout: Layout, every: Columns) -> Holdings:
    """Read everything that left, in the transaction that is open; `every` names all columns."""
    reader = _Reader(connection, layout)
    return Holdings(
        departed=tuple(chain(reader.runs(), reader.models(), reader.versions(), reader.traces())),
        experiments=tuple(reader.experiments()),
        unknown=tuple(_unknown_columns(every)),
    )


class _Reader:
    def __init__(self, connection: Connection, layout: Layout) -> None:
        self._connection, self._layout = connection, layout
        self._members = Members(connection, layout)

    def runs(self) -> Iterator[Holding]:
        where = exact(column("lifecycle_stage")) == "deleted"
        names = ("run_uuid", "artifact_uri", "experiment_id", "name", "deleted_time")
        for row in self._rows("runs", names, where):
            yield Holding(
                Entity(EntityKind.RUN, plain(row["run_uuid"])),
                text_or_none(row["artifact_uri"]),
                Gone.DELETED,
                text_or_none(row["name"]),
                plain(row["experiment_id"]),
                from_ms(row["deleted_time"]),
            )

    def models(self) -> Iterator[Holding]:
        for row, gone in self._members.models():
            if gone is not None:
                deleted_ms = getattr(row, "last_updated_timestamp_ms", None)
                yield Holding(
                    Entity(EntityKind.LOGGED_MODEL, plain(row.model_id)),
                    text_or_none(row.artifact_location),
                    gone,
                    text_or_none(getattr(row, "name", None)),
                    plain(row.experiment_id),
                    from_ms(deleted_ms) if gone is Gone.MODEL_DELETED else None,
                )

    def versions(self) -> Iterator[Holding]:
        where = exact(column("current_stage")) == _DELETED_STAGE
        for row in self._rows("model_versions", ("name", "version", "storage_location"), where):
            place = text_or_none(row["storage_location"])
            if place:
                label = plain(f"{row['name']} version {row['version']}")
                yield Holding(Entity(EntityKind.MODEL_VERSION, label), place, Gone.VERSION_DELETED)

    def traces(self) -> Iterator[Holding]:
        for row, gone in self._members.traces():
            if gone is not None and row.place:
                yield Holding(
                    Entity(EntityKind.TRACE, plain(row.request_id)),
                    text_or_none(row.place),
                    gone,
                    experiment_id=plain(row.experiment_id),
                )

    def experiments(self) -> Iterator[str]:
        for row in self._rows("experiments", ("artifact_location",)):
            if place := text_or_none(row["artifact_location"]):
                yield place

    def _rows(
        self,
        name: str,
        columns: tuple[str, ...],
        where: Any = None,  # noqa: ANN401 - an SQLAlchemy condition
    ) -> Iterator[dict[str, Any]]:
        """Read rows with the columns that are there; what is missing is None."""
        there = [item for item in columns if self._layout.has(name, item)]
        if not there:
            return
        wanted: list[ColumnElement[Any]] = [column(item) for item in there]
        query = select(*wanted).select_from(table(name))
        for row in self._connection.execute(query if where is None else query.where(where)):
            yield {**dict.fromkeys(columns), **row._mapping}


def _unknown_columns(every: Columns) -> list[str]:
    found = ((name, item) for name, columns in every.items() for item in columns)
    return sorted(
        f"{name}.{item}"
        for name, item in found
        if _PLACE_COLUMN.search(item) and (name, item) not in _KNOWN_PLACES
    )
