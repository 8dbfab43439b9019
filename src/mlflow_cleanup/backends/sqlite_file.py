"""Opening SQLite's file so that reading it leaves no trace.

Opened read-write with `query_only`: a read-only connection to a database in WAL mode leaves its
`-wal` and `-shm` files behind, and cannot roll back what a crashed writer left. `mode=rw` creates
nothing.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from functools import partial
from pathlib import Path

from mlflow_cleanup.backends.base import WAIT_S
from mlflow_cleanup.backends.files import file_id
from mlflow_cleanup.errors import (
    DatabaseBusy,
    DatabaseMissing,
    NotATrackingDatabase,
    TrackingUnreadable,
)

_COUNTER_BEGINS, _COUNTER_ENDS = 24, 28

# Any bytes may stand in a text column; what is not UTF-8 must not stop everything else.
_DECODE = partial(str, encoding="utf-8", errors="surrogateescape")


def connect(path: str, wait_s: float = WAIT_S) -> sqlite3.Connection:
    """Open for reading; raises DatabaseMissing or another TrackingUnreadable."""
    if not os.path.isfile(path):
        raise DatabaseMissing(path)
    mode = "rw" if os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK) else "ro"
    try:
        connection = sqlite3.connect(
            f"{Path(path).as_uri()}?mode={mode}",
            uri=True,
            timeout=wait_s,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.text_factory = _DECODE
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise explained(path, error, wait_s) from error
    return connection


def explained(path: str, error: BaseException, wait_s: float = WAIT_S) -> TrackingUnreadable:
    """Turn an SQLite error into ours, which says what it means here."""
    code = getattr(error, "sqlite_errorcode", None)
    text = str(error)
    if code in (sqlite_code("BUSY"), sqlite_code("LOCKED")) or "locked" in text:
        return DatabaseBusy(path, wait_s)
    if code == sqlite_code("NOTADB") or "not a database" in text:
        return NotATrackingDatabase(path, text)
    return TrackingUnreadable(
        f"the tracking database {path} cannot be read ({text}); nothing was touched"
    )


def sqlite_code(name: str) -> int:
    """Return the number of a primary SQLite result code (Python 3.10 does not export them)."""
    return {"BUSY": 5, "LOCKED": 6, "NOTADB": 26}[name]


def change_counter(path: str) -> int | None:
    """Read SQLite's file change counter, which only grows while the file lives on.

    Bytes 24 to 27 of the header (SQLite's file format, section 1.3.8).
    """
    with _HEADER_LOCK:
        header = _read_header(path)
    if len(header) < _COUNTER_ENDS:
        return None
    return int.from_bytes(header[_COUNTER_BEGINS:_COUNTER_ENDS], "big")


_HEADER_LOCK = threading.Lock()
_HEADERS: dict[tuple[int, int], int] = {}
"""Descriptors of database files, by device and inode, that are never closed again: on POSIX systems
closing any descriptor of a file gives up every lock that this process has on it, and with these
SQLite would lose what protects our open connections (SQLite's "How To Corrupt", section 2.2)."""


def _read_header(path: str) -> bytes:
    try:
        if (file := file_id(path)) is None:
            return b""
        if file not in _HEADERS:
            _HEADERS[file] = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        os.lseek(_HEADERS[file], 0, os.SEEK_SET)
        return os.read(_HEADERS[file], _COUNTER_ENDS)
    except OSError:
        return b""
