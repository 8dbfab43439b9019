"""A processor budget: watching a busy database never costs more than a small share of a core."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHARE = 0.02
"""Two per cent of one core, over time."""

SAVED_S = 5.0
"""Processor time saved up while idle: a burst of a few hundred deletes is answered at once."""


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
