"""The one connection that changes MLflow's rows in an SQLite database."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from mlflow_cleanup.act.metadata.pacing import Pace
from mlflow_cleanup.act.metadata.patience import ReadersInTheWay
from mlflow_cleanup.act.metadata.sqlite.definition import Definition
from mlflow_cleanup.errors import CleanupError, DatabaseBusy, DatabaseMissing, TrackingUnwritable

_LEAST_PATIENCE_S, _MOST_PATIENCE_S = 0.02, 0.2
_CACHE_KIB = 16_384
_ASK_AGAIN_S = 0.001
_TABLE = re.compile(r"\s*CREATE\s+TABLE\b", re.IGNORECASE)

_SETTINGS = (
    # With it SQLite would look through every table that has a key without an index, for each row
    # that goes. What it would have done is done here, in the same transaction.
    "PRAGMA foreign_keys = OFF",
    # SQLite must not make an index of a whole table for one statement.
    "PRAGMA automatic_index = OFF",
)

# Any bytes may stand in a text column.
_DECODE = partial(str, encoding="utf-8", errors="surrogateescape")


@contextmanager
def opened(path: str, pace: Pace, *, only_reads: bool = False) -> Iterator[Writer]:
    """Open a tracking database for removing rows; raises DatabaseMissing or another CleanupError.

    `only_reads`: one that may not be written to will do.

    Nothing of it is set for good: neither its journal mode nor anything else that others see.
    """
    if not os.path.isfile(path):
        raise DatabaseMissing(path)
    is_closed = only_reads and not all(
        os.access(one, os.W_OK) for one in (path, os.path.dirname(path))
    )
    creator = partial(_connect_closed if is_closed else connect, path)
    engine = create_engine("sqlite://", creator=creator, poolclass=NullPool)
    try:
        with explaining(path, pace.wait_s), engine.connect() as connection:
            for setting in _SETTINGS:
                connection.exec_driver_sql(setting)
            yield Writer(path, connection, pace)
    finally:
        engine.dispose()


def connect(path: str) -> sqlite3.Connection:
    """Open a database that is there for writing; nothing waits for a lock by itself."""
    return _connect(path, "rw")


def _connect_closed(path: str) -> sqlite3.Connection:
    """Open a database that nobody lets us write to."""
    return _connect(path, "ro")


def _connect(path: str, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{Path(path).as_uri()}?mode={mode}",
        uri=True,
        timeout=0.0,  # whoever waits is told so, and asks again
        isolation_level=None,  # transactions begin and end where we say so
        check_same_thread=False,  # a generator may be closed by another thread
    )
    connection.text_factory = _DECODE
    return connection


@contextmanager
def explaining(path: str, waited_s: float) -> Iterator[None]:
    """Turn a database's error into ours."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise _explained(path, error, waited_s) from error


def _explained(path: str, error: Exception, waited_s: float) -> CleanupError:
    text = str(error.orig if isinstance(error, DBAPIError) else error)
    # Python 3.10 does not tell the number of an error.
    if "locked" in text:
        return DatabaseBusy(path, waited_s)
    return TrackingUnwritable(path, text)


class Writer:
    """An open tracking database; `connection` commits each statement unless in `batch`."""

    def __init__(self, path: str, connection: Connection, pace: Pace) -> None:
        self.path, self.connection, self._pace = path, connection, pace
        self._patience_s = _LEAST_PATIENCE_S

    def definition(self) -> Definition:
        """Read how the database is made."""
        with self.glance():
            self._run(f"PRAGMA cache_size = -{_CACHE_KIB}")
            version = self._number("PRAGMA schema_version")
            found = self.connection.exec_driver_sql(
                "SELECT type, sql FROM sqlite_master WHERE sql IS NOT NULL "
                "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
            ).all()
        # Virtual tables have no keys.
        tables = [sql for type_, sql in found if type_ == "table" and _TABLE.match(sql)]
        indexes = [sql for type_, sql in found if type_ == "index"]
        return Definition(version, tuple(tables), tuple(indexes))

    def version(self) -> int:
        """Return a number that is another one after any table was changed."""
        return self._number("PRAGMA schema_version")

    @contextmanager
    def glance(self) -> Iterator[None]:
        """Read several things of one moment; raises DatabaseBusy."""
        # The second one takes the lock, which a mere BEGIN leaves to the first that reads.
        yield from self._transaction("BEGIN", "PRAGMA schema_version")

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Change temporary tables only: nobody else is kept waiting."""
        yield from self._transaction("BEGIN")

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Hold the write lock; all that is done inside is kept, or nothing.

        Raises DatabaseBusy when the lock cannot be had, or when readers keep the changes from being
        written: while SQLite waits for these it lets no new ones in, so that wait is short, and
        grows with each attempt.
        """
        yield from self._transaction("BEGIN IMMEDIATE")
        self._patience_s = _LEAST_PATIENCE_S

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Within a batch: take back what is done inside, and only that, if it fails.

        Raises TrackingUnwritable when the whole batch was taken back, as by RAISE(ROLLBACK).
        """
        self._expect_batch("it is not known by what")
        self._run("SAVEPOINT attempt")
        try:
            yield
        except Exception as error:
            self._expect_batch(str(error))
            self._take_back()
            raise
        except BaseException:
            if self._is_open:
                self._take_back()
            raise
        self._run("RELEASE attempt")

    def _expect_batch(self, what: str) -> None:
        """What came after would be kept at once, statement by statement."""
        if not self._is_open:
            raise TrackingUnwritable(self.path, f"the whole transaction was taken back: {what}")

    def _take_back(self) -> None:
        self._run("ROLLBACK TO attempt")
        self._run("RELEASE attempt")

    def changes_of_others(self) -> int:
        """Return a number that is another one after any other connection has changed something."""
        return self._number("PRAGMA data_version")

    def _transaction(self, *begin: str) -> Iterator[None]:
        self._begin(begin)
        try:
            with explaining(self.path, self._pace.wait_s):
                yield
            self._commit()
        except BaseException:
            self._roll_back()
            raise

    def _begin(self, statements: tuple[str, ...]) -> None:
        """Ask for a lock often: others that write without a pause leave it free for no time."""
        ends = self._pace.clock() + self._pace.wait_s
        while True:
            try:
                with explaining(self.path, self._pace.wait_s):
                    for statement in statements:
                        self._run(statement)
                return
            except DatabaseBusy:
                self._roll_back()
                if self._pace.clock() >= ends:
                    raise
            self._pace.sleep(_ASK_AGAIN_S)

    def _commit(self) -> None:
        self._run(f"PRAGMA busy_timeout = {int(self._patience_s * 1000)}")
        try:
            with explaining(self.path, self._patience_s):
                self._run("COMMIT")
        except DatabaseBusy as busy:
            self._patience_s = min(2 * self._patience_s, _MOST_PATIENCE_S)
            raise ReadersInTheWay(self.path, busy.waited_s) from busy
        finally:
            self._run("PRAGMA busy_timeout = 0")

    def _roll_back(self) -> None:
        # A full disk or a failing one has ended it already.
        if self._is_open:
            self._run("ROLLBACK")

    @property
    def _is_open(self) -> bool:
        return bool(getattr(self.connection.connection.dbapi_connection, "in_transaction", False))

    def _number(self, statement: str) -> int:
        return int(self.connection.exec_driver_sql(statement).scalar_one())

    def _run(self, statement: str) -> None:
        # Closed at once: an open result would keep its lock.
        self.connection.exec_driver_sql(statement).close()
