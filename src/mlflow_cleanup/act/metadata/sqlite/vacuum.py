"""Giving the space of removed rows of an SQLite database back to the disk."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from mlflow_cleanup.act.metadata.sqlite.writing import connect, explaining
from mlflow_cleanup.act.metadata.vacuumed import Vacuumed
from mlflow_cleanup.errors import DatabaseMissing, NoRoomToVacuum

_SPARE_BYTES = 16 * 1024 * 1024
"""Others write to the same disk meanwhile."""
_TEMPORARY = ("/var/tmp", "/usr/tmp", "/tmp", ".")  # noqa: S108 - where SQLite itself looks


def vacuum(database: str, wait_s: float) -> Vacuumed:
    """Give the free pages of an SQLite database back to the disk; without any, do nothing.

    SQLite writes the whole database anew, and nobody else can write until that is done: about a
    second for some hundred megabytes. Beside a write-ahead log that somebody reads, the file gets
    smaller when they have ended. Raises DatabaseMissing, DatabaseBusy when the lock cannot be had
    for `wait_s`, NoRoomToVacuum or TrackingUnwritable; the database is as it was then.
    """
    if not os.path.isfile(database):
        raise DatabaseMissing(database)
    with explaining(database, wait_s), closing(connect(database)) as connection:
        connection.execute(f"PRAGMA busy_timeout = {int(wait_s * 1000)}")
        before_bytes = _size_bytes(database)
        if _number(connection, "freelist_count"):
            _expect_room(database, connection)
            connection.execute("VACUUM")
            # With another journal this does nothing.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return Vacuumed(before_bytes, _size_bytes(database))


def _expect_room(database: str, connection: sqlite3.Connection) -> None:
    """Raise NoRoomToVacuum if there is not enough.

    The new content is made in a temporary file and copied from there; until the end, what was there
    before lies in the journal, or what comes does in the write-ahead log.
    """
    page_bytes, pages = _number(connection, "page_size"), _number(connection, "page_count")
    kept_bytes = (pages - _number(connection, "freelist_count")) * page_bytes
    needed_bytes: dict[str, int] = {}
    beside, temporary = os.path.dirname(os.path.abspath(database)), temporary_directory(os.environ)
    for directory, size_bytes in ((beside, pages * page_bytes), (temporary, kept_bytes)):
        same = next((one for one in needed_bytes if _is_same_disk(one, directory)), directory)
        needed_bytes[same] = needed_bytes.get(same, _SPARE_BYTES) + size_bytes
    for directory, size_bytes in needed_bytes.items():
        free_bytes = shutil.disk_usage(directory).free
        if free_bytes < size_bytes:
            raise NoRoomToVacuum(database, directory, size_bytes, free_bytes)


def temporary_directory(
    environment: Mapping[str, str], others: Iterable[str] = _TEMPORARY, *, system: str = os.name
) -> str:
    """Return where SQLite puts a large temporary file (`unixTempFileDir`)."""
    if system == "nt":
        return tempfile.gettempdir()
    named = (environment.get(name) for name in ("SQLITE_TMPDIR", "TMPDIR"))
    for directory in (*named, *others):
        if directory and os.path.isdir(directory) and os.access(directory, os.W_OK | os.X_OK):
            return directory
    return "."


def _is_same_disk(one: str, other: str) -> bool:
    return os.stat(one).st_dev == os.stat(other).st_dev


def _number(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _size_bytes(database: str) -> int:
    paths = (Path(database), Path(f"{database}-wal"))
    return sum(path.stat().st_size for path in paths if path.exists())
