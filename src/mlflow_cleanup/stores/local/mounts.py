"""Where other file systems are mounted, bind mounts of the same one included."""

from __future__ import annotations

import os
import re
from functools import lru_cache

_TABLE = "/proc/self/mountinfo"
_MOUNT_POINT = 4  # the fifth field, see proc_pid_mountinfo(5)
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def mount_points() -> frozenset[str]:
    """Return the paths of all mount points; empty where the system has no such table.

    Elsewhere only another device number tells that a directory is a mount.
    """
    try:
        with open(_TABLE, "rb") as table:
            return _parsed(table.read())
    except OSError:
        return frozenset()


@lru_cache(maxsize=4)
def _parsed(table: bytes) -> frozenset[str]:
    """Read a table; it is looked at before every removal, and hardly ever another one."""
    fields = [line.split() for line in table.split(b"\n")]
    return frozenset(
        _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), line[_MOUNT_POINT]).decode(
            "utf-8", "surrogateescape"
        )
        for line in fields
        if len(line) > _MOUNT_POINT
    )


def mount_points_from(path: str) -> frozenset[str]:
    """Return the mount points at `path` and below it."""
    below = os.path.join(path, "")
    return frozenset(
        [found for found in mount_points() if found == path or found.startswith(below)]
    )
