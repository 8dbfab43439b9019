"""A point in time, read once a cycle and handed down."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

FOR_EVER = datetime(9999, 1, 1, tzinfo=timezone.utc)
"""Shown for what lies beyond the calendar."""


def from_ms(milliseconds: object) -> datetime | None:
    """Read a time as MLflow stores it (Unix milliseconds, UTC); None where that says nothing."""
    if not isinstance(milliseconds, int):
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return None  # a number that is no date


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, for people and for counting.

    `at` is the wall clock in UTC, for showing. `aged_s` is the ledger's own count of seconds that
    passed, which a clock set forward or back does not move; retention is measured with it alone.
    `off_s` of them passed while the machine was off, as far as can be told. `behind_s` is how much
    older than they are the times of files may look, as the wall clock was set forward lately.
    """

    at: datetime
    aged_s: float
    off_s: float = 0.0
    behind_s: float = 0.0

    @property
    def awake_s(self) -> float:
        """The count of seconds in which anything could happen, as the machine was on."""
        return self.aged_s - self.off_s

    def age_s(self, written_at: float) -> float:
        """Say how old at least something is that was written at `written_at` (Unix seconds)."""
        return self.at.timestamp() - self.behind_s - written_at

    def due_at(self, counted_from_s: float, length: timedelta) -> datetime:
        """Say when (wall clock) something that began at `counted_from_s` will be `length` old."""
        try:
            return self.at + length - timedelta(seconds=self.aged_s - counted_from_s)
        except OverflowError:
            return FOR_EVER
