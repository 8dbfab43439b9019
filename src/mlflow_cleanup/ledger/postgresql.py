"""The ledger on a server: a schema in PostgreSQL, durable before anything moves."""

from __future__ import annotations

import functools
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import conninfo
from psycopg.pq import TransactionStatus

from mlflow_cleanup.errors import (
    BadUsage,
    LedgerFull,
    LedgerLost,
    LedgerMissing,
    LedgerRefused,
    LedgerUnreachable,
    LedgerUnwritable,
)
from mlflow_cleanup.ledger.database import (
    LedgerDatabase,
    format_of,
    mark,
    name,
    require_format,
)
from mlflow_cleanup.ledger.fence import Fence
from mlflow_cleanup.ledger.tables import FORMAT, TABLES, UPGRADES
from mlflow_cleanup.model.ledger_home import LedgerServer

CONNECT_S = 5
_LOCK_S = 10
"""How long to wait for another writer, as for a file."""

_HOLDER = """
CREATE TABLE IF NOT EXISTS holder (
    number BIGINT NOT NULL,
    backend BIGINT,
    pid BIGINT,
    host TEXT,
    since TEXT,
    what TEXT
)
"""
"""One row: the number of the lease's last holding, and by whom. Whoever writes locks it, so that
there is one writer at a time, and no holder but the last."""

_FOR_ME = "SELECT number FROM holder FOR UPDATE"

_WORDS = (
    (r"INTEGER PRIMARY KEY", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    (r"INTEGER", "BIGINT"),
    (r"REAL", "DOUBLE PRECISION"),
    (r"BLOB", "BYTEA"),
    (r"TEXT", 'TEXT COLLATE "C"'),
    (r"\) WITHOUT ROWID", ")"),
    # The order of entry, which SQLite's own tables have by themselves.
    (r"(TABLE IF NOT EXISTS items \()", r"\1 rowid BIGINT GENERATED ALWAYS AS IDENTITY,"),
)
"""SQLite's words in the tables, and PostgreSQL's."""

_DISK_FULL = "53100"
_NOT_ALLOWED = "42501"


class Row:
    """One row, whose values are got by position and by name."""

    __slots__ = ("_places", "_values")

    def __init__(self, places: dict[str, int], values: Sequence[Any]) -> None:
        self._places, self._values = places, values

    def __getitem__(self, key: str | int) -> Any:  # noqa: ANN401 - a database's values
        return self._values[self._places[key] if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _row_factory(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], Row]:
    places = {column.name: place for place, column in enumerate(cursor.description or ())}
    return lambda values: Row(places, values)


class Cursor(psycopg.Cursor[Row]):
    """What came of a statement."""

    @property
    def lastrowid(self) -> int | None:
        """The number that the row entered last was given."""
        row = self.connection.execute("SELECT lastval()").fetchone()
        return None if row is None else int(row[0])


class Session:
    """A connection to the server, which is spoken to as SQLite is: `?` marks a value."""

    def __init__(self, server: LedgerServer, raw: psycopg.Connection[Row]) -> None:
        self.server, self.raw = server, raw

    @property
    def in_transaction(self) -> bool:
        """Tell whether a transaction is open."""
        status = self.raw.info.transaction_status
        # A connection that was lost has none: whoever asks must meet that, and not go on.
        return status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)

    @property
    def is_lost(self) -> bool:
        """Tell whether the connection is over."""
        return self.raw.closed

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Cursor:
        """Execute one statement; raises LedgerUnwritable."""
        with self.explaining():
            cursor = self.raw.cursor()
            cursor.execute(_translated(statement), values)
            return cursor  # type: ignore[return-value]

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> Cursor:
        """Execute one statement for each row of values; raises LedgerUnwritable."""
        with self.explaining():
            cursor = self.raw.cursor()
            cursor.executemany(_translated(statement), rows)
            return cursor  # type: ignore[return-value]

    def script(self, text: str) -> Row | None:
        """Send several statements at once, and return the one row they find."""
        with self.explaining():
            cursor, found = self.raw.execute(text.encode()), None
            while True:
                if cursor.description:
                    found = cursor.fetchone()
                if not cursor.nextset():
                    return found

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn the driver's errors into ours."""
        try:
            yield
        except psycopg.Error as error:
            raise _explained(self, error) from error

    def roll_back(self) -> None:
        """End the transaction that is open, where there is one, without its entries."""
        if not self.is_lost and self.in_transaction:
            with suppress(LedgerUnwritable):
                self.script("ROLLBACK")

    def abandon(self) -> None:
        """Break the connection, so that whoever waits for an answer on it does not any more."""
        with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self.raw.fileno())) as s:
            s.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self.raw.close()


