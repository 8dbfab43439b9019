"""Reading whose runs, logged models and traces are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, column, func, select, table

from mlflow_cleanup.model.entity import EntityKind, plain
from mlflow_cleanup.model.usage import Owner, Owners
from mlflow_cleanup.observe.schema import Layout

_USER = "mlflow.user"
_SOURCE_RUN = "mlflow.sourceRun"
_ROWS_AT_ONCE = 1000

Row = Any


Wanted = Mapping[EntityKind, AbstractSet[str]]
"""The ids of what is asked about, by kind."""


def read_owners(connection: Connection, layout: Layout, wanted: Wanted) -> Owners:
    """Read whose the wanted entities are, those that are there, and all experiments' names."""
    reader = _Reader(connection, layout)
    of = {
        **reader.models(wanted[EntityKind.LOGGED_MODEL]),
        **reader.traces(wanted[EntityKind.TRACE]),
    }
    makers = {owner.run_id for owner in of.values() if owner.run_id}
    runs = reader.runs(wanted[EntityKind.RUN] | makers)
    for id_, owner in of.items():
        if owner.user is None and owner.run_id in runs:
            of[id_] = owner._replace(user=runs[owner.run_id].user)
    return Owners({**of, **runs}, reader.experiments())


class _Reader:
    """Ids are compared as they are stored: one that is no text fits no place."""

    def __init__(self, connection: Connection, layout: Layout) -> None:
        self._connection, self._layout = connection, layout

    def runs(self, wanted: AbstractSet[str]) -> dict[str, Owner]:
        """Read the runs; the tag is what MLflow shows, the column what old clients wrote."""
        if not wanted or not self._layout.has("tags", "run_uuid", "key", "value"):
            return {}
        runs = table("runs", *map(column, ("run_uuid", "experiment_id", "user_id")))
        tags = table("tags", *map(column, ("run_uuid", "key", "value")))
        is_its = and_(tags.c.run_uuid == runs.c.run_uuid, tags.c.key == _USER)
        user = func.coalesce(func.nullif(tags.c.value, ""), runs.c.user_id)
        query = select(runs.c.run_uuid, runs.c.experiment_id, user)
        rows = self._fetched(query.select_from(runs.outerjoin(tags, is_its)))
        return {
            id_: Owner(plain(experiment), id_, _text(name))
            for id_, experiment, name in rows
            if id_ in wanted
        }

    def models(self, wanted: AbstractSet[str]) -> dict[str, Owner]:
        """Read the logged models."""
        if not wanted:
            return {}
        users = self._values("logged_model_tags", "model_id", _USER, wanted, "tag_")
        columns = ("model_id", "experiment_id", "source_run_id")
        return {
            id_: Owner(plain(experiment), _text(run_id), users.get(id_))
            for id_, experiment, run_id in self._rows("logged_models", *columns)
            if id_ in wanted
        }

    def traces(self, wanted: AbstractSet[str]) -> dict[str, Owner]:
        """Read the traces."""
        if not wanted:
            return {}
        notes = "trace_request_metadata"
        runs = self._values(notes, "request_id", _SOURCE_RUN, wanted)
        users = self._values("trace_tags", "request_id", _USER, wanted)
        users.update(self._values(notes, "request_id", _USER, wanted))
        return {
            id_: Owner(plain(experiment), runs.get(id_), users.get(id_))
            for id_, experiment in self._rows("trace_info", "request_id", "experiment_id")
            if id_ in wanted
        }

    def experiments(self) -> dict[str, str]:
        """Read the experiments' names."""
        rows = self._rows("experiments", "experiment_id", "name")
        return {plain(id_): text for id_, name in rows if (text := _text(name))}

    def _values(
        self, name: str, id_: str, key: str, wanted: AbstractSet[str], prefix: str = ""
    ) -> dict[str, str]:
        """Read one tag of the wanted entities."""
        keys, values = f"{prefix}key", f"{prefix}value"
        if not wanted or not self._layout.has(name, keys):
            return {}
        found = self._rows(name, id_, values, where=column(keys) == key)
        return {id_: text for id_, value in found if id_ in wanted and (text := _text(value))}

    def _rows(
        self, name: str, *columns: str, where: ColumnElement[bool] | None = None
    ) -> Iterator[Row]:
        if not self._layout.has(name, *columns):
            return iter(())
        wanted: list[ColumnElement[Any]] = [column(item) for item in columns]
        query = select(*wanted).select_from(table(name))
        return self._fetched(query if where is None else query.where(where))

    def _fetched(self, query: Select[Any]) -> Iterator[Row]:
        return chain.from_iterable(self._connection.execute(query).partitions(_ROWS_AT_ONCE))


def _text(value: object) -> str | None:
    """Read a client's text; what is empty, or no text, says nothing."""
    return value if isinstance(value, str) and value else None
