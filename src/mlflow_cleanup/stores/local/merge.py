"""Putting a tree back where something else has come to lie meanwhile, overwriting nothing."""

from __future__ import annotations

import errno
import os

from mlflow_cleanup.errors import UnsafePlace
from mlflow_cleanup.stores.local.directory import Directory, descend, exists, is_plain_directory
from mlflow_cleanup.stores.local.moving import move, writable

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}


def merge(source: Directory, target: Directory) -> list[str]:
    """Move everything below `source` to the same place below `target`; return what collided.

    A directory that is missing in the target moves whole; two directories are merged; a file whose
    place is taken stays where it is, unless it is the very same file.
    """
    collisions: list[str] = []
    entered: list[tuple[str, ...]] = []
    pending: list[tuple[str, ...]] = [()]
    while pending:
        inside = pending.pop()
        entered.append(inside)
        with descend(source, inside) as here, descend(target, inside) as there:
            for entry in list(here.scan()):
                path = (*inside, entry.name)
                if _both_directories(here, there, entry.name):
                    pending.append(path)
                elif not _move_writable(here, there, entry.name):
                    collisions.append("/".join(path))
    _remove_emptied(source, entered[1:])
    return collisions


def _both_directories(here: Directory, there: Directory, name: str) -> bool:
    if not is_plain_directory(here.lstat(name)):
        return False
    try:
        return is_plain_directory(there.lstat(name))
    except FileNotFoundError:
        return False


def _move_writable(here: Directory, there: Directory, name: str) -> bool:
    try:
        return _move(here, there, name)
    except PermissionError:
        with writable(here), writable(there):
            return _move(here, there, name)


def _move(here: Directory, there: Directory, name: str) -> bool:
    if is_plain_directory(here.lstat(name)):
        return _move_directory(here, there, name)
    try:
        here.link(name, there, name)
    except FileExistsError:
        if not _same_file(here, there, name):
            return False
    except OSError as error:
        # No hard links here: look first. Only a writer within these microseconds could lose a race.
        if error.errno not in _NO_HARD_LINKS:
            raise
        if exists(there, name):
            return False
        here.rename(name, there, name)
        return True
    here.unlink(name)
    return True


def _move_directory(here: Directory, there: Directory, name: str) -> bool:
    if exists(there, name):
        return False
    try:
        move(here, name, there, name)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True


def _same_file(here: Directory, there: Directory, name: str) -> bool:
    """Tell whether both names are one file: a move that a crash interrupted half-way."""
    one, other = here.lstat(name), there.lstat(name)
    return os.path.samestat(one, other)


def _remove_emptied(source: Directory, entered: list[tuple[str, ...]]) -> None:
    for inside in reversed(entered):
        try:
            with descend(source, inside[:-1]) as parent, writable(parent):
                parent.rmdir(inside[-1])
        except (OSError, UnsafePlace):
            continue  # something collided below, so it is not empty
