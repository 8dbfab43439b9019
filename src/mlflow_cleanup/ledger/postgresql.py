"""The ledger on a server: a schema in PostgreSQL, durable before anything moves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from mlflow_cleanup.errors import (
    LedgerMissing,
    LedgerRefused,
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
from mlflow_cleanup.ledger.session import Row, Session, connect
from mlflow_cleanup.ledger.tables import FORMAT, TABLES, UPGRADES
from mlflow_cleanup.model.ledger_home import LedgerServer

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


def is_made(session: Session) -> bool:
    """Tell whether the ledger's tables are there."""
    return _has_table(session, "facts")


def _has_table(session: Session, table: str) -> bool:
    named = f'"{session.server.schema}".{table}'
    row = session.execute("SELECT to_regclass(?)", (named,)).fetchone()
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
    if is_new and _has_table(session, "alembic_version"):
        raise LedgerRefused(session.server.name, f"the schema {schema} is that of MLflow's tables")
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
