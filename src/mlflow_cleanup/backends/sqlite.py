"""Reading SQLite tracking databases: one moment at a time, and by what one is recognised."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, inspect
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from mlflow_cleanup.backends.base import WAIT_S, Columns, Probe, Traits
from mlflow_cleanup.backends.files import file_id
from mlflow_cleanup.backends.sqlite_file import change_counter, connect, explained
from mlflow_cleanup.errors import DatabaseBusy
from mlflow_cleanup.model.database import Database

_ASK_AGAIN_S = 0.001


class SQLite:
    """A database in a file, read only."""

    def __init__(self, database: Database, wait_s: float = WAIT_S) -> None:
        self.database, self._wait_s = database, wait_s
        self._path = database.name
        self._engine = create_engine(
            "sqlite://", creator=lambda: connect(self._path, 0.0), poolclass=NullPool
        )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open, read one moment in one short transaction that changes nothing, and close."""
        try:
            with self._engine.connect() as connection:
                self._begin(connection)
                try:
                    yield connection
                finally:
                    connection.rollback()
        except DBAPIError as error:
            raise explained(self._path, error.orig or error, self._wait_s) from error
        except sqlite3.Error as error:
            raise explained(self._path, error, self._wait_s) from error

    def shape(self, connection: Connection) -> Hashable | None:
        """Return the schema cookie of this file: SQLite says when tables changed."""
        return file_id(self._path), _schema_count(connection)

    def columns(self, connection: Connection, tables: Iterable[str] | None = None) -> Columns:
        """Look at the tables and columns that are there."""
        inspector = inspect(connection)
        present = inspector.get_table_names()
        wanted = set(present if tables is None else tables)
        return {
            table: frozenset(column["name"] for column in inspector.get_columns(table))
            for table in present
            if table in wanted
        }

    def traits(self, connection: Connection) -> Traits:
        """Read by what this database is recognised."""
        file = file_id(self._path)
        return Traits(
            change_count=change_counter(self._path),
            file=f"{file[0]}:{file[1]}" if file else None,
            schema_count=_schema_count(connection),
            pages=int(connection.exec_driver_sql("PRAGMA page_count").scalar() or 0),
        )

    def probe(self) -> Probe:
        """Return what tells whether something changed."""
        from mlflow_cleanup.backends.sqlite_changes import ChangeProbe  # noqa: PLC0415 - a circle

        return ChangeProbe(self._path)

    def lock(self) -> None:
        """Return nothing: locks of files beside the database are what excludes others."""

    def _begin(self, connection: Connection) -> None:
        """Begin to read one moment: the driver begins no transaction for reads by itself.

        Asks for the lock often, as those who write without a pause leave it free for no time; once
        it is there, nothing in this transaction has to wait any more.
        """
        ends = time.monotonic() + self._wait_s
        while True:
            connection.exec_driver_sql("BEGIN")
            try:
                _schema_count(connection)
                return
            except OperationalError as error:
                connection.exec_driver_sql("ROLLBACK")
                is_busy = isinstance(
                    explained(self._path, error.orig or error, self._wait_s), DatabaseBusy
                )
                if not is_busy or time.monotonic() >= ends:
                    raise
            time.sleep(_ASK_AGAIN_S)


def _schema_count(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA schema_version").scalar() or 0)
