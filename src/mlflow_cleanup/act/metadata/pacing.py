"""How much is removed at once, and the pauses in between, so that nobody waits long for a lock.

SQLite lets one connection write at a time, and whoever waits looks again after 1, 2, 5, 10, 15, 20,
25, 25, 25, 50, 50 and then every 100 ms (`sqliteDefaultBusyCallback`). So a batch may be short and
still starve others, if the pause after it lies between two of their looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

_CHUNK_SHARE = 0.8
"""A chunk is to take so much of what is left of its batch: some rows cost more than others."""
_WORTH_SHARE = 0.25
"""With less than that of a batch left, another chunk is not begun."""
_WAITED_S = 0.002
"""Getting the lock takes less than that, when nobody else has it."""
_LARGEST_CHUNK = 500
_SLOWEST_LOOK_S = 0.1
_LOOKS_SLOWEST_AFTER_S = 0.15
"""Who began to wait so long ago looks no more often than that."""
_LEAST_WORK_SHARE = 0.3
"""Work gets at least so much of a batch, however long its commit takes, or nothing would move."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How considerate to be; lengths of time in seconds.

    While others write, the lock is held for `hold_s`, with a pause of `rest_s` after it. When
    nobody has written for `watchful_s`, batches double up to `quiet_hold_s`, and the pauses are as
    long as the slowest look: whoever comes unseen then waits for at most that once, and is seen.
    `wait_s` is for a lock that another holds.
    """

    hold_s: float = 0.010
    rest_s: float = 0.030
    quiet_hold_s: float = 0.400
    watchful_s: float = 10.0
    wait_s: float = 5.0
    clock: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], object] = time.sleep


DEFAULT_PACE = Pace()
SERVER_PACE = Pace(hold_s=0.100, rest_s=0.010, quiet_hold_s=1.000, wait_s=1.0)
"""On a server nobody waits but for rows that go, so batches are long while no lock is in the way:
a table without an index is gone through for each. A lock is waited for as long as the least that
MySQL knows."""
UNPACED = Pace(hold_s=2.0, rest_s=0.0, quiet_hold_s=2.0)
"""For a database that nobody else uses: hardly slower than one delete of everything."""


class Pacer:
    """Sizes batches by the time that they take."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._hold_s = pace.hold_s
        self._each_s, self._commit_s = 0.0005, 0.002  # guesses to begin with
        self._begun = self._held_s = 0.0
        self._quiet_from = -pace.watchful_s

    def begin(self, waited_s: float, *, others_wrote: bool) -> None:
        """A batch has the lock now, which took `waited_s`."""
        self._begun = self.pace.clock()
        if others_wrote or waited_s > _WAITED_S:
            self.make_way()

    def make_way(self) -> None:
        """Somebody else is here."""
        self._hold_s = self.pace.hold_s
        self._quiet_from = self.pace.clock() + self.pace.watchful_s

    def chunk(self) -> int:
        """Return how many entities to remove next; 0: enough for this batch."""
        allowed_s = max(self._hold_s - self._commit_s, self._hold_s * _LEAST_WORK_SHARE)
        left_s = allowed_s - (self.pace.clock() - self._begun)
        if left_s < allowed_s * _WORTH_SHARE:
            return 0
        return min(max(int(_CHUNK_SHARE * left_s / self._each_s), 1), _LARGEST_CHUNK)

    def removed(self, count: int, took_s: float) -> None:
        """Learn from a chunk: quickly that it takes longer, slowly that it does not."""
        each_s = took_s / count
        weight = 0.7 if each_s > self._each_s else 0.3
        self._each_s += weight * (each_s - self._each_s)

    def committed(self, took_s: float) -> None:
        """A batch is over."""
        self._commit_s += 0.3 * (took_s - self._commit_s)
        self._held_s = self.pace.clock() - self._begun
        if self.pace.clock() >= self._quiet_from:
            self._hold_s = min(self._hold_s * 2, max(self.pace.quiet_hold_s, self.pace.hold_s))

    def rest(self, least_s: float = 0.0) -> None:
        """Let others have their turn: longer when they may look only every 100 ms by now."""
        slow = self._held_s > _LOOKS_SLOWEST_AFTER_S
        slowest_s = _SLOWEST_LOOK_S + self.pace.rest_s if slow and self.pace.rest_s else 0.0
        pause_s = max(self.pace.rest_s, slowest_s, least_s)
        if pause_s > 0:
            self.pace.sleep(pause_s)
