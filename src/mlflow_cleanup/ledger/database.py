"""The ledger's file: one SQLite database, durable before anything moves."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow_cleanup.errors import LedgerFull, LedgerMissing, LedgerReplaced, LedgerUnwritable

FILE = "ledger.db"
RESERVE = "reserve"
_RESERVE_BYTES = 1 << 20
"""Room that is kept for the day when the disk is full: purging, which frees the disk, has to be
recorded first. A purge takes some 10 kB of it."""

FORMAT = 3
_BUSY_S = 10.0

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS known_runs (
    run_id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    experiment_id TEXT,
    artifact_uri BLOB,
    kept BLOB,
    attempts INTEGER NOT NULL DEFAULT 0,
    retry_s REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS known_runs_left ON known_runs (state) WHERE state <> 'active';
CREATE TABLE IF NOT EXISTS items (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    root BLOB NOT NULL,
    inside BLOB NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    held TEXT NOT NULL,
    name BLOB,
    experiment_id TEXT,
    quarantined_at TEXT,
    quarantined_s REAL NOT NULL,
    settled_s REAL NOT NULL,
    files INTEGER,
    bytes INTEGER,
    freed_files INTEGER NOT NULL DEFAULT 0,
    freed_bytes INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    retry_s REAL NOT NULL DEFAULT 0,
    error BLOB,
    by_hand INTEGER NOT NULL DEFAULT 0,
    deleted_at TEXT
);
CREATE INDEX IF NOT EXISTS items_by_state ON items (state);
CREATE INDEX IF NOT EXISTS items_by_entity ON items (entity_id);
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    event TEXT NOT NULL,
    kind TEXT,
    entity_id TEXT,
    name BLOB,
    item_id TEXT,
    detail BLOB,
    files INTEGER,
    bytes INTEGER
);
CREATE TABLE IF NOT EXISTS refusals (
    plan_id TEXT PRIMARY KEY,
    at TEXT NOT NULL,
    reason BLOB NOT NULL,
    answer TEXT,
    is_current INTEGER NOT NULL DEFAULT 1,
    is_lasting INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY,
    verb TEXT NOT NULL,
    words TEXT NOT NULL,
    progress TEXT,
    is_to_stop INTEGER NOT NULL DEFAULT 0,
    outcome TEXT
);
CREATE TABLE IF NOT EXISTS roots (
    path BLOB PRIMARY KEY,
    is_marked INTEGER NOT NULL DEFAULT 0,
    problem BLOB,
    tokens TEXT
);
CREATE TABLE IF NOT EXISTS sightings (
    root BLOB NOT NULL,
    inside BLOB NOT NULL,
    first_s REAL NOT NULL,
    PRIMARY KEY (root, inside)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pins (
    target BLOB PRIMARY KEY,
    at TEXT NOT NULL,
    reason BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plans (
    stamp TEXT PRIMARY KEY,
    begun_at TEXT NOT NULL,
    is_done INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""

_UPGRADES = {
    1: (
        "ALTER TABLE items ADD COLUMN deleted_at TEXT",
        "ALTER TABLE refusals ADD COLUMN is_lasting INTEGER NOT NULL DEFAULT 0",
        "UPDATE refusals SET is_lasting = 1 WHERE reason LIKE '%back in time%'",
        "ALTER TABLE roots ADD COLUMN tokens TEXT",
    ),
    # Nobody waits for an answer, or carries out half a plan, across two versions.
    2: ("DROP TABLE requests", "DROP TABLE IF EXISTS plans"),
}
"""What makes a ledger of each earlier format one of the next."""


class LedgerFile:
    """A connection to the ledger; one thread at a time may use it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self.connection = path, connection
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
    found = FORMAT if is_new else _format_of(connection)
    if found > FORMAT:
        return  # a later version's, and left to it
    for earlier in range(found, FORMAT):
        for change in _UPGRADES[earlier]:
            connection.execute(change)
    for table in filter(str.strip, _TABLES.split(";")):
        connection.execute(table)
    if is_new or found < FORMAT:
        connection.execute("INSERT OR REPLACE INTO facts VALUES ('format', ?)", (str(FORMAT),))
    connection.execute("INSERT OR IGNORE INTO facts VALUES ('id', ?)", (secrets.token_hex(8),))


def _require_format(connection: sqlite3.Connection, path: Path) -> None:
    found = _format_of(connection)
    if found != FORMAT:
        connection.close()
        age = (
            "a later mlflow-cleanup"
            if found > FORMAT
            else "an earlier mlflow-cleanup; starting the monitor brings it up to date"
        )
        raise LedgerUnwritable(str(path), f"its format {found} is of {age}")


def _format_of(connection: sqlite3.Connection) -> int:
    found = connection.execute("SELECT value FROM facts WHERE name = 'format'").fetchone()
    return int(found[0]) if found else FORMAT


def to_blob(text: str | None) -> bytes | None:
    """Encode text that may hold anything, such as a URI from the tracking database."""
    return None if text is None else text.encode("utf-8", "surrogatepass")


def to_text(blob: bytes | str | None) -> str | None:
    """Decode what `to_blob` encoded."""
    return blob.decode("utf-8", "surrogatepass") if isinstance(blob, bytes) else blob
