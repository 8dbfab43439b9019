"""A processor budget: watching a busy database never costs more than a small share of a core."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHARE = 0.02
"""Two per cent of one core, over time."""

SAVED_S = 5.0
"""Processor time saved up while idle: a burst of a few hundred deletes is answered at once."""


LONGEST_PAUSE_S = 30.0
"""Between two attempts to read from a server that is away."""


class GrowingPause:
    """How long to leave alone what cannot be reached: twice as long after each attempt."""

    def __init__(self, first_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._first_s, self._clock = first_s, clock
        self._pause_s, self._until_s = first_s, 0.0

    @property
    def is_over(self) -> bool:
        """Tell whether it is time for another attempt."""
        return self._clock() >= self._until_s

    def grow(self) -> None:
        """Note an attempt that failed."""
        self._until_s = self._clock() + self._pause_s
        self._pause_s = min(self._pause_s * 2, max(LONGEST_PAUSE_S, self._first_s))

    def end(self) -> None:
        """Note one that worked."""
        self._pause_s, self._until_s = self._first_s, 0.0


class Budget:
    """Processor seconds that fill up at `share` and are spent by reads."""

    def __init__(
        self,
        share: float = SHARE,
        saved_s: float = SAVED_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._share, self._most, self._clock = share, saved_s, clock
        self._credit, self._at = saved_s, clock()

    def wait_s(self) -> float:
        """Say how long to wait until there is credit again; 0 when there is."""
        self._fill()
        return max(-self._credit / self._share, 0.0)

    @contextmanager
    def spend(self, cpu: Callable[[], float] = time.thread_time) -> Iterator[None]:
        """Charge the processor time of what is done inside."""
        before = cpu()
        try:
            yield
        finally:
            self._fill()
            self._credit -= cpu() - before

    def _fill(self) -> None:
        now = self._clock()
        self._credit = min(self._credit + (now - self._at) * self._share, self._most)
        self._at = now
