"""Has anything happened in an SQLite database?

Two signals, either of which is enough. The modification time, size and identity of the database
file and of its `-wal` say that something was written; `PRAGMA data_version` on one connection that
stays open says that a commit has become visible. With a `-wal` the first comes *before* the second,
so a read right after a file event can miss the commit that caused it: hence `settle`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from mlflow_cleanup.backends.files import FileMark, mark_of
from mlflow_cleanup.backends.sqlite_file import connect
from mlflow_cleanup.errors import TrackingUnreadable

_BURST_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256)
"""Pauses between looks after a file event whose commit is not visible yet."""


class ChangeProbe:
    """Tells whether the database changed since the last time it was asked."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._connected_to: int | None = None
        self._files: tuple[FileMark | None, ...] = ()
        self._version: int | None = None

    def changed(self) -> bool:
        """Return True once for each change, and the first time."""
        files, version = self._look()
        is_new = files != self._files or version != self._version
        self._files, self._version = files, version
        return is_new

    def settle(self, sleep: Callable[[float], object] = time.sleep) -> None:
        """After a file event: wait, up to half a second, until its commit is visible."""
        before = self._version
        for pause in _BURST_S:
            version = self._data_version()
            if version is not None and version != before:
                return
            sleep(pause)

    def version(self) -> tuple[int, int] | None:
        """Return what differs after every commit of others; None when it cannot be told now."""
        version = self._data_version()
        if version is None or self._connected_to is None:
            return None
        return self._connected_to, version

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _look(self) -> tuple[tuple[FileMark | None, ...], int | None]:
        files = (mark_of(self._path), mark_of(self._path + "-wal"))
        return files, self._data_version()

    def _data_version(self) -> int | None:
        mark = mark_of(self._path)
        inode = mark[2] if mark else None
        if inode != self._connected_to:
            self.close()  # another file lies at the path now
        if inode is None:
            self._connected_to = None
            return None
        try:
            if self._connection is None:
                self._connection = connect(self._path, wait_s=0.0)
                self._connected_to = inode
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except (sqlite3.Error, TrackingUnreadable):
            return None  # locked just now: the files' marks still tell, and the next look will
