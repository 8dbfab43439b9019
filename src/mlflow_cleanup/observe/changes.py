"""What wakes the monitor early: events of files beside it."""

from __future__ import annotations

import os
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

_WATCHED = (FileModifiedEvent, FileCreatedEvent, FileMovedEvent, FileDeletedEvent, FileClosedEvent)


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
