"""Why an artifact URI names no place that could be acted on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Misread(str, Enum):
    """Why an artifact URI names no place that could be acted on."""

    MALFORMED = "malformed"
    AMBIGUOUS = "ambiguous"
    REMOTE = "remote"
    OUTSIDE_ROOTS = "outside roots"
    SYMLINK = "symlink"
    RESERVED = "reserved"


@dataclass(frozen=True, slots=True)
class Unplaced:
    """An artifact URI that names no place under a configured root, and why."""

    why: Misread
    detail: str
