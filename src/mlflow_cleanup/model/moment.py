"""A point in time, read once a cycle and handed down."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

FOR_EVER = datetime(9999, 1, 1, tzinfo=timezone.utc)
"""Shown for what lies beyond the calendar."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, twice: for people and for counting.

    `at` is the wall clock in UTC, for showing. `aged_s` is the ledger's own count of seconds that
    passed, which a clock set forward or back does not move; retention is measured with it alone.
    """

    at: datetime
    aged_s: float

    def due_at(self, counted_from_s: float, length: timedelta) -> datetime:
        """Say when (wall clock) something that began at `counted_from_s` will be `length` old."""
        try:
            return self.at + length - timedelta(seconds=self.aged_s - counted_from_s)
        except OverflowError:
            return FOR_EVER
