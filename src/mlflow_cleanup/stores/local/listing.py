"""Listing a root: one value for each directory, links neither followed nor mounts entered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from mlflow_cleanup.errors import UnsafePlace
from mlflow_cleanup.model.inventory import Listed, Unseen
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.stores.base import KeepGoing, Mark
from mlflow_cleanup.stores.local.directory import Directory, descend, is_plain_directory
from mlflow_cleanup.stores.local.mounts import mount_points

_OPEN_AT_MOST = 200
"""Directories kept open on the way down; below, each is found from the top again."""


def list_root(
    root: Directory, mark: Mark | None, keep_going: KeepGoing
) -> Iterator[Listed | Unseen]:
    """Yield every directory below `root`, our own excepted; `mark` tells names apart."""
    yield from _Listing(root, mark, keep_going).run()


class _Listing:
    def __init__(self, root: Directory, mark: Mark | None, keep_going: KeepGoing) -> None:
        self._root, self._mark, self._keep_going = root, mark, keep_going
        self._device, self._mounts = root.stat().st_dev, mount_points()
        # The way down: an open directory, or None when found from the top; names still to do.
        self._way: list[tuple[Directory | None, tuple[str, ...], list[str]]] = []

    def run(self) -> Iterator[Listed | Unseen]:
        try:
            yield self._enter(self._root, (), is_top=True)
            while self._way and self._keep_going():
                directory, inside, names = self._way[-1]
                if not names:
                    self._leave()
                    continue
                yield self._child(directory, inside, names.pop())
            if any(names for _, _, names in self._way):
                yield Unseen(self._root.path, "the listing was stopped before its end")
        finally:
            while self._way:
                self._leave()

    def _child(
        self, directory: Directory | None, inside: tuple[str, ...], name: str
    ) -> Listed | Unseen:
        below = (*inside, name)
        try:
            child = directory.open(name) if directory else descend(self._root, below)
        except (OSError, UnsafePlace) as error:
            return self._unseen(below, error)
        return self._enter(child, below)

    def _enter(
        self, directory: Directory, inside: tuple[str, ...], *, is_top: bool = False
    ) -> Listed | Unseen:
        names: list[str] = []
        try:
            status = directory.stat()
            is_mount = (
                directory.path in self._mounts and not is_top
            )  # a bind mount's device is ours
            if status.st_dev != self._device or is_mount:
                raise UnsafePlace(directory.path, "another file system is mounted there")
            found = self._look(directory, inside, names, status.st_mtime)
        except (OSError, UnsafePlace) as error:
            if not is_top:
                directory.__exit__(None, None, None)
            return self._unseen(inside, error)
        if is_top:
            names = [name for name in names if name != RESERVED]
        is_kept_open = not is_top and len(self._way) < _OPEN_AT_MOST
        if names:
            kept = directory if is_kept_open or is_top else None
            self._way.append((kept, inside, names))
        if not is_top and not (names and is_kept_open):
            directory.__exit__(None, None, None)
        return found

    def _look(
        self, directory: Directory, inside: tuple[str, ...], names: list[str], newest: float
    ) -> Listed:
        files = size = marked_files = marked_size = 0
        mark = self._mark
        for entry in directory.scan():
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if is_plain_directory(status):
                names.append(entry.name)
                continue
            freed = status.st_size if status.st_nlink <= 1 else 0
            files, size = files + 1, size + freed
            newest = max(newest, status.st_mtime)
            if mark is not None and mark(entry.name):
                marked_files, marked_size = marked_files + 1, marked_size + freed
        return Listed(
            inside, Size(files, size), newest, bool(names), Size(marked_files, marked_size)
        )

    def _leave(self) -> None:
        directory, _, _ = self._way.pop()
        if directory is not None and directory is not self._root:
            with suppress(OSError):
                directory.__exit__(None, None, None)

    def _unseen(self, inside: tuple[str, ...], error: Exception) -> Listed | Unseen:
        if isinstance(error, FileNotFoundError) and inside:
            return Listed(inside, Size(), 0.0, has_directories=True)  # gone meanwhile
        why = getattr(error, "detail", None) or getattr(error, "strerror", None) or str(error)
        return Unseen(os.path.join(self._root.path, *inside), why)
