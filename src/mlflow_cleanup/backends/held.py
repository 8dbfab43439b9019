"""One small connection to a server that stays open: for looking often, and for holding a lock."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from mlflow_cleanup.backends.servers import engine_of, explained_any
from mlflow_cleanup.errors import LeaseHeld, LeaseLost, TrackingUnreadable
from mlflow_cleanup.model.database import Database

_LONGEST_S = 30.0
"""Between two attempts to reach a server that is away, at most."""

_SHORTEST_S = 0.5


class Held:
    """Opened when first used, without a transaction; where it broke, opened anew, seldom."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._engine = engine_of(database).execution_options(isolation_level="AUTOCOMMIT")
        self._connection: Connection | None = None
        self._pause_s, self._not_before_s = _SHORTEST_S, 0.0

    @property
    def is_open(self) -> bool:
        """Tell whether there is a connection, as far as it is known here."""
        return self._connection is not None

    def ask(self, query: str, values: Mapping[str, Any] | None = None) -> Sequence[Any] | None:
        """Return the first row of an answer; None where the server cannot be asked just now."""
        rows = self.ask_all(query, values)
        return None if rows is None else (rows[0] if rows else ())

    def ask_all(
        self, query: str, values: Mapping[str, Any] | None = None
    ) -> Sequence[Sequence[Any]] | None:
        """Return an answer's rows; None where the server cannot be asked just now."""
        if self._connection is None and time.monotonic() < self._not_before_s:
            return None
        try:
            rows = self._asked(query, values)
        except TrackingUnreadable:
            self._not_before_s = time.monotonic() + self._pause_s
            self._pause_s = min(self._pause_s * 2, _LONGEST_S)
            return None
        self._pause_s = _SHORTEST_S
        return rows

    def must_ask(self, query: str, values: Mapping[str, Any] | None = None) -> Sequence[Any]:
        """Return the first row of an answer, or an empty one; raises TrackingUnreadable."""
        rows = self._asked(query, values)
        return rows[0] if rows else ()

    def _asked(self, query: str, values: Mapping[str, Any] | None) -> Sequence[Sequence[Any]]:
        """Return all rows; a connection on which anything went wrong is given up."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            result = self._connection.exec_driver_sql(query, dict(values) if values else None)
            return [tuple(row) for row in result] if result.returns_rows else []
        except (SQLAlchemyError, OSError) as error:
            self.close()
            raise explained_any(self.database, error) from error

    def close(self) -> None:
        """Close the connection, as far as it can still be closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except (SQLAlchemyError, OSError):
                connection.invalidate()


class HeldLock:
    """A lock of the server's that ends with the connection: both are lost together."""

    def __init__(
        self, held: Held, queries: tuple[str, str, str, str], names: Mapping[str, Any]
    ) -> None:
        self._held, self._names = held, names
        self._try, self._has, self._holder, self._expire = queries

    def acquire(self) -> None:
        """Take it; raises LeaseHeld where another connection has it."""
        if self._held.must_ask(self._try, self._names)[0] in (True, 1):
            return
        holder = self._held.must_ask(self._holder, self._names)
        self._held.close()
        who = f"a connection from {holder[0]}, since {holder[1]}" if holder else "a connection"
        raise LeaseHeld(f"{who}, with another state directory", str(self._held.database))

    def verify(self) -> None:
        """Raise LeaseLost where it is not ours any more."""
        name = str(self._held.database)
        if not self._held.is_open:
            raise LeaseLost(name, is_on_server=True)
        try:
            has_it = self._held.must_ask(self._has, self._names)[0] in (True, 1)
        except TrackingUnreadable as error:
            raise LeaseLost(name, is_on_server=True) from error
        if not has_it:
            self._held.close()
            raise LeaseLost(name, is_on_server=True)

    def expire_after(self, idle_s: float) -> None:
        """Have the server end the connection when nothing is asked on it for so long."""
        self._held.must_ask(self._expire.format(s=int(idle_s), ms=int(idle_s * 1000)))

    def release(self) -> None:
        """Give it back, with the connection; harmless when it is not held."""
        self._held.close()
