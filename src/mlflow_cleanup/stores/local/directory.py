"""Open directories: every path is walked one name at a time, and no step follows a link.

On systems with `*at` system calls a directory is held by descriptor, so that a path swapped
underneath cannot lead elsewhere. Windows has none of these for Python (`os.supports_dir_fd` is
empty there): each step is looked at by path right before it is used, which is the best it offers.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import BinaryIO, Protocol

from mlflow_cleanup.errors import UnsafePlace

HAS_DIR_FD = os.open in os.supports_dir_fd and os.rename in os.supports_dir_fd
OPEN_FLAGS = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | os.O_RDONLY
"""Opens directories only, and no links; as far as the system knows the difference."""

_SEPARATORS = frozenset({"/", "\x00", os.sep})
_SMALL = 1 << 16
_REPARSE_POINT = 0x400  # FILE_ATTRIBUTE_REPARSE_POINT: links and junctions on Windows


class Directory(Protocol):
    """A directory that is open. Names are single path components."""

    path: str

    def __enter__(self) -> Directory: ...
    def __exit__(self, *_: object) -> None: ...

    def open(self, name: str) -> Directory:
        """Open a child directory; raises UnsafePlace for a link or a file, FileNotFoundError."""
        ...

    def lstat(self, name: str) -> os.stat_result:
        """Look at a child, not through it."""
        ...

    def stat(self) -> os.stat_result:
        """Look at this directory itself."""
        ...

    def scan(self) -> Iterator[os.DirEntry[str]]:
        """Iterate over the children, in no order."""
        ...

    def entries(self) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        """Do the same for loops in which each call counts; to be left by `with`."""
        ...

    def mkdir(self, name: str, mode: int = 0o777) -> None:
        """Make a child directory."""
        ...

    def rmdir(self, name: str) -> None:
        """Remove an empty child directory."""
        ...

    def unlink(self, name: str) -> None:
        """Remove a child that is no directory."""
        ...

    def rename(self, name: str, into: Directory, new_name: str) -> None:
        """Move a child; onto an existing non-empty directory it fails."""
        ...

    def link(self, name: str, into: Directory, new_name: str) -> None:
        """Give a child file a second name; fails with FileExistsError where one is."""
        ...

    def chmod(self, name: str, mode: int) -> None:
        """Set a child's permission bits, never those of a link's target."""
        ...

    def read(self, name: str) -> bytes:
        """Read a small child file whole; raises OSError for a large one."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a child file whole, durably, in place of what was there."""
        ...

    def note(self, name: str, content: bytes) -> None:
        """Write a new child file, without waiting for the disk."""
        ...


