"""Has anything happened in the tracking database? Asked often, so it must cost next to nothing.

Two signals, either of which is enough. The modification time, size and identity of the database
file and of its `-wal` say that something was written; `PRAGMA data_version` on one connection that
stays open says that a commit has become visible. With a `-wal` the first comes *before* the second,
so a read right after a file event can miss the commit that caused it: hence `settle`.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from types import TracebackType

from watchdog.events import (
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from mlflow_cleanup.backends.sqlite import connect
from mlflow_cleanup.errors import TrackingUnreadable

_WATCHED = (FileModifiedEvent, FileCreatedEvent, FileMovedEvent, FileDeletedEvent, FileClosedEvent)
_BURST_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256)
"""Pauses between looks after a file event whose commit is not visible yet."""

FileMark = tuple[int, int, int]


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


def mark_of(path: str) -> FileMark | None:
    """Return modification time (ns), size and inode of a file, None when it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class FileEvents:
    """Calls `wake` when one of the named files changes; where it fails, polling goes on."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._observer: BaseObserver = Observer()

    def watch(self, directory: str, names: frozenset[str]) -> bool:
        """Watch files of one directory; False when the system cannot."""
        try:
            self._observer.schedule(
                _Handler(names, self._wake), directory, recursive=False, event_filter=list(_WATCHED)
            )
        except OSError:
            return False  # no inotify instances left, a file system without events: polling remains
        return True

    def __enter__(self) -> FileEvents:
        self._observer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._observer.stop()
        self._observer.join()


class _Handler(FileSystemEventHandler):
    def __init__(self, names: frozenset[str], wake: Callable[[], None]) -> None:
        self._names, self._wake = names, wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        for path in (event.src_path, event.dest_path):
            if path and os.path.basename(os.fsdecode(path)) in self._names:
                self._wake()
                return


def files_of(path: str) -> frozenset[str]:
    """Name the files that change when the SQLite database at `path` does."""
    name = os.path.basename(path)
    return frozenset((name, f"{name}-wal", f"{name}-journal"))
