"""Time as a story wants it: clocks moved by hand, and pauses that take none."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta

from mlflow_cleanup.ledger.ageing import Reading

_NOW_S = 2_200_000_000.0  # after every real clock, so that what pytest itself makes is long past


@dataclass
class HandClock:
    """All clocks of a machine, moved by hand."""

    wall_s: float = _NOW_S
    boot: str = "boot 1"
    uptime_s: float = 500.0

    def read(self) -> Reading:
        """Read all clocks, as `read_clocks` does."""
        return Reading(self.wall_s, self.boot, self.uptime_s)

    def advance(self, length: timedelta) -> None:
        """Let time really pass."""
        self.wall_s += length.total_seconds()
        self.uptime_s += length.total_seconds()

    def set_wall(self, by: timedelta) -> None:
        """Set the wall clock forward or back; no time passes."""
        self.wall_s += by.total_seconds()

    def reboot(self, off: timedelta = timedelta(0)) -> None:
        """Switch the machine off for a while, and on again."""
        self.wall_s += off.total_seconds()
        self.boot = f"boot {int(self.boot.split()[1]) + 1}"
        self.uptime_s = 1.0


class NoPause(threading.Event):
    """An event that nobody waits for: pauses between attempts take no time in a story."""

    def wait(self, timeout: float | None = None) -> bool:
        """Answer at once; without a timeout it would be a hang."""
        assert timeout is not None
        return self.is_set()
