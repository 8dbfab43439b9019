"""Deleting a tree for good, the way the operating system needs it."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from mlflow_cleanup.model.item import Size
from mlflow_cleanup.stores.base import KeepGoing
from mlflow_cleanup.stores.local.directory import (
    DescriptorDirectory,
    Directory,
    is_plain_directory,
)
from mlflow_cleanup.stores.local.walk import measure, size_of

ATTEMPTS = 3
PAUSE_S = 1.0
"""Three attempts a second apart: virus scanners and indexers let go of a file within that."""

_BATCH = 10_000
"""Names read before they are removed, so that a directory of millions does not fill memory."""

_SHOWN_FAILURES = 20


@dataclass(slots=True)
class Removal:
    """One attempt's running account."""

    keep_going: KeepGoing
    freed: Size = field(default_factory=Size)
    failures: list[str] = field(default_factory=list)
    stopped: bool = False

    def failed(self, path: str, error: OSError | str) -> None:
        """Take down what would not go; only the first few are kept to be shown."""
        if len(self.failures) < _SHOWN_FAILURES:
            self.failures.append(f"{path}: {getattr(error, 'strerror', None) or error}")


Remover = Callable[[Directory, str, Removal], None]


def remove_tree(
    parent: Directory, name: str, keep_going: KeepGoing, wait: Callable[[float], object]
) -> Removal:
    """Remove the tree `name` in `parent`: up to 3 attempts, `wait(1.0)` between them.

    Returns what the attempts freed together and the last attempt's failures.
    """
    removal = _attempt(parent, name, Removal(keep_going))
    for _ in range(ATTEMPTS - 1):
        if removal.stopped or not removal.failures:
            break
        wait(PAUSE_S)
        removal = _attempt(parent, name, Removal(keep_going, freed=removal.freed))
    return removal


def _attempt(parent: Directory, name: str, removal: Removal) -> Removal:
    remover = REMOVERS.get(platform.system(), remove_on_unix)
    try:
        remover(parent, name, removal)
    except OSError as error:
        # Not even "no such file" means gone here: only looking afterwards tells.
        removal.failed(os.path.join(parent.path, name), error)
    return removal


def remove_on_unix(parent: Directory, name: str, removal: Removal) -> None:
    """Remove a tree by descriptors, making writable what stands in the way; mounts stay.

    Only the directory being emptied is open. The way back up is its `..`, which must be the very
    directory we came from: if the tree was moved meanwhile, the attempt ends there.
    """
    assert isinstance(parent, DescriptorDirectory)  # noqa: S101 - the only kind Unix opens
    status = parent.lstat(name)
    if not is_plain_directory(status):
        _unlink(parent, name, removal)
        return
    _Emptying(removal, status.st_dev).run(parent, name)


class _Emptying:
    """The walk of one removal: depth first, by descriptors, without recursion."""

    def __init__(self, removal: Removal, device: int) -> None:
        self.removal, self.device = removal, device
        self.way: list[tuple[str, tuple[int, int], list[str]]] = []  # name, parent's id, siblings

    def run(self, parent: DescriptorDirectory, name: str) -> None:
        here = DescriptorDirectory(os.dup(parent.fd), parent.path)
        todo = [name]
        while True:
            if todo and not self.removal.stopped:
                child = todo.pop()
                opened = self._enter(here, child)
                if opened is None:
                    continue
                self.way.append((child, _identity(here), todo))
                _close(here)
                here, todo = opened, self._empty(opened)
            elif self.way:
                name_here, parent_id, siblings = self.way.pop()
                up = self._leave(here, parent_id)
                if up is None:
                    return
                here, todo = up, siblings
                self._rmdir(here, name_here)
            else:
                _close(here)
                return

    def _enter(self, here: DescriptorDirectory, name: str) -> DescriptorDirectory | None:
        try:
            child = _open_writable(here, name)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.removal.failed(os.path.join(here.path, name), error)
            return None
        if child.stat().st_dev != self.device:
            _close(child)
            self.removal.failed(child.path, "another file system is mounted there")
            return None
        return child

    def _empty(self, here: DescriptorDirectory) -> list[str]:
        """Remove the files of one directory; return the names of its directories."""
        directories: list[str] = []
        for batch in _batches(here.scan(), _BATCH):
            if not self.removal.keep_going():
                self.removal.stopped = True
                break
            # In the order of inodes, as these lie next to each other on the disk.
            for entry in sorted(batch, key=lambda entry: entry.inode()):
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.name)
                else:
                    _unlink(here, entry.name, self.removal)
        return directories

    def _leave(
        self, here: DescriptorDirectory, parent_id: tuple[int, int]
    ) -> DescriptorDirectory | None:
        path = os.path.dirname(here.path)
        up = DescriptorDirectory(os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here.fd), path)
        _close(here)
        if _identity(up) == parent_id:
            return up
        _close(up)
        self.removal.failed(here.path, "it was moved while it was being removed")
        return None

    def _rmdir(self, here: DescriptorDirectory, name: str) -> None:
        if self.removal.stopped:
            return
        try:
            here.rmdir(name)
        except FileNotFoundError:
            return
        except OSError as error:
            self.removal.failed(os.path.join(here.path, name), error)


