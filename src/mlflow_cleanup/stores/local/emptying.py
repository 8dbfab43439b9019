"""Emptying a tree on Unix: one walk, by descriptors, without recursion."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from itertools import islice
from operator import methodcaller

from mlflow_cleanup.errors import UnsafePlace
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.stores.local.account import Removal
from mlflow_cleanup.stores.local.directory import OPEN_FLAGS, DescriptorDirectory
from mlflow_cleanup.stores.local.mounts import mount_points_from
from mlflow_cleanup.stores.local.sharing import Identity, Pair, Shared, Step
from mlflow_cleanup.stores.local.walk import size_of
from mlflow_cleanup.stores.pace import Pace

_BATCH = 10_000
"""Names read before they are removed, so that a directory of millions does not fill memory."""

_FEW = 16
"""So many inodes lie in one block or two of the disk, in whatever order they are removed."""

_COUNTED = 50
"""Entries between two looks at the pace."""

_inode = methodcaller("inode")


def empty_and_remove(parent: DescriptorDirectory, name: str, removal: Removal) -> None:
    """Remove the directory `name` in `parent`, as far as it goes, with two walkers if that pays."""
    bounds = Bounds(parent.lstat(name).st_dev, mount_points_from(os.path.join(parent.path, name)))
    pair = Pair(removal, Pace())
    first = Shared(parent.path, identity_of(parent.stat()), [name])
    pair.run(first, os.dup(parent.fd), lambda: Emptying(removal, bounds, pair).run())


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a walk stays in: one device, and nothing that is mounted."""

    device: int
    mounts: frozenset[str]


class Emptying:
    """One walker, depth first.

    Only the directory being emptied is open. The way back up is its `..`, which must be the very
    directory we came from: if the tree was moved meanwhile, the removal ends there.
    """

    def __init__(self, removal: Removal, bounds: Bounds, pair: Pair) -> None:
        self._removal, self._pair = removal, pair
        self._device, self._mounts = bounds.device, bounds.mounts
        self._way: list[Step] = []
        self._files = self._bytes = 0
        self._uncounted = 0  # entries removed of which the pair does not know yet

    def run(self) -> None:
        """Work in what is offered until it is over."""
        try:
            while taken := self._pair.take():
                self._shared, self._here = taken
                self._identity, self._way = self._shared.identity, []
                try:
                    self._walk()
                finally:
                    os.close(self._here)
        finally:
            self._removal.add(Size(self._files, self._bytes))

    def _walk(self) -> None:
        """Go on until the other walker does the rest or all is done."""
        todo = self._shared.todo
        try:
            while not self._pair.is_over:
                if not self._way and self._pair.steps_aside(self._shared):
                    return
                if todo:
                    if self._pair.is_wanted and len(todo) > 1:
                        self._share(todo)
                    todo = self._down(todo)
                elif self._way or self._is_last():
                    todo = self._up()
                else:
                    return
        except (OSError, UnsafePlace) as error:
            self._failed("", error)
            self._pair.end()

    def _share(self, todo: list[str]) -> None:
        """Have the other walker, which has nothing to do, come here."""
        shared = self._shared
        if self._way:
            shared = Shared(self._path(), self._identity, todo, self._way, self._shared)
        if self._pair.offer(shared, self._here) and shared is not self._shared:
            self._shared, self._way = shared, []

    def _is_last(self) -> bool:
        """Leave the shared directory; as the last to do so, take over the way up from it."""
        if not self._pair.leave(self._shared):
            return False
        if self._shared.outer is None:
            self._pair.end()
            return False
        self._way, self._shared = self._shared.way, self._shared.outer
        return True

    def _down(self, todo: list[str]) -> list[str]:
        """Enter one of the directories to do, and empty it of files; return its directories."""
        try:
            name = todo.pop()
        except IndexError:
            return todo  # the other walker was quicker
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

    def _enter(self, name: str) -> tuple[int, Identity]:
        try:
            child = os.open(name, OPEN_FLAGS, dir_fd=self._here)
        except OSError as error:
            child = self._open_nevertheless(name, error)
        try:
            status = os.fstat(child)
            if status.st_dev != self._device or (self._mounts and self._path(name) in self._mounts):
                raise UnsafePlace(self._path(name), "another file system is mounted there")
            if status.st_mode & stat.S_IRWXU != stat.S_IRWXU and status.st_uid == os.geteuid():
                os.fchmod(child, stat.S_IRWXU)
        except BaseException:
            os.close(child)
            raise
        return child, identity_of(status)

    def _open_nevertheless(self, name: str, error: OSError) -> int:
        """Open a directory that may not be read, or say in which way the place is unsafe."""
        if isinstance(error, FileNotFoundError):
            raise error
        here = DescriptorDirectory(self._here, self._path())
        if isinstance(error, PermissionError):
            here.chmod(name, stat.S_IRWXU)
        return here.open(name).fd

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
        if self._uncounted >= _COUNTED:
            self._pair.count(self._uncounted)
            self._uncounted = 0
        if not self._removal.keep_going():
            self._removal.stopped = True
            self._pair.end()
        return not self._pair.is_over

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
                if status.st_nlink > 1:
                    size += self._unlink_linked(name)
                else:
                    try:
                        unlink(name, dir_fd=here)
                    except PermissionError:
                        unlink_writable(here, name)
                    size += status.st_size
            except FileNotFoundError:
                continue
            except OSError as error:
                self._failed(name, error)
                continue
            files += 1
        self._files, self._bytes = self._files + files, self._bytes + size
        self._uncounted += files
        return directories

    def _unlink_linked(self, name: str) -> int:
        with self._pair.one_name:
            status = os.stat(name, dir_fd=self._here, follow_symlinks=False)
            unlink_writable(self._here, name)
        return size_of(status).bytes

    def _up(self) -> list[str]:
        """Go back to the parent and remove the directory come from; return its siblings to do."""
        name, parent, siblings = self._way[-1]
        up = os.open("..", OPEN_FLAGS, dir_fd=self._here)
        try:
            if identity_of(os.fstat(up)) != parent:
                raise UnsafePlace(self._path(), "it was moved while it was being removed")
        except BaseException:
            os.close(up)
            raise
        self._way.pop()
        os.close(self._here)
        self._here, self._identity = up, parent
        self._uncounted += 1
        try:
            os.rmdir(name, dir_fd=up)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._failed(name, error)
        return siblings

    def _path(self, *names: str) -> str:
        return os.path.join(self._shared.path, *(name for name, _, _ in self._way), *names)

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


def identity_of(status: os.stat_result) -> Identity:
    """Tell a directory from any other."""
    return status.st_dev, status.st_ino