class LedgerSchema(LedgerDatabase):
    """A connection to the ledger's schema; one thread at a time may use it.

    A connection that was lost is not opened again: whether its last commit was made is not known
    then, so everything begins anew, as after a crash.
    """

    as_bytes = "convert_to({}, 'UTF8')"

    def __init__(self, session: Session, fence: Fence | None = None) -> None:
        self.name, self._fence = session.server.name, fence
        self.session: Session = session
        self.connection: Session = session

    @classmethod
    def open_to_write(cls, server: LedgerServer, fence: Fence | None = None) -> LedgerSchema:
        """Open or create; with the `fence` of whoever writes as the holder of the lease."""
        session = connect(server, sessions_of(server, fence))
        try:
            prepare(session)
            require_format(session, server.name)
        except BaseException:
            session.close()
            raise
        return cls(session, fence)

    @classmethod
    def open_to_read(cls, server: LedgerServer) -> LedgerSchema:
        """Open without ever writing; raises LedgerMissing."""
        session = connect(server, sessions_of(server, None))
        try:
            session.script("SET default_transaction_read_only = on")
            if not is_made(session):
                raise LedgerMissing(server.name)
            require_format(session, server.name)
        except BaseException:
            session.close()
            raise
        return cls(session)

    @property
    def is_lost(self) -> bool:
        """Tell whether the connection is over."""
        return self.session.is_lost

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """All or nothing, one writer at a time; raises LedgerUnwritable, or LeaseLost."""
        with self._transaction("") as session:
            yield session

    @contextmanager
    def unsynced(self) -> Iterator[Session]:
        """A transaction that only a crash of the server can lose: later ones sync it too."""
        with self._transaction("; SET LOCAL synchronous_commit = off") as session:
            yield session

    @contextmanager
    def _transaction(self, how: str) -> Iterator[Session]:
        session = self.session
        if session.in_transaction:
            yield session
            return
        try:
            row = session.script(f"BEGIN ISOLATION LEVEL READ COMMITTED{how}; {_FOR_ME}")
            self._require_number(row)
            yield session
            session.script("COMMIT")
        except BaseException:
            session.roll_back()
            raise

    def require_held(self) -> None:
        """Ask the server; raises LeaseLost."""
        if self._fence is None:
            return
        if not self._fence.is_fresh:
            raise self._fence.error()
        self._require_number(self.session.script("SELECT number FROM holder"))

    def may_go_on(self) -> bool:
        """Tell whether the lease was heard of lately."""
        return self._fence is None or self._fence.is_fresh

    def keep_reserve(self) -> None:
        """Nothing: the disk is the server's."""

    def abandon(self) -> None:
        """Break the connection, so that whoever waits for an answer on it does not any more."""
        self.session.abandon()

    def wake(self) -> None:
        """Notify the monitor, which listens."""
        with suppress(LedgerUnwritable):  # it is seen with the next upkeep
            self.session.script(f"NOTIFY {channel_of(self.session.server)}")

    def close(self) -> None:
        """Close the connection."""
        self.session.close()

    def _require_number(self, row: Row | None) -> None:
        """Let no holder write but the last."""
        if self._fence is not None and (row is None or row[0] != self._fence.number):
            self._fence.lose("another process has taken over")
            raise self._fence.error()


def sessions_of(server: LedgerServer, fence: Fence | None) -> str:
    """Name the sessions of one holding of the lease, by which the next holder finds them."""
    return f"mlflow-cleanup {server.schema}{f' {fence.number}' if fence else ''}"


def channel_of(server: LedgerServer) -> str:
    """Name the channel on which a monitor is woken."""
    return f'"{server.schema} requests"'