def remove_on_windows(parent: Directory, name: str, removal: Removal) -> None:
    """Remove a tree with `shutil.rmtree`, clearing the read-only bit of what refuses to go."""
    path = os.path.join(parent.path, name)
    status = parent.lstat(name)
    if not is_plain_directory(status):
        parent.unlink(name)
        removal.freed += size_of(status)
        return
    with parent.open(name) as top:
        before = measure(top, lambda: True) or Size()

    def clear_and_retry(function: Callable[[str], object], failed: str, _error: object) -> None:
        try:
            os.chmod(failed, stat.S_IWRITE)
            function(failed)
        except OSError as again:
            removal.failed(failed, again)

    _rmtree(path, clear_and_retry)
    left = Size()
    if os.path.lexists(path):
        with parent.open(name) as top:
            left = measure(top, lambda: True) or before
    removal.freed += Size(before.files - left.files, before.bytes - left.bytes)


def _rmtree(path: str, on_error: Callable[[Callable[[str], object], str, object], None]) -> None:
    if sys.version_info >= (3, 12):
        shutil.rmtree(path, onexc=on_error)
    else:
        shutil.rmtree(path, onerror=on_error)


REMOVERS: dict[str, Remover] = {"Windows": remove_on_windows}


def _unlink(here: DescriptorDirectory, name: str, removal: Removal) -> None:
    try:
        status = here.lstat(name)
        _unlink_writable(here, name)
    except FileNotFoundError:
        return
    except OSError as error:
        removal.failed(os.path.join(here.path, name), error)
        return
    freed = removal.freed
    removal.freed = Size(freed.files + 1, freed.bytes + size_of(status).bytes)


def _unlink_writable(here: DescriptorDirectory, name: str) -> None:
    try:
        here.unlink(name)
    except PermissionError:
        # On Unix it is the directory that must be writable, not the file.
        os.fchmod(here.fd, stat.S_IRWXU)
        here.unlink(name)


def _open_writable(here: DescriptorDirectory, name: str) -> DescriptorDirectory:
    """Open a child directory to be emptied, making it and its parent writable if need be."""
    try:
        child = here.open(name)
    except PermissionError:
        here.chmod(name, stat.S_IRWXU)
        child = here.open(name)
    status = child.stat()
    if status.st_mode & stat.S_IRWXU != stat.S_IRWXU and status.st_uid == os.geteuid():
        os.fchmod(child.fd, stat.S_IRWXU)
    return child


def _batches(entries: Iterator[os.DirEntry[str]], size: int) -> Iterator[list[os.DirEntry[str]]]:
    while batch := list(islice(entries, size)):
        yield batch


def _identity(directory: DescriptorDirectory) -> tuple[int, int]:
    status = directory.stat()
    return status.st_dev, status.st_ino


def _close(*directories: DescriptorDirectory) -> None:
    for directory in directories:
        os.close(directory.fd)


def shown(failures: Iterable[str]) -> tuple[str, ...]:
    """Make paths printable: names on disk need not be valid text."""
    return tuple(item.encode("utf-8", "backslashreplace").decode() for item in failures)
