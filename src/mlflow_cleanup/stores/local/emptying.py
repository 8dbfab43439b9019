"""Emptying a tree on Unix: one walk, by descriptors, without recursion."""

from __future__ import annotations

import os
import stat
from itertools import islice
from operator import methodcaller

from mlflow_cleanup.errors import UnsafePlace
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.stores.local.account import Removal
from mlflow_cleanup.stores.local.directory import OPEN_FLAGS, DescriptorDirectory
from mlflow_cleanup.stores.local.mounts import mount_points_from

_BATCH = 10_000
"""Names read before they are removed, so that a directory of millions does not fill memory."""

_FEW = 16
"""So many inodes lie in one block or two of the disk, in whatever order they are removed."""

_Identity = tuple[int, int]
_inode = methodcaller("inode")


class Emptying:
    """The walk of one removal, depth first.

    Only the directory being emptied is open. The way back up is its `..`, which must be the very
    directory we came from: if the tree was moved meanwhile, the walk ends there.
    """

    def __init__(self, removal: Removal, parent: DescriptorDirectory, name: str) -> None:
        self._removal, self._start, self._todo = removal, parent.path, [name]
        self._here, status = os.dup(parent.fd), parent.stat()
        self._identity = _identity(status)
        self._device = parent.lstat(name).st_dev
        self._mounts = mount_points_from(os.path.join(parent.path, name))
        self._way: list[tuple[str, _Identity, list[str]]] = []  # name, its parent, its siblings
        self._files = self._bytes = 0

    def run(self) -> None:
        """Remove the directory, as far as it goes."""
        todo = self._todo
        try:
            while (todo or self._way) and not self._removal.stopped:
                todo = self._down(todo) if todo else self._up()
        finally:
            os.close(self._here)
            self._removal.add(Size(self._files, self._bytes))

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
        os.close(self._here)
        self._here, self._identity = child, identity
        return self._empty()

    def _enter(self, name: str) -> tuple[int, _Identity]:
        child = self._open(name)
        try:
            status = os.fstat(child)
            if status.st_dev != self._device or self._is_mount(name):
                raise UnsafePlace(self._path(name), "another file system is mounted there")
            if status.st_mode & stat.S_IRWXU != stat.S_IRWXU and status.st_uid == os.geteuid():
                os.fchmod(child, stat.S_IRWXU)
        except BaseException:
            os.close(child)
            raise
        return child, _identity(status)

    def _open(self, name: str) -> int:
        """Open a child directory to be emptied, making it readable if need be."""
        try:
            return os.open(name, OPEN_FLAGS, dir_fd=self._here)
        except FileNotFoundError:
            raise
        except OSError as error:
            here = DescriptorDirectory(self._here, self._path())
            if isinstance(error, PermissionError):
                here.chmod(name, stat.S_IRWXU)
            return here.open(name).fd  # or it says in which way the place is unsafe

    def _empty(self) -> list[str]:
        """Remove the files of this directory; return the names of its directories."""
        directories: list[str] = []
        try:
            with os.scandir(self._here) as entries:
                while self._goes_on():
                    batch = list(islice(entries, _BATCH))
                    if len(batch) > _FEW:
                        # In the order of inodes, as these lie next to each other on the disk.
                        batch.sort(key=_inode)
                    directories += self._unlink(batch)
                    if len(batch) < _BATCH:
                        break
        except OSError as error:
            self._failed("", error)  # not to be listed: what was seen of it goes, the rest stays
        return directories

    def _goes_on(self) -> bool:
        self._removal.stopped = not self._removal.keep_going()
        return not self._removal.stopped

    def _unlink(self, entries: list[os.DirEntry[str]]) -> list[str]:
        """Remove what is no directory, and return the directories' names.

        The removal's time is spent here: no more calls and objects for a file than it needs.
        """
        here, unlink, directories, files, size = self._here, os.unlink, [], 0, 0
        for entry in entries:
            name = entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(name)
                    continue
                status = entry.stat(follow_symlinks=False)
                try:
                    unlink(name, dir_fd=here)
                except PermissionError:
                    unlink_writable(here, name)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._failed(name, error)
                continue
            files += 1
            if status.st_nlink <= 1:  # see `size_of`
                size += status.st_size
        self._files, self._bytes = self._files + files, self._bytes + size
        return directories

    def _up(self) -> list[str]:
        """Go back to the parent and remove the directory come from; return its siblings to do."""
        name, parent, siblings = self._way[-1]
        up = os.open("..", OPEN_FLAGS, dir_fd=self._here)
        if _identity(os.fstat(up)) != parent:
            os.close(up)
            self._failed("", "it was moved while it was being removed")
            self._way.clear()
            return []
        self._way.pop()
        os.close(self._here)
        self._here, self._identity = up, parent
        try:
            os.rmdir(name, dir_fd=up)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._failed(name, error)
        return siblings

    def _is_mount(self, name: str) -> bool:
        return bool(self._mounts) and self._path(name) in self._mounts

    def _path(self, *names: str) -> str:
        return os.path.join(self._start, *(name for name, _, _ in self._way), *names)

    def _failed(self, name: str, error: Exception | str) -> None:
        self._removal.failed(self._path(name), error)


def unlink_writable(directory: int, name: str) -> None:
    """Remove a file, making its directory writable if need be; `directory` is a descriptor."""
    try:
        os.unlink(name, dir_fd=directory)
    except PermissionError:
        # On Unix it is the directory that must be writable, not the file.
        os.fchmod(directory, stat.S_IRWXU)
        os.unlink(name, dir_fd=directory)


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino
