"""Reading one tracking database: short transactions, each with a connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    bindparam,
    column,
    null,
    select,
    table,
)

from mlflow_cleanup.backends.base import WAIT_S, Columns, Probe
from mlflow_cleanup.backends.opening import open_backend
from mlflow_cleanup.backends.sql import STREAMED, exact
from mlflow_cleanup.errors import DatabaseNotReady, TrackingUnreadable
from mlflow_cleanup.model.batches import batches
from mlflow_cleanup.model.claim import Claim
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.entity import EntityKind, plain
from mlflow_cleanup.model.holding import Holdings
from mlflow_cleanup.model.snapshot import BackendIdentity, Heads, RunRow, Snapshot
from mlflow_cleanup.model.usage import Owners
from mlflow_cleanup.observe.claims import Reader, read_claims
from mlflow_cleanup.observe.deleted import DeletedReader
from mlflow_cleanup.observe.holdings import read_holdings
from mlflow_cleanup.observe.members import is_live
from mlflow_cleanup.observe.owners import read_owners
from mlflow_cleanup.observe.places import Places
from mlflow_cleanup.observe.schema import TABLES, Layout, read_schema
from mlflow_cleanup.observe.texts import can_be_asked_for

_ROWS_AT_ONCE = 1000  # a call for each row would take as long as reading it
_ANCHORS = 16

Wanted = Callable[[Heads], Collection[str]]


class TrackingDatabase:
    """One tracking database, read only. Every method raises TrackingUnreadable."""

    def __init__(self, database: Database, wait_s: float = WAIT_S) -> None:
        self.database, self._backend = database, open_backend(database, wait_s)
        self._columns: Columns | None = None
        self._columns_of: Hashable | None = None

    def heads(self) -> Heads:
        """Read which runs are active and which are deleted."""
        return self.glance()[0]

    def glance(self) -> tuple[Heads, BackendIdentity]:
        """Read which runs are active and deleted, and by what this database is recognised."""
        with self._read() as (connection, layout):
            return _heads(connection), self._identity(connection, layout)

    def rows(self, run_ids: Collection[str]) -> dict[str, RunRow]:
        """Read the rows of the given runs, those that are there."""
        with self._read() as (connection, layout):
            return _rows(connection, layout, run_ids)

    def snapshot(
        self,
        wanted: Wanted,
        places: Places,
        *,
        fold: Callable[[str], str] = str,
        more: Iterable[Claim] = (),
        with_holdings: bool = False,
    ) -> Snapshot:
        """Read every claim in one transaction, and the rows that `wanted` asks for.

        `more` are claims from elsewhere, such as a model registry in a database of its own;
        `with_holdings` reads everything that left as well.
        """
        with self._read() as (connection, layout):
            heads = _heads(connection)
            rows = _rows(connection, layout, wanted(heads))
            claimed = read_claims(Reader(connection, layout), more)
            holdings = self._holdings(connection, layout) if with_holdings else Holdings()
            identity = self._identity(connection, layout)
        # Writers may go on: what follows looks at the file system and takes its time.
        return Snapshot(
            schema=layout.schema,
            identity=identity,
            heads=heads,
            claims=claimed.index(places, fold, heads.active),
            departed=rows,
            problems=claimed.problems,
            soft_claims=claimed.soft_index(places, fold),
            holdings=holdings,
        )

    def owners(self, wanted: Mapping[EntityKind, AbstractSet[str]]) -> Owners:
        """Read whose the given entities are."""
        with self._read() as (connection, layout):
            return read_owners(connection, layout, wanted)

    def version_claims(self) -> list[Claim]:
        """Read the claims of the registered model versions alone, not yet resolved to paths."""
        with self._read() as (connection, layout):
            reader = Reader(connection, layout)
            if problems := reader.problems():
                raise TrackingUnreadable(
                    f"the model registry {self.database}: {'; '.join(problems)}"
                )
            return list(reader.model_versions())

    def experiments(self) -> list[tuple[str, str]]:
        """Read where every experiment lies, dead ones too, as pairs of id and location."""
        with self._read() as (connection, layout):
            if not layout.has("experiments", "experiment_id", "artifact_location"):
                return []
            wanted: list[ColumnElement[Any]] = [
                column("experiment_id"),
                column("artifact_location"),
            ]
            rows = connection.execute(select(*wanted).select_from(table("experiments"))).all()
        return [(plain(id_), text) for id_, text in rows if isinstance(text, str)]

    def layout(self) -> Layout:
        """Read what tables and columns there are."""
        with self._read() as (_, layout):
            return layout

    def identity(self) -> BackendIdentity:
        """Read by what this database is recognised."""
        with self._read() as (connection, layout):
            return self._identity(connection, layout)

    @contextmanager
    def deleted(self, workspace: str | None) -> Iterator[DeletedReader]:
        """Look at what is deleted, in one workspace or in all; one transaction."""
        with self._read() as (connection, layout):
            yield DeletedReader(connection, layout, workspace)

    @contextmanager
    def _read(self) -> Iterator[tuple[Connection, Layout]]:
        with self._backend.reading() as connection:
            yield connection, self._known_layout(connection)

    def _known_layout(self, connection: Connection) -> Layout:
        """Look at the tables again only when the database says that they changed."""
        read_from = self._backend.shape(connection)
        if self._columns is None or read_from is None or self._columns_of != read_from:
            self._columns = self._backend.columns(connection, TABLES)
            self._columns_of = read_from
        # The revision is a row: it changes without the schema's version.
        layout = Layout(self._columns, read_schema(connection, self._columns))
        if not layout.is_tracking_database:
            raise DatabaseNotReady(self.database.name)
        return layout

    def probe(self) -> Probe:
        """Return what tells whether something changed; it keeps a connection of its own."""
        return self._backend.probe()

    def _holdings(self, connection: Connection, layout: Layout) -> Holdings:
        return read_holdings(connection, layout, self._backend.columns(connection))

    def _identity(self, connection: Connection, layout: Layout) -> BackendIdentity:
        anchors: dict[str, int | None] = {}
        if layout.has("experiments", "experiment_id"):
            has_time = layout.has("experiments", "creation_time")
            created: ColumnElement[Any] = column("creation_time") if has_time else null()
            query = select(column("experiment_id"), created).select_from(table("experiments"))
            oldest = query.order_by(column("experiment_id")).limit(_ANCHORS)
            # Those that are deleted may all be removed at once: others have to tell then.
            staying = oldest.where(is_live(column("lifecycle_stage")))
            can_tell = has_time and layout.has("experiments", "lifecycle_stage")
            for some in (oldest, staying) if can_tell else (oldest,):
                for id_, at in connection.execute(some):
                    anchors[plain(id_)] = at if isinstance(at, int) else None
        return BackendIdentity(anchors, **self._backend.traits(connection)._asdict())


def _heads(connection: Connection) -> Heads:
    deleted = _ids(connection, exact(column("lifecycle_stage")) == "deleted")
    # Whatever is not called deleted counts as active, an unknown or missing stage too.
    active = _ids(connection, is_live(column("lifecycle_stage")))
    return Heads(active=active, deleted=deleted)


def _ids(connection: Connection, where: ColumnElement[bool]) -> frozenset[str]:
    run_id: ColumnElement[Any] = column("run_uuid")
    query = select(run_id).select_from(table("runs")).where(where)
    # Read to its end at once: on MySQL no other query may come in between.
    with connection.execute(query, execution_options=STREAMED) as result:
        found = result.partitions(_ROWS_AT_ONCE)
        return frozenset(plain(row[0]) for some in found for row in some)


def _rows(connection: Connection, layout: Layout, run_ids: Collection[str]) -> dict[str, RunRow]:
    query = _row_query(layout)
    found: dict[str, RunRow] = {}
    for some in batches(filter(can_be_asked_for, run_ids)):
        for row in connection.execute(query, {"ids": some}):
            found[plain(row.run_uuid)] = RunRow(
                run_id=plain(row.run_uuid),
                experiment_id=plain(row.experiment_id),
                artifact_uri=row.artifact_uri if isinstance(row.artifact_uri, str) else None,
                lifecycle_stage=plain(row.lifecycle_stage),
                status=row.status if isinstance(row.status, str) else None,
                name=row.name if isinstance(row.name, str) else None,
                deleted_ms=row.deleted_time if isinstance(row.deleted_time, int) else None,
            )
    return found


def _row_query(layout: Layout) -> Executable:
    optional = [
        column(name) if layout.has("runs", name) else null().label(name)
        for name in ("status", "name", "deleted_time")
    ]
    return (
        select(
            column("run_uuid"),
            column("experiment_id"),
            column("artifact_uri"),
            column("lifecycle_stage"),
            *optional,
        )
        .select_from(table("runs"))
        .where(column("run_uuid").in_(bindparam("ids", expanding=True)))
    )
