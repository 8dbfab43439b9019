"""What every kind of tracking database offers to those that read it."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from sqlalchemy import Connection

from mlflow_cleanup.model.database import Database

WAIT_S = 5.0
"""How long to wait for another connection's lock before saying so and trying again later."""

Columns = Mapping[str, frozenset[str]]
"""The names of the columns of each table that is there."""


class Traits(NamedTuple):
    """By what a database is recognised beside its rows: see `BackendIdentity`."""

    change_count: int | None = None
    file: str | None = None
    schema_count: int | None = None
    pages: int | None = None
    server: str | None = None
    timeline: int | None = None
    is_standby: bool = False


class Probe(Protocol):
    """Has anything happened in the database? Asked often, so it costs next to nothing."""

    def changed(self) -> bool:
        """Return True once for each change, and the first time; also where it cannot be told."""
        ...

    def settle(self, sleep: Callable[[float], object] = time.sleep) -> None:
        """After an event that came early: wait a moment, until what caused it is visible."""
        ...

    def version(self) -> Hashable | None:
        """Return what differs after every commit of others; None when it cannot be told now.

        Two that are equal promise that what was read in between is still so.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class ServerLock(Protocol):
    """A lock that the server keeps for us for as long as one connection lives."""

    def acquire(self) -> None:
        """Take it; raises LeaseHeld where another connection has it."""
        ...

    def verify(self) -> None:
        """Raise LeaseLost where it is not ours any more."""
        ...

    def expire_after(self, idle_s: float) -> None:
        """Have the server let go of it, where it can, when it is not asked for so long."""
        ...

    def release(self) -> None:
        """Give it back; harmless when it is not held."""
        ...


class Backend(Protocol):
    """One tracking database, read only. What goes wrong is raised as TrackingUnreadable."""

    @property
    def database(self) -> Database:
        """Which one it is."""
        ...

    def reading(self) -> AbstractContextManager[Connection]:
        """Open, read one moment in one short transaction that changes nothing, and close."""
        ...

    def shape(self, connection: Connection) -> Hashable | None:
        """Return what differs when tables changed; None where only looking at them tells."""
        ...

    def columns(self, connection: Connection, tables: Iterable[str] | None = None) -> Columns:
        """Look at the tables and columns that are there, or at all of the given ones that are."""
        ...

    def traits(self, connection: Connection) -> Traits:
        """Read by what this database is recognised."""
        ...

    def probe(self) -> Probe:
        """Return what tells whether something changed."""
        ...

    def lock(self) -> ServerLock | None:
        """Return the server's own lock for those that act; None where files have to do."""
        ...
