"""Ledger time: seconds that really passed, which no clock set forward or back moves.

While a machine stays up, its uptime counts, also over restarts of this process. Over a restart of
the machine only the wall clock tells; a gap seen by it alone counts for at most `LONGEST_GAP_S`, as
a machine that was off cannot be told from a clock that was set.

Files carry times of the wall clock. How far it may have run ahead of the time that passed lately is
remembered, so that a clock set forward makes no file look older than it is.
"""

from __future__ import annotations

import functools
import json
import time
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

LONGEST_GAP_S = 36 * 3600.0
"""A day and a half, so that a machine switched off every night loses nothing."""

STEPS_KEPT_S = 3 * 24 * 3600.0
"""The age that an orphan must have: what was written before the clock was set is older by then."""

_STEP_S = 1.0
"""Less is a clock being kept right little by little."""

_UNNAMED = "process "
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PROCESS = f"{_UNNAMED}{uuid.uuid4()}"


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
    """Ledger time at one reading.

    `off_s` is the part of it that only the wall clock told of, over restarts of the machine.
    `steps` are the lower offsets of the wall clock that files may have their times from: each with
    the last moment of it, counted without `off_s`.
    """

    aged_s: float
    reading: Reading
    off_s: float = 0.0
    steps: tuple[tuple[float, float], ...] = ()

    def at(self, now: Reading) -> Age:
        """Advance to a later reading."""
        if now.boot == self.reading.boot and now.uptime_s >= self.reading.uptime_s:
            return self._with_steps(Age(self.aged_s + (now.uptime_s - self.reading.uptime_s), now))
        passed = min(max(now.wall_s - self.reading.wall_s, 0.0), LONGEST_GAP_S)
        # Where boots have no names, this is only another process of ours, and no machine was off.
        was_off = not now.boot.startswith(_UNNAMED)
        return self._with_steps(Age(self.aged_s + passed, now, passed if was_off else 0.0))

    @property
    def offset_s(self) -> float:
        """How far the wall clock is ahead of the time that surely passed."""
        return self.reading.wall_s - (self.aged_s - self.off_s)

    @property
    def behind_s(self) -> float:
        """How much older a file may look by the wall clock than it is."""
        return max((self.offset_s - offset_s for _, offset_s in self.steps), default=0.0)

    def was_set(self, before: Age) -> bool:
        """Tell whether the wall clock was set since, or may have been."""
        return abs(self.offset_s - before.offset_s) > _STEP_S

    def encode(self) -> str:
        """Write as JSON."""
        told = {"aged_s": self.aged_s, "off_s": self.off_s, "steps": self.steps}
        return json.dumps({**told, **asdict(self.reading)})

    @classmethod
    def decode(cls, text: str) -> Age:
        """Read what `encode` wrote, also before it knew of all of this."""
        told = json.loads(text)
        steps = tuple((until_s, offset_s) for until_s, offset_s in told.get("steps", ()))
        reading = Reading(told["wall_s"], told["boot"], told["uptime_s"])
        return cls(told["aged_s"], reading, told.get("off_s", 0.0), steps)

    def _with_steps(self, later: Age) -> Age:
        """Take over what is remembered, and the step that the wall clock made now, if it did."""
        later = replace(later, off_s=self.off_s + later.off_s)
        awake_s, steps = later.aged_s - later.off_s, self.steps
        if later.offset_s > self.offset_s + _STEP_S:
            steps = (*steps, (awake_s, self.offset_s))
        lasting = (
            (until_s, offset_s)
            for until_s, offset_s in steps
            if until_s > awake_s - STEPS_KEPT_S and offset_s < later.offset_s
        )
        return replace(later, steps=tuple(lasting))


def utc(wall_s: float) -> datetime:
    """Turn a wall clock reading (Unix seconds) into a date in UTC."""
    return datetime.fromtimestamp(wall_s, timezone.utc)
