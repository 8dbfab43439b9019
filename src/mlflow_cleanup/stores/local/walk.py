"""Walking a tree with one directory open at a time, however deep it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from mlflow_cleanup.errors import UnsafePlace
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.stores.base import KeepGoing
from mlflow_cleanup.stores.local.directory import Directory, descend

ASK_EVERY = 200
"""Entries between two questions whether to go on."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file, link or directory met on the way; `inside` leads to it from the top."""

    inside: tuple[str, ...]
    status: os.stat_result
    is_directory: bool


def walk(top: Directory) -> Iterator[Found]:
    """Yield everything below `top`, directories before what they hold; what vanishes is skipped.

    Links are yielded, never followed, and other file systems mounted below are not entered.
    """
    device = top.stat().st_dev
    pending: list[tuple[str, ...]] = [()]
    while pending:
        inside = pending.pop()
        try:
            with descend(top, inside) as directory:
                for found in _children(directory, inside):
                    if found.is_directory and found.status.st_dev == device:
                        pending.append(found.inside)
                    yield found
        except (FileNotFoundError, UnsafePlace):
            continue  # renamed or removed while we walked: somebody else's business


def _children(directory: Directory, inside: tuple[str, ...]) -> Iterator[Found]:
    for entry in directory.scan():
        try:
            status = directory.lstat(entry.name)
        except FileNotFoundError:
            continue
        yield Found((*inside, entry.name), status, entry.is_dir(follow_symlinks=False))


def size_of(status: os.stat_result) -> Size:
    """Say what removing a file frees: nothing while it has other names."""
    size = status.st_size
    return Size(1, size) if status.st_nlink <= 1 else Size(1, 0, shared=size)


def measure(top: Directory, keep_going: KeepGoing) -> Size | None:
    """Count the files below `top` and the bytes that removing them frees; None: told to stop."""
    files = size = shared = 0
    for position, found in enumerate(walk(top)):
        if position % ASK_EVERY == 0 and not keep_going():
            return None
        if not found.is_directory:
            one = size_of(found.status)
            files, size, shared = files + one.files, size + one.bytes, shared + one.shared
    return Size(files, size, shared)
