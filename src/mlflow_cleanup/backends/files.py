"""Which file it is and when it changed, as far as its directory entry tells."""

from __future__ import annotations

import os

FileMark = tuple[int, int, int]


def mark_of(path: str) -> FileMark | None:
    """Return modification time (ns), size and inode of a file, None when it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def file_id(path: str) -> tuple[int, int] | None:
    """Return device and inode of a file, None when it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
