"""Ledger time: seconds that really passed, which no clock set forward or back moves.

While a machine stays up, its uptime counts, also over restarts of this process. Over a restart of
the machine only the wall clock tells; a gap seen by it alone counts for at most `LONGEST_GAP_S`, as
a machine that was off cannot be told from a clock that was set.
"""

from __future__ import annotations

import functools
import json
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

LONGEST_GAP_S = 36 * 3600.0
"""A day and a half, so that a machine switched off every night loses nothing."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PROCESS = f"process {uuid.uuid4()}"


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of all clocks: the wall's, and the uptime of what `boot` names."""

    wall_s: float
    boot: str
    uptime_s: float


def read_clocks() -> Reading:
    """Read the clocks of this machine, uptime including sleep where the system tells it."""
    try:
        boot = _boot(_BOOT_ID)
        return Reading(time.time(), boot, time.clock_gettime(time.CLOCK_BOOTTIME))
    except (OSError, AttributeError):
        # No name for this boot: the uptime then counts within this process only.
        return Reading(time.time(), _PROCESS, time.monotonic())


@functools.cache
def _boot(told_in: Path) -> str:
    """Read what this boot is called, once: no process outlives it."""
    return told_in.read_text(encoding="ascii").strip()


@dataclass(frozen=True, slots=True)
class Age:
    """Ledger time at one reading."""

    aged_s: float
    reading: Reading

    def at(self, now: Reading) -> Age:
        """Advance to a later reading."""
        if now.boot == self.reading.boot and now.uptime_s >= self.reading.uptime_s:
            passed = now.uptime_s - self.reading.uptime_s
        else:
            passed = min(max(now.wall_s - self.reading.wall_s, 0.0), LONGEST_GAP_S)
        return Age(self.aged_s + passed, now)

    def encode(self) -> str:
        """Write as JSON."""
        return json.dumps({"aged_s": self.aged_s, **asdict(self.reading)})

    @classmethod
    def decode(cls, text: str) -> Age:
        """Read what `encode` wrote."""
        told = json.loads(text)
        return cls(told["aged_s"], Reading(told["wall_s"], told["boot"], told["uptime_s"]))


def utc(wall_s: float) -> datetime:
    """Turn a wall clock reading (Unix seconds) into a date in UTC."""
    return datetime.fromtimestamp(wall_s, timezone.utc)
