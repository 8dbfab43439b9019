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
from operator import methodcaller

from mlflow_cleanup.errors import UnsafePlace
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.stores.base import KeepGoing
from mlflow_cleanup.stores.local.directory import (
    DescriptorDirectory,
    Directory,
    is_plain_directory,
)
from mlflow_cleanup.stores.local.mounts import mount_points
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

    def failed(self, path: str, error: Exception | str) -> None:
        """Take down what would not go; only the first few are kept to be shown."""
        if len(self.failures) < _SHOWN_FAILURES:
            self.failures.append(f"{path}: {getattr(error, 'strerror', None) or error}")


_Identity = tuple[int, int]
_inode = methodcaller("inode")

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
        _unlink_writable(parent, name)
        removal.freed += size_of(status)
        return
    _Emptying(removal, status.st_dev).run(parent, name)


class _Emptying:
    """The walk of one removal: depth first, by descriptors, without recursion."""

    def __init__(self, removal: Removal, device: int) -> None:
        self._removal, self._device, self._mounts = removal, device, mount_points()
        self._way: list[tuple[str, _Identity, list[str]]] = []  # name, its parent, its siblings

    def run(self, parent: DescriptorDirectory, name: str) -> None:
        """Remove the directory `name` of `parent`, as far as it goes."""
        self._here = DescriptorDirectory(os.dup(parent.fd), parent.path)
        self._identity = _identity(parent.stat())
        todo = [name]
        try:
            while todo or self._way:
                todo = self._down(todo) if todo and not self._removal.stopped else self._up()
        finally:
            os.close(self._here.fd)

    def _down(self, todo: list[str]) -> list[str]:
        """Enter one of the directories to do, and empty it of files; return its directories."""
        name = todo.pop()
        try:
            child, identity = self._enter(name)
        except FileNotFoundError:
            return todo
        except (OSError, UnsafePlace) as error:
            self._failed(name, error)
            return todo
        self._way.append((name, self._identity, todo))
        os.close(self._here.fd)
        self._here, self._identity = child, identity
        return self._empty()

    def _enter(self, name: str) -> tuple[DescriptorDirectory, _Identity]:
        child = _open_writable(self._here, name)
        try:
            status = child.stat()
            if status.st_dev != self._device or child.path in self._mounts:
                raise UnsafePlace(child.path, "another file system is mounted there")
            if status.st_mode & stat.S_IRWXU != stat.S_IRWXU and status.st_uid == os.geteuid():
                os.fchmod(child.fd, stat.S_IRWXU)
        except BaseException:
            os.close(child.fd)
            raise
        return child, _identity(status)

    def _empty(self) -> list[str]:
        """Remove the files of this directory; return the names of its directories."""
        directories: list[str] = []
        try:
            for batch in _batches(self._here.scan(), _BATCH):
                if not self._removal.keep_going():
                    self._removal.stopped = True
                    break
                # In the order of inodes, as these lie next to each other on the disk.
                batch.sort(key=_inode)
                files = [entry for entry in batch if not entry.is_dir(follow_symlinks=False)]
                directories += [item.name for item in batch if item.is_dir(follow_symlinks=False)]
                self._unlink(files)
        except OSError as error:
            self._failed("", error)  # not to be listed: what was seen of it goes, the rest stays
        return directories

    def _unlink(self, entries: Iterable[os.DirEntry[str]]) -> None:
        files = size = 0
        for entry in entries:
            try:
                freed = size_of(entry.stat(follow_symlinks=False))
                _unlink_writable(self._here, entry.name)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._failed(entry.name, error)
            else:
                files, size = files + freed.files, size + freed.bytes
        self._removal.freed += Size(files, size)

    def _up(self) -> list[str]:
        """Go back to the parent and remove the directory come from; return its siblings to do."""
        name, parent, siblings = self._way.pop()
        up = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._here.fd)
        if _identity(os.fstat(up)) != parent:
            os.close(up)
            self._way.clear()
            self._failed("", "it was moved while it was being removed")
            return []
        os.close(self._here.fd)
        self._here = DescriptorDirectory(up, os.path.dirname(self._here.path))
        self._identity = parent
        if not self._removal.stopped:
            self._rmdir(name)
        return [] if self._removal.stopped else siblings

    def _rmdir(self, name: str) -> None:
        try:
            self._here.rmdir(name)
        except FileNotFoundError:
            return
        except OSError as error:
            self._failed(name, error)

    def _failed(self, name: str, error: Exception | str) -> None:
        self._removal.failed(os.path.join(self._here.path, name), error)


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
        for entry in list(top.scan()):
            if not removal.keep_going():
                removal.stopped = True  # between two children, as rmtree cannot be told to stop
                break
            _rmtree(os.path.join(path, entry.name), removal)
    if not removal.stopped:
        _rmtree(path, removal)
    left = Size()
    if os.path.lexists(path):
        with parent.open(name) as top:
            left = measure(top, lambda: True) or before
    removal.freed += Size(before.files - left.files, before.bytes - left.bytes)


def _rmtree(path: str, removal: Removal) -> None:
    def clear_and_retry(function: Callable[[str], object], failed: str, _error: object) -> None:
        try:
            if not os.path.islink(failed):  # its target is not ours to change
                os.chmod(failed, stat.S_IWRITE)
            function(failed)
        except FileNotFoundError:
            return
        except OSError as again:
            removal.failed(failed, again)

    if not is_plain_directory(os.lstat(path)):
        try:
            os.unlink(path)
        except OSError as error:
            clear_and_retry(os.unlink, path, error)
    elif sys.version_info >= (3, 12):
        shutil.rmtree(path, onexc=clear_and_retry)
    else:
        shutil.rmtree(path, onerror=clear_and_retry)


REMOVERS: dict[str, Remover] = {"Windows": remove_on_windows}


def _unlink_writable(here: DescriptorDirectory, name: str) -> None:
    try:
        here.unlink(name)
    except PermissionError:
        # On Unix it is the directory that must be writable, not the file.
        os.fchmod(here.fd, stat.S_IRWXU)
        here.unlink(name)


def _open_writable(here: DescriptorDirectory, name: str) -> DescriptorDirectory:
    """Open a child directory to be emptied, making it readable if need be."""
    try:
        return here.open(name)
    except PermissionError:
        here.chmod(name, stat.S_IRWXU)
        return here.open(name)


def _batches(entries: Iterator[os.DirEntry[str]], size: int) -> Iterator[list[os.DirEntry[str]]]:
    while batch := list(islice(entries, size)):
        yield batch


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def shown(failures: Iterable[str]) -> tuple[str, ...]:
    """Make paths printable: names on disk need not be valid text."""
    return tuple(item.encode("utf-8", "backslashreplace").decode() for item in failures)
