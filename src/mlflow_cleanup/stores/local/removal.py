"""Deleting a tree for good, the way the operating system needs it."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
from collections.abc import Callable

from mlflow_cleanup.model.item import Size
from mlflow_cleanup.stores.base import KeepGoing
from mlflow_cleanup.stores.local.account import Removal
from mlflow_cleanup.stores.local.directory import (
    DescriptorDirectory,
    Directory,
    is_plain_directory,
)
from mlflow_cleanup.stores.local.emptying import empty_and_remove, unlink_writable
from mlflow_cleanup.stores.local.walk import measure, size_of

ATTEMPTS = 3
PAUSE_S = 1.0
"""Three attempts a second apart: virus scanners and indexers let go of a file within that."""

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
    """Remove a tree by descriptors, making writable what stands in the way; mounts stay."""
    assert isinstance(parent, DescriptorDirectory)  # noqa: S101 - the only kind Unix opens
    status = parent.lstat(name)
    if is_plain_directory(status):
        empty_and_remove(parent, name, removal)
        return
    unlink_writable(parent.fd, name)
    removal.add(size_of(status))


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
