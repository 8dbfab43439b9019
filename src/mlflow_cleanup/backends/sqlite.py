"""Reading SQLite tracking databases so that it leaves no trace.

Opened read-write with `query_only`: a read-only connection to a database in WAL mode leaves its
`-wal` and `-shm` files behind, and cannot roll back what a crashed writer left. `mode=rw` creates
nothing.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, create_engine, inspect
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from mlflow_cleanup.backends.base import Columns, Probe, Traits
from mlflow_cleanup.backends.files import file_id
from mlflow_cleanup.errors import (
    DatabaseBusy,
    DatabaseMissing,
    NotATrackingDatabase,
    TrackingUnreadable,
)
from mlflow_cleanup.model.database import Database

_COUNTER_BEGINS, _COUNTER_ENDS = 24, 28
WAIT_S = 5.0
"""How long to wait for another process's lock before saying so and trying again later."""

# Any bytes may stand in a text column; what is not UTF-8 must not stop everything else.
_DECODE = partial(str, encoding="utf-8", errors="surrogateescape")


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


def connect(path: str, wait_s: float = WAIT_S) -> sqlite3.Connection:
    """Open for reading; raises DatabaseMissing or another TrackingUnreadable."""
    if not os.path.isfile(path):
        raise DatabaseMissing(path)
    mode = "rw" if os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK) else "ro"
    try:
        connection = sqlite3.connect(
            f"{Path(path).as_uri()}?mode={mode}",
            uri=True,
            timeout=wait_s,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.text_factory = _DECODE
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise explained(path, error, wait_s) from error
    return connection


def explained(path: str, error: BaseException, wait_s: float = WAIT_S) -> TrackingUnreadable:
    """Turn an SQLite error into ours, which says what it means here."""
    code = getattr(error, "sqlite_errorcode", None)
    text = str(error)
    if code in (sqlite_code("BUSY"), sqlite_code("LOCKED")) or "locked" in text:
        return DatabaseBusy(path, wait_s)
    if code == sqlite_code("NOTADB") or "not a database" in text:
        return NotATrackingDatabase(path, text)
    return TrackingUnreadable(
        f"the tracking database {path} cannot be read ({text}); nothing was touched"
    )


def sqlite_code(name: str) -> int:
    """Return the number of a primary SQLite result code (Python 3.10 does not export them)."""
    return {"BUSY": 5, "LOCKED": 6, "NOTADB": 26}[name]


def change_counter(path: str) -> int | None:
    """Read SQLite's file change counter, which only grows while the file lives on.

    Bytes 24 to 27 of the header (SQLite's file format, section 1.3.8).
    """
    with _HEADER_LOCK:
        header = _read_header(path)
    if len(header) < _COUNTER_ENDS:
        return None
    return int.from_bytes(header[_COUNTER_BEGINS:_COUNTER_ENDS], "big")


_HEADER_LOCK = threading.Lock()
_HEADERS: dict[tuple[int, int], int] = {}
"""Descriptors of database files, by device and inode, that are never closed again: on POSIX systems
closing any descriptor of a file gives up every lock that this process has on it, and with these
SQLite would lose what protects our open connections (SQLite's "How To Corrupt", section 2.2)."""


def _read_header(path: str) -> bytes:
    try:
        if (file := file_id(path)) is None:
            return b""
        if file not in _HEADERS:
            _HEADERS[file] = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        os.lseek(_HEADERS[file], 0, os.SEEK_SET)
        return os.read(_HEADERS[file], _COUNTER_ENDS)
    except OSError:
        return b""
