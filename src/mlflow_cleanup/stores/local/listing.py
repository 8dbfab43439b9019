"""Listing a root: one value for each directory, links neither followed nor mounts entered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from mlflow_cleanup.errors import UnsafePlace
from mlflow_cleanup.model.globs import Globs
from mlflow_cleanup.model.inventory import Listed, Unseen
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.stores.base import KeepGoing, Mark
from mlflow_cleanup.stores.local.directory import (
    DescriptorDirectory,
    Directory,
    descend,
    is_plain_directory,
)
from mlflow_cleanup.stores.local.mounts import mount_points

Piece = tuple[tuple[str, ...], list[str]]
"""Work to do: the names that lead to a directory, and names in it, each to be listed whole."""

_PIECE_AT_MOST = 500
_PIECE_OF_LEAVES = 16
"""Names in the directory at hand below which sharing them takes longer than listing them."""

_OPEN_AT_MOST = 200
"""Directories kept open on the way down; below, each is found from the top again."""


def list_root(
    root: Directory,
    mark: Mark | None,
    keep_going: KeepGoing,
    leave_out: str | None = RESERVED,
) -> Iterator[Listed | Unseen]:
    """Yield every directory below `root`, but the one in it that is left out.

    `mark` tells names apart.
    """
    listing = Listing(root, mark)
    try:
        yield listing.begin(leave_out)
        while keep_going() and (found := listing.step()) is not None:
            yield found
        if listing.has_more:
            yield stopped(root)
    finally:
        listing.close()


def stopped(root: Directory) -> Unseen:
    """Say that a listing was ended before its end: what was not listed is not known."""
    return Unseen(root.path, "the listing was stopped before its end")


class Listing:
    """A listing in the middle: what was found, a directory a step, and what is still to do."""

    def __init__(self, root: Directory, mark: Mark | None) -> None:
        self._root = root
        self._mark = mark.test if isinstance(mark, Globs) else mark
        self._device, self._mounts = root.stat().st_dev, mount_points()
        # The way down: an open directory, or None when found from the top; names still to do.
        self._way: list[tuple[Directory | None, tuple[str, ...], list[str]]] = []

    def begin(self, leave_out: str | None) -> Listed | Unseen:
        """Look at the root itself."""
        found, names = self._look(self._root, ())
        if names := [name for name in names if name != leave_out]:
            self._way.append((self._root, (), names))
        return found

    def step(self) -> Listed | Unseen | None:
        """Look at the next directory; None when there is none."""
        while self._way:
            directory, inside, names = self._way[-1]
            if names:
                return self._child(directory, inside, names.pop())
            self._leave()
        return None

    @property
    def has_more(self) -> bool:
        """Tell whether something is still to do."""
        return any(names for _, _, names in self._way)

    def take(self, piece: Piece) -> None:
        """Take over work that was given away."""
        inside, names = piece
        directory: Directory | None = None
        if len(self._way) < _OPEN_AT_MOST:  # of a comb, hundreds come back at once
            with suppress(OSError, UnsafePlace):  # each name is tried by itself, and told then
                directory = descend(self._root, inside)
        self._way.append((directory, inside, names))

    def give(self) -> Piece | None:
        """Give a part of the work away, of that far up where it is large; None: too little left."""
        for number, (_, inside, names) in enumerate(self._way, start=1):
            least = _PIECE_OF_LEAVES if number == len(self._way) else 2
            if len(names) >= least:
                given = names[: min(len(names) // 2, _PIECE_AT_MOST)]
                del names[: len(given)]
                return inside, given
        return None

    def give_up(self) -> list[Piece]:
        """Give all work away that is left."""
        rest = [(inside, names) for _, inside, names in self._way if names]
        self.close()
        return rest

    def close(self) -> None:
        """Let go of every directory that is open, the root aside."""
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
        found, names = self._look(child, below)
        if names and len(self._way) < _OPEN_AT_MOST:
            self._way.append((child, below, names))
            return found
        child.__exit__(None, None, None)
        if names:
            self._way.append((None, below, names))
        return found

    def _look(
        self, directory: Directory, inside: tuple[str, ...]
    ) -> tuple[Listed | Unseen, list[str]]:
        """Add up what lies in a directory, and name the directories in it."""
        files = size = shared = marked_files = marked_size = 0
        names: list[str] = []
        mark, is_held = self._mark, isinstance(directory, DescriptorDirectory)
        try:
            status = directory.stat()
            # A bind mount's device is ours; the root may be a mount itself.
            is_mount = bool(inside) and directory.path in self._mounts
            if status.st_dev != self._device or is_mount:
                raise UnsafePlace(directory.path, "another file system is mounted there")
            newest, changed = status.st_mtime, status.st_ctime
            with directory.entries() as entries:
                for entry in entries:
                    # What is opened later is looked at then, without following links. By path,
                    # junctions have to be told from directories first.
                    if entry.is_dir(follow_symlinks=False) and (
                        is_held or is_plain_directory(entry.stat(follow_symlinks=False))
                    ):
                        names.append(entry.name)
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    freed = status.st_size
                    files += 1
                    if status.st_nlink > 1:
                        freed, shared = 0, shared + freed
                    size += freed
                    if status.st_mtime > newest:  # noqa: PLR1730 - max() is slower
                        newest = status.st_mtime
                    if status.st_ctime > changed:  # noqa: PLR1730 - likewise
                        changed = status.st_ctime
                    if mark is not None and mark(entry.name):
                        marked_files += 1
                        marked_size += freed
        except (OSError, UnsafePlace) as error:
            return self._unseen(inside, error), []
        marked = marked_files, marked_size
        return Listed(inside, files, size, newest, bool(names), *marked, shared, changed), names

    def _leave(self) -> None:
        directory, _, _ = self._way.pop()
        if directory is not None and directory is not self._root:
            with suppress(OSError):
                directory.__exit__(None, None, None)

    def _unseen(self, inside: tuple[str, ...], error: Exception) -> Listed | Unseen:
        if isinstance(error, FileNotFoundError) and inside:
            return Listed(inside, 0, 0, 0.0, has_directories=True)  # gone meanwhile
        why = getattr(error, "detail", None) or getattr(error, "strerror", None) or str(error)
        return Unseen(os.path.join(self._root.path, *inside), why)