def connect(server: LedgerServer, application: str) -> Session:
    """Connect, and see nothing but the ledger's schema; raises LedgerUnwritable or BadUsage.

    Every commit waits for the server's disk, also where that is not its default.
    """
    url = re.sub(r"^[\w+]+://", "postgresql://", server.database.url)
    try:
        words = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        # Without what the driver said: it may quote the URL.
        raise BadUsage(f"the URI of the ledger {server.name} cannot be read") from None
    usual: dict[str, Any] = {
        "connect_timeout": CONNECT_S,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 8000,
    }
    try:
        raw = psycopg.connect(
            **{**usual, **words, "application_name": application},
            autocommit=True,
            row_factory=_row_factory,
        )
    except psycopg.Error as error:
        raise _not_connected(server, error) from None
    raw.cursor_factory = Cursor
    session = Session(server, raw)
    try:
        session.script(
            f'SET search_path = "{server.schema}"; SET lock_timeout = {_LOCK_S * 1000}; '
            "SET client_encoding = 'UTF8'; SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
    except BaseException:
        session.close()
        raise
    return session


def is_made(session: Session) -> bool:
    """Tell whether the ledger's tables are there."""
    row = session.execute("SELECT to_regclass(?)", (f'"{session.server.schema}".facts',)).fetchone()
    return row is not None and row[0] is not None


def prepare(session: Session) -> None:
    """Make what is missing, in one transaction, one process at a time."""
    if is_made(session) and format_of(session) >= FORMAT:
        return
    server = session.server
    try:
        session.script("BEGIN")
        # Two that start at the same moment would both make it.
        session.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(?, 1))", (f"mlflow-cleanup {server}",)
        )
        _prepare(session)
        session.script("COMMIT")
    except LedgerUnwritable as error:
        session.roll_back()
        if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            raise LedgerRefused(
                server.name,
                f"{error.detail}. Whoever may can make the schema: CREATE SCHEMA "
                f"{server.schema} AUTHORIZATION {session.raw.info.user}",
            ) from error
        raise


def _prepare(session: Session) -> None:
    schema = session.server.schema
    if (
        session.execute("SELECT 1 FROM pg_namespace WHERE nspname = ?", (schema,)).fetchone()
        is None
    ):
        session.script(f'CREATE SCHEMA "{schema}"')
    is_new = not is_made(session)
    found = FORMAT if is_new else format_of(session)
    if found > FORMAT:
        return  # a later version's, and left to it
    for earlier in range(found, FORMAT):
        for change in UPGRADES[earlier]:
            session.script(_in_our_words(change))
    for table in filter(str.strip, [*TABLES.split(";"), _HOLDER]):
        session.script(_in_our_words(table))
    session.script("INSERT INTO holder SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM holder)")
    mark(session)
    name(session)


def _in_our_words(statement: str) -> str:
    for theirs, ours in _WORDS:
        statement = re.sub(theirs, ours, statement)
    return statement


@functools.lru_cache(maxsize=256)
def _translated(statement: str) -> bytes:
    """Write a statement as the driver reads it; no statement of ours has a mark within a text."""
    return statement.replace("%", "%%").replace("?", "%s").encode()


def _explained(session: Session, error: psycopg.Error) -> LedgerUnwritable:
    text = _text_of(session.server, error)
    if session.is_lost:
        return LedgerLost(session.server.name, text)
    if error.sqlstate == _DISK_FULL:
        return LedgerFull(session.server.name, text)
    return LedgerUnwritable(session.server.name, text)


def _not_connected(server: LedgerServer, error: psycopg.Error) -> LedgerUnwritable:
    """Tell a server that is not there from one that does not let us in."""
    text = _text_of(server, error)
    told = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password")
    state = error.sqlstate or ""
    is_refused = state.startswith(("28", "3D")) or state == _NOT_ALLOWED
    if is_refused or (not state and any(words in text for words in told)):
        return LedgerRefused(server.name, text)
    return LedgerUnreachable(server.name, text)


def _text_of(server: LedgerServer, error: psycopg.Error) -> str:
    """Return what the driver says in one line, without a password, should it ever quote one."""
    text = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
    with suppress(psycopg.Error):
        url = re.sub(r"^[\w+]+://", "postgresql://", server.database.url)
        for key, value in conninfo.conninfo_to_dict(url).items():
            if "pass" in key and value:
                for written in (str(value), quote(str(value), safe="")):
                    text = text.replace(written, "***")
    return text
