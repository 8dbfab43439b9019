"""The targets of one job, in a temporary file on this side, so that their number does not matter.

Servers get no temporary table: it would need a right of its own, a connection that stays, and could
not be named twice in one statement of MySQL's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager

from mlflow_cleanup.act.metadata.kinds import KINDS, LARGEST
from mlflow_cleanup.act.metadata.targets import NO_ID, Outcome, Result, Target, TargetKind, Waiting

_NUL = "\x00"
"""PostgreSQL knows no text with it."""


class Shelf:
    """Targets by kind, in the order in which they came; one that was named twice counts once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(
            "CREATE TABLE target (number INTEGER PRIMARY KEY, kind TEXT, id, at INTEGER, "
            "UNIQUE (kind, id))"
        )
        connection.execute("CREATE INDEX by_kind ON target (kind, number)")

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[Shelf]:
        """Make one; the file has no name, and goes with the connection."""
        with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as made:
            yield cls(made)

    def add(self, targets: Iterable[Target]) -> list[Outcome]:
        """Take down targets; those with ids that nothing can have are kept."""
        keys = [(target, _key_of(target)) for target in targets]
        self._connection.execute("BEGIN")
        self._connection.executemany(
            "INSERT OR IGNORE INTO target (kind, id, at) VALUES (?, ?, ?)",
            [(target.kind.name, key, target.at_ms) for target, key in keys if key is not None],
        )
        self._connection.execute("COMMIT")
        return [Outcome(target, Result.KEPT, NO_ID) for target, key in keys if key is None]

    def has_some(self, kind: TargetKind) -> bool:
        """Tell whether there is any of a kind."""
        return bool(self.after(kind, 0, 1))

    def after(self, kind: TargetKind, number: int, limit: int) -> Sequence[Waiting]:
        """Return the next targets of a kind after a number."""
        found = self._connection.execute(
            "SELECT number, id, at FROM target WHERE kind = ? AND number > ? "
            "ORDER BY number LIMIT ?",
            (kind.name, number, limit),
        )
        return [Waiting(number, key, Target(kind, str(key), at_ms)) for number, key, at_ms in found]

    def pages(self, kind: TargetKind, size: int) -> Iterator[Sequence[Waiting]]:
        """Yield all targets of a kind, some at a time."""
        done = 0
        while page := self.after(kind, done, size):
            yield page
            done = page[-1].number

    def has(self, kind: TargetKind, key: object) -> bool:
        """Tell whether an entity is a target."""
        query = "SELECT 1 FROM target WHERE kind = ? AND id = ?"
        return self._connection.execute(query, (kind.name, key)).fetchone() is not None


def _key_of(target: Target) -> str | int | None:
    if target.at_ms is not None and abs(target.at_ms) > LARGEST:
        return None
    key = KINDS[target.kind].key_of(target.id)
    return None if isinstance(key, str) and _NUL in key else key
