"""The ledger in a file: one SQLite database, durable before anything moves."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlflow_cleanup.errors import LedgerFull, LedgerMissing, LedgerReplaced, LedgerUnwritable
from mlflow_cleanup.ledger.database import (
    LedgerDatabase,
    format_of,
    mark,
    name,
    require_format,
)
from mlflow_cleanup.ledger.tables import FORMAT, TABLES, UPGRADES

FILE = "ledger.db"
WAKE_FILE = "wake"
"""A file in the state directory: touching it makes a running monitor look at requests."""

RESERVE = "reserve"
_RESERVE_BYTES = 1 << 20
"""Room that is kept for the day when the disk is full: purging, which frees the disk, has to be
recorded first. A purge takes some 10 kB of it."""

_BUSY_S = 10.0


class LedgerFile(LedgerDatabase):
    """A connection to the ledger's file; one thread at a time may use it."""

    as_bytes = "CAST({} AS BLOB)"

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self.name = path, str(path)
        self.connection: sqlite3.Connection = connection
        self._file = os.stat(path) if path.exists() else None

    @classmethod
    def open_to_write(cls, state_dir: Path) -> LedgerFile:
        """Open or create; every commit is on the disk before the call returns."""
        path = state_dir / FILE
        try:
            state_dir.mkdir(exist_ok=True)
            try:
                connection = _connect_writer(path)
            except sqlite3.OperationalError as error:
                if "locked" in str(error) or not give_up_reserve(state_dir):
                    raise
                connection = _connect_writer(path)
            _require_format(connection, path)
            connection.row_factory = sqlite3.Row
            return cls(path, connection)
        except (sqlite3.Error, OSError) as error:
            raise LedgerUnwritable(str(path), str(error)) from error

    @classmethod
    def open_to_read(cls, state_dir: Path) -> LedgerFile:
        """Open without ever writing; raises LedgerMissing."""
        path = state_dir / FILE
        if not path.is_file():
            raise LedgerMissing(str(path))
        try:
            connection = _connect_reader(path)
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                connection.close()
                raise LedgerMissing(str(path))  # the disk was full when it was made
            _require_format(connection, path)
        except sqlite3.Error as error:
            raise LedgerUnwritable(str(path), str(error)) from error
        connection.row_factory = sqlite3.Row
        return cls(path, connection)

    @classmethod
    def in_memory(cls) -> LedgerFile:
        """Open an empty one that leaves no trace."""
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        _prepare(connection)
        connection.row_factory = sqlite3.Row
        return cls(Path(":memory:"), connection)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; raises LedgerUnwritable when it cannot be made durable."""
        if self.connection.in_transaction:
            yield self.connection
            return
        self._require_same_file()
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                self.connection.rollback()
                raise
            self.connection.commit()
        except sqlite3.Error as error:
            self.connection.rollback()  # does nothing where no transaction is open
            is_eased = "full" in str(error) and give_up_reserve(self.path.parent)
            kind = LedgerFull if is_eased else LedgerUnwritable
            raise kind(str(self.path), str(error)) from error

    @contextmanager
    def unsynced(self) -> Iterator[sqlite3.Connection]:
        """A transaction that only a crash of the whole system can lose: later ones sync it too."""
        self.connection.execute("PRAGMA synchronous = NORMAL")
        try:
            with self.transaction() as connection:
                yield connection
        finally:
            self.connection.execute("PRAGMA synchronous = FULL")

    def keep_reserve(self) -> None:
        """Keep room on the disk for recording a purge when there is no other."""
        reserve = self.path.parent / RESERVE
        try:
            if not reserve.exists():
                reserve.write_bytes(bytes(_RESERVE_BYTES))
        except OSError:
            give_up_reserve(self.path.parent)  # no room for it now

    def _require_same_file(self) -> None:
        """What is written to a file that has no name any more is remembered by nobody."""
        try:
            is_same = self._file is None or os.path.samestat(os.stat(self.path), self._file)
        except OSError:
            is_same = False
        if not is_same:
            raise LedgerReplaced(str(self.path))

    def require_held(self) -> None:
        """Nothing to ask: the lock ends with its process, and that cannot act then."""

    def may_go_on(self) -> bool:
        """Always, for the same reason."""
        return True

    def wake(self) -> None:
        """Touch the file that a monitor watches."""
        with suppress(OSError):  # on a full disk it is seen with the next upkeep
            wake_file = self.path.parent / WAKE_FILE
            wake_file.write_text(str(time.time_ns()), encoding="ascii")

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def give_up_reserve(state_dir: Path) -> bool:
    """Give the reserved room back to the disk; False when there is none."""
    try:
        (state_dir / RESERVE).unlink()
    except OSError:
        return False
    return True


def _connect_writer(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        _prepare(connection)
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_reader(path: Path) -> sqlite3.Connection:
    # Read-write with query_only: a read-only connection would leave the -wal file behind.
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        how = "mode=rw"
    elif path.with_name(f"{path.name}-wal").exists():
        how = "mode=ro"  # with the writer's own files
    else:
        how = "mode=ro&immutable=1"  # nobody writes, and without write access none can be made
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}", uri=True, timeout=_BUSY_S, isolation_level=None
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Make what is missing, in the transaction that is open."""
    is_new = not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone()
    found = FORMAT if is_new else format_of(connection)
    if found > FORMAT:
        return  # a later version's, and left to it
    for earlier in range(found, FORMAT):
        for change in UPGRADES[earlier]:
            connection.execute(change)
    for table in filter(str.strip, TABLES.split(";")):
        connection.execute(table)
    if is_new or found < FORMAT:
        mark(connection)
    name(connection)


def _require_format(connection: sqlite3.Connection, path: Path) -> None:
    try:
        require_format(connection, str(path))
    except LedgerUnwritable:
        connection.close()
        raise
