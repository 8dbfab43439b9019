"""What became of a database's size."""

from __future__ import annotations

from dataclasses import dataclass

WAIT_S = 5.0
"""How long a lock is waited for."""


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """How large a database was and is on disk, with its write-ahead log."""

    before_bytes: int
    after_bytes: int
