"""The fields of what was read as JSON, each as what it has to be; anything else is a ValueError.

A file can hold anything, and what is not what it should be must be noticed before it is used.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, TypeVar

T = TypeVar("T")

_LARGEST = 2**63 - 1  # what the ledger can hold
_YEARS = range(2, 9999)  # in any time zone


def entry(told: object) -> dict[str, Any]:
    """Read an object."""
    return _is(told, dict)


def entries(told: object) -> list[Any]:
    """Read a list."""
    return _is(told, list)


def text(told: object) -> str:
    """Read any text, also what is no valid Unicode, as paths are."""
    return _is(told, str)


def word(told: object) -> str:
    """Read text that is valid Unicode, as ids are."""
    text(told).encode()
    return text(told)


def flag(told: object) -> bool:
    """Read a truth value."""
    return _is(told, bool)


def whole(told: object) -> int:
    """Read a whole number that the ledger can hold."""
    if isinstance(told, bool) or not isinstance(told, int) or abs(told) > _LARGEST:
        raise ValueError(f"{_shown(told)} is no whole number")
    return told


def count(told: object) -> int:
    """Read a whole number that is not negative."""
    if whole(told) < 0:
        raise ValueError(f"{_shown(told)} is no count")
    return whole(told)


def number(told: object) -> float:
    """Read a finite number."""
    if isinstance(told, bool) or not isinstance(told, int | float) or not math.isfinite(told):
        raise ValueError(f"{_shown(told)} is no number")
    return told


def moment(told: object) -> datetime:
    """Read a time with its offset, ISO 8601."""
    at = datetime.fromisoformat(text(told))
    if at.tzinfo is None or at.year not in _YEARS:
        raise ValueError(f"{_shown(told)} is no time with an offset")
    return at


def _is(told: object, kind: type[T]) -> T:
    if not isinstance(told, kind):
        raise ValueError(f"{_shown(told)} is no {kind.__name__}")
    return told


def _shown(told: object) -> str:
    return f"{type(told).__name__} {told!r:.50}" if isinstance(told, str | int | float) else "it"