class DescriptorDirectory:
    """A directory held by its file descriptor."""

    def __init__(self, fd: int, path: str) -> None:
        self.fd, self.path = fd, path

    def __enter__(self) -> DescriptorDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def open(self, name: str) -> DescriptorDirectory:
        path = f"{self.path.rstrip('/')}/{name}"
        try:
            return DescriptorDirectory(os.open(name, OPEN_FLAGS, dir_fd=self.fd), path)
        except OSError as error:
            _raise_if_unsafe(self, name, error)
            raise

    def lstat(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def stat(self) -> os.stat_result:
        return os.fstat(self.fd)

    def scan(self) -> Iterator[os.DirEntry[str]]:
        with os.scandir(self.fd) as entries:
            yield from entries

    def entries(self) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        return os.scandir(self.fd)

    def mkdir(self, name: str, mode: int = 0o777) -> None:
        os.mkdir(name, mode, dir_fd=self.fd)

    def rmdir(self, name: str) -> None:
        os.rmdir(name, dir_fd=self.fd)

    def unlink(self, name: str) -> None:
        os.unlink(name, dir_fd=self.fd)

    def rename(self, name: str, into: Directory, new_name: str) -> None:
        os.rename(name, new_name, src_dir_fd=self.fd, dst_dir_fd=_fd_of(into))

    def link(self, name: str, into: Directory, new_name: str) -> None:
        os.link(name, new_name, src_dir_fd=self.fd, dst_dir_fd=_fd_of(into), follow_symlinks=False)

    def chmod(self, name: str, mode: int) -> None:
        if not sys.platform.startswith("linux"):
            os.chmod(name, mode, dir_fd=self.fd, follow_symlinks=False)
            return
        # fchmodat() has no no-follow flag before Linux 6.6: pin the object first, then change it.
        pinned = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self.fd)
        try:
            if not stat.S_ISLNK(os.fstat(pinned).st_mode):
                os.chmod(f"/proc/self/fd/{pinned}", mode)
        finally:
            os.close(pinned)

    def read(self, name: str) -> bytes:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.fd)
        with os.fdopen(fd, "rb") as file:
            return _read_small(file)

    def write(self, name: str, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        fresh = f"{name}.new"
        _drop(self, fresh)
        try:
            _write_durably(os.open(fresh, flags, 0o644, dir_fd=self.fd), content)
            os.replace(fresh, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError:
            _drop(self, fresh)
            raise

    def note(self, name: str, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        _write(os.open(name, flags, 0o644, dir_fd=self.fd), content)


class PathDirectory:
    """A directory known by its path, for systems without descriptors of directories."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> PathDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held open."""

    def open(self, name: str) -> PathDirectory:
        if not is_plain_directory(self.lstat(name)):
            raise UnsafePlace(self._join(name), "it is a link or no directory")
        return PathDirectory(self._join(name))

    def lstat(self, name: str) -> os.stat_result:
        return os.lstat(self._join(name))

    def stat(self) -> os.stat_result:
        return os.stat(self.path)

    def scan(self) -> Iterator[os.DirEntry[str]]:
        with os.scandir(self.path) as entries:
            yield from entries

    def entries(self) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        return os.scandir(self.path)

    def mkdir(self, name: str, mode: int = 0o777) -> None:
        os.mkdir(self._join(name), mode)

    def rmdir(self, name: str) -> None:
        os.rmdir(self._join(name))

    def unlink(self, name: str) -> None:
        os.unlink(self._join(name))

    def rename(self, name: str, into: Directory, new_name: str) -> None:
        os.rename(self._join(name), os.path.join(into.path, new_name))

    def link(self, name: str, into: Directory, new_name: str) -> None:
        os.link(self._join(name), os.path.join(into.path, new_name), follow_symlinks=False)

    def chmod(self, name: str, mode: int) -> None:
        if not stat.S_ISLNK(self.lstat(name).st_mode):
            os.chmod(self._join(name), mode)

    def read(self, name: str) -> bytes:
        if not stat.S_ISREG(self.lstat(name).st_mode):
            raise UnsafePlace(self._join(name), "it is a link or no file")
        with open(self._join(name), "rb") as file:
            return _read_small(file)

    def write(self, name: str, content: bytes) -> None:
        fresh = self._join(f"{name}.new")
        _drop(self, f"{name}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            _write_durably(os.open(fresh, flags, 0o644), content)
            os.replace(fresh, self._join(name))
        except OSError:
            _drop(self, f"{name}.new")
            raise

    def note(self, name: str, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        _write(os.open(self._join(name), flags, 0o644), content)

    def _join(self, name: str) -> str:
        return os.path.join(self.path, name)


def open_root(path: str, *, by_descriptor: bool = HAS_DIR_FD) -> Directory:
    """Open an artifact root by its real path; raises OSError when it cannot be."""
    if by_descriptor:
        return DescriptorDirectory(os.open(path, OPEN_FLAGS), path)
    if not is_plain_directory(os.lstat(path)):
        raise NotADirectoryError(path)
    os.scandir(path).close()  # raises when it may not be read
    return PathDirectory(path)


def descend(start: Directory, names: Sequence[str], *, make: bool = False) -> Directory:
    """Open the directory that `names` lead to from `start`, which stays open.

    With `make`, missing ones are made on the way. Raises FileNotFoundError or UnsafePlace.
    """
    current, owned = start, False
    if wrong := [name for name in names if not is_plain_name(name)]:
        raise UnsafePlace(os.path.join(start.path, *names), f"{wrong[0]!r} is no name of an entry")
    for name in names:
        try:
            child = _open_or_make(current, name) if make else current.open(name)
        finally:
            if owned:
                current.__exit__(None, None, None)
        current, owned = child, True
    return current if owned else _reopen(start)


def is_plain_name(name: str) -> bool:
    """Tell whether a name can only mean an entry of the very directory it is used in."""
    return name not in ("", ".", "..") and _SEPARATORS.isdisjoint(name)


def is_plain_directory(status: os.stat_result) -> bool:
    """Tell a directory from links, junctions and files."""
    attributes = getattr(status, "st_file_attributes", 0)
    return stat.S_ISDIR(status.st_mode) and not attributes & _REPARSE_POINT


def exists(directory: Directory, name: str) -> bool:
    """Tell whether a child is there, whatever it is."""
    try:
        directory.lstat(name)
    except FileNotFoundError:
        return False
    return True


def _reopen(directory: Directory) -> Directory:
    if isinstance(directory, DescriptorDirectory):
        return DescriptorDirectory(os.dup(directory.fd), directory.path)
    return PathDirectory(directory.path)


def _open_or_make(directory: Directory, name: str) -> Directory:
    try:
        return directory.open(name)
    except FileNotFoundError:
        with suppress(FileExistsError):  # what it is shows when it is opened
            directory.mkdir(name)
        return directory.open(name)


def _fd_of(directory: Directory) -> int:
    if not isinstance(directory, DescriptorDirectory):
        raise TypeError("both directories of a move are held the same way")
    return directory.fd


def _write(fd: int, content: bytes) -> None:
    with os.fdopen(fd, "wb") as file:
        file.write(content)


def _write_durably(fd: int, content: bytes) -> None:
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read_small(file: BinaryIO) -> bytes:
    """Read what only ever holds a few lines: a client could have put anything in its place."""
    content = file.read(_SMALL + 1)
    if len(content) > _SMALL:
        raise OSError(errno.EFBIG, "File too large")
    return content


def _drop(directory: Directory, name: str) -> None:
    with suppress(FileNotFoundError):
        directory.unlink(name)


def _raise_if_unsafe(directory: DescriptorDirectory, name: str, error: OSError) -> None:
    """Turn the ways in which systems say "a link" or "a file" into UnsafePlace."""
    try:
        status = directory.lstat(name)
    except OSError:
        return
    if not is_plain_directory(status):
        path = os.path.join(directory.path, name)
        raise UnsafePlace(path, "it is a link or no directory") from error
