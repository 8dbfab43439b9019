"""Moving one entry to another directory, also where permissions stand in the way."""

from __future__ import annotations

import stat

from mlflow_cleanup.stores.local.directory import Directory


def move(here: Directory, name: str, there: Directory, new_name: str) -> None:
    """Rename an entry from one open directory into another; raises OSError, with nothing moved.

    A directory that may not be written cannot leave its parent, as its `..` changes: it and its
    parent are made writable for the moment of the move.
    """
    try:
        here.rename(name, there, new_name)
    except PermissionError:
        _move_protected(here, name, there, new_name)


def _move_protected(here: Directory, name: str, there: Directory, new_name: str) -> None:
    mode = stat.S_IMODE(here.lstat(name).st_mode)
    parent_mode = stat.S_IMODE(here.stat().st_mode)
    here.chmod(".", parent_mode | stat.S_IRWXU)
    try:
        here.chmod(name, mode | stat.S_IRWXU)
        try:
            here.rename(name, there, new_name)
        except OSError:
            here.chmod(name, mode)
            raise
        there.chmod(new_name, mode)
    finally:
        here.chmod(".", parent_mode)
