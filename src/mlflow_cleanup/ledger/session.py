"""A connection to the server on which a ledger lives, and what its errors mean."""

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
    LedgerRefused,
    LedgerUnreachable,
    LedgerUnwritable,
)
from mlflow_cleanup.model.ledger_home import LedgerServer

CONNECT_S = 5
_LOCK_S = 10
"""How long to wait for another writer, as for a file."""

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


def connect(server: LedgerServer, application: str) -> Session:
    """Connect, and see nothing but the ledger's schema; raises LedgerUnwritable or BadUsage.

    Every commit waits for the server's disk, also where that is not its default.
    """
    url = re.sub(r"^[\w+]+://", "postgresql://", server.database.url)
    try:
        words = conninfo.conninfo_to_dict(url)
    except (psycopg.Error, UnicodeError):
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
