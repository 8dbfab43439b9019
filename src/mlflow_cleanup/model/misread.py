"""Why an artifact URI names no place that could be acted on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_USER = re.compile(r"(//[^@:\s]*):[^@\s]*@")
_QUERY = re.compile(r"(\w:[^?]*\?)[^\s)']+", re.DOTALL)


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", without_secrets(self.detail))


def without_secrets(text: str) -> str:
    """Leave out of a URI what clients put passwords and signatures into: it is shown and kept."""
    return _QUERY.sub(r"\1…", _USER.sub(r"\1:…@", text))
