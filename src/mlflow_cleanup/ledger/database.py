"""What every home of the ledger does, whether a file or a schema on a server.

All other modules speak to it in one SQL that both databases understand: `?` marks, `ON CONFLICT`,
flags that are 0 or 1, any client's text as bytes, and `rowid` for the order of entry.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol

from mlflow_cleanup.errors import LedgerUnwritable
from mlflow_cleanup.ledger.tables import FORMAT

SET_FACT = "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class Row(Protocol):
    """One row, whose values are got by position and by name."""

    def __getitem__(self, key: Any, /) -> Any:  # noqa: ANN401 - a database's values
        """Return one value."""


class Cursor(Protocol):
    """What came of a statement."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""

    @property
    def lastrowid(self) -> int | None:
        """The number that the row entered last was given."""

    def fetchone(self) -> Any:  # noqa: ANN401 - a row
        """Return the next row, None where there is none."""

    def fetchall(self) -> list[Any]:
        """Return all rows."""

    def __iter__(self) -> Iterator[Any]:
        """Go through the rows."""


class Connection(Protocol):
    """A connection to the ledger; outside of a transaction each statement is one of its own."""

    @property
    def in_transaction(self) -> bool:
        """Tell whether a transaction is open."""

    def execute(self, statement: str, values: Sequence[Any] = ..., /) -> Cursor:
        """Execute one statement."""

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> Cursor:
        """Execute one statement for each row of values."""


class LedgerDatabase(ABC):
    """The ledger's home, open; one thread at a time may use it."""

    as_bytes: ClassVar[str]
    """How the bytes of a text are asked for, whatever they are; `{}` stands for the column."""

    name: str
    """What is shown of it: never a password."""

    connection: Connection
    """The connection, for reading."""

    @property
    def is_lost(self) -> bool:
        """Tell whether the connection is over, so that it has to be opened anew."""
        return False

    def abandon(self) -> None:  # noqa: B027 - a file answers always
        """Have nobody wait any longer for an answer; called from another thread."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Connection]:
        """All or nothing; raises LedgerUnwritable when it cannot be made durable."""

    @abstractmethod
    def unsynced(self) -> AbstractContextManager[Connection]:
        """A transaction that only a crash of the whole system can lose: later ones sync it too."""

    @abstractmethod
    def require_held(self) -> None:
        """Raise LeaseLost when another process may have taken over: right before anything moves."""

    @abstractmethod
    def may_go_on(self) -> bool:
        """Tell, without asking anybody, whether long work may go on."""

    @abstractmethod
    def keep_reserve(self) -> None:
        """Keep room for recording a purge when there is no other, where that can be done."""

    @abstractmethod
    def wake(self) -> None:
        """Make a running monitor look at requests and answers now; where it cannot, it is late."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""


def format_of(connection: Connection) -> int:
    """Return the format of the tables that are there."""
    found = connection.execute("SELECT value FROM facts WHERE name = 'format'").fetchone()
    return int(found[0]) if found else FORMAT


def require_format(connection: Connection, name: str) -> None:
    """Raise LedgerUnwritable for tables of another version's."""
    found = format_of(connection)
    if found != FORMAT:
        age = (
            "a later mlflow-cleanup"
            if found > FORMAT
            else "an earlier mlflow-cleanup; starting the monitor brings it up to date"
        )
        raise LedgerUnwritable(name, f"its format {found} is of {age}")


def mark(connection: Connection) -> None:
    """Write down the format, which is this version's by now."""
    connection.execute(SET_FACT, ("format", str(FORMAT)))


def name(connection: Connection) -> None:
    """Give a ledger that has none its id."""
    connection.execute(
        "INSERT INTO facts VALUES ('id', ?) ON CONFLICT DO NOTHING", (secrets.token_hex(8),)
    )


def to_blob(text: str | None) -> bytes | None:
    """Encode text that may hold anything, such as a URI from the tracking database."""
    return None if text is None else text.encode("utf-8", "surrogatepass")


def to_text(blob: bytes | str | None) -> str | None:
    """Decode what `to_blob` encoded."""
    return blob.decode("utf-8", "surrogatepass") if isinstance(blob, bytes) else blob
