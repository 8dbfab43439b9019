"""Moving one entry to another directory, also where permissions stand in the way."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow_cleanup.stores.local.directory import Directory, is_plain_directory


def move(here: Directory, name: str, there: Directory, new_name: str) -> None:
    """Rename an entry from one open directory into another; raises OSError, with nothing moved.

    A directory that may not be written cannot leave its parent, as its `..` changes: it and its
    parent are made writable for the moment of the move.
    """
    try:
        here.rename(name, there, new_name)
    except PermissionError:
        with writable(here), writable(there):
            _move_protected(here, name, there, new_name)


@contextmanager
def writable(directory: Directory) -> Iterator[None]:
    """Make a directory writable for a moment; raises PermissionError where that is not ours."""
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & stat.S_IRWXU == stat.S_IRWXU:
        yield
        return
    directory.chmod(".", mode | stat.S_IRWXU)
    try:
        yield
    finally:
        directory.chmod(".", mode)


def _move_protected(here: Directory, name: str, there: Directory, new_name: str) -> None:
    status = here.lstat(name)
    if not is_plain_directory(status):
        here.rename(name, there, new_name)
        return
    mode = stat.S_IMODE(status.st_mode)
    here.chmod(name, mode | stat.S_IRWXU)
    try:
        here.rename(name, there, new_name)
    except OSError:
        here.chmod(name, mode)
        raise
    there.chmod(new_name, mode)
