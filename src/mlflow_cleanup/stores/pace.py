"""Whether a second walker pays: measured where the work is, never guessed."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

TRIAL_S = 0.025
"""Several turns of the interpreter's and of the system's schedulers."""

KEPT_S = 0.5
"""Then both are tried again, as the machine has other work too; a wrong choice costs no longer."""

PAYS = 1.1
"""Times the speed of one walker: for less than a tenth a second processor is not taken."""


class Pace:
    """Tries one walker and then two, and keeps what is faster for a while.

    `together` is what is tried or kept now. It begins with one, so that small trees never see two.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._choices = clock, _choices()
        self.together, self._span_s = next(self._choices)
        self._entries, self._since_s = 0, -1.0

    def count(self, entries: int) -> None:
        """Take down how many entries were removed since the last call."""
        if self._since_s < 0:  # the first listing, which removes nothing, is nobody's pace
            self._since_s = self._clock() if entries else -1.0
            return
        self._entries += entries
        now_s = self._clock()
        spent_s = now_s - self._since_s
        if spent_s >= self._span_s:
            self.together, self._span_s = self._choices.send(self._entries / spent_s)
            self._entries, self._since_s = 0, now_s


def _choices() -> Generator[tuple[bool, float], float, None]:
    """Yield whether to walk together and for how long; is sent the entries per second of it."""
    while True:
        alone = yield False, TRIAL_S
        both = yield True, TRIAL_S
        yield both >= PAYS * alone, KEPT_S
