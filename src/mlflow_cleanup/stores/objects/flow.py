"""How much is asked of a store at once: less when it says that it is too much, then more again."""

from __future__ import annotations

import threading
from types import TracebackType

LARGEST_BATCH = 1_000
"""Keys in one request: S3 takes no more."""

SMALLEST_BATCH = 50
"""Smaller ones would only make more requests of the same work."""

MOST_TOGETHER = 8
"""Requests in flight: on a server of one's own more only wait for each other."""

GOOD_ONES = 4
"""Requests in a row that went well before more is asked again."""

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 20.0


class Flow:
    """How many keys go into a request and how many requests are in flight.

    Halved when the store says that it is too much, grown a step after some that went well. What was
    in flight together is one sign, not many: `epoch` says before which change a request began.
    """

    def __init__(self, batch: int = LARGEST_BATCH, together: int = MOST_TOGETHER) -> None:
        self.batch, self.together = batch, together
        self.pause_s, self.epoch = 0.0, 0
        self._good = 0

    def went_well(self) -> None:
        """Take down that a request was answered."""
        self._good += 1
        self.pause_s = 0.0
        if self._good >= GOOD_ONES:
            self._good = 0
            self.batch = min(self.batch * 2, LARGEST_BATCH)
            self.together = min(self.together + 1, MOST_TOGETHER)

    def was_too_much(self, epoch: int) -> None:
        """Take down that a request, begun in `epoch`, was one too many or not answered in time."""
        if epoch != self.epoch:
            return
        self.epoch += 1
        self._good = 0
        self.batch = max(self.batch // 2, SMALLEST_BATCH)
        self.together = max(self.together // 2, 1)
        self.pause_s = min(max(self.pause_s * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)


class Gate:
    """Lets requests of any thread through, as many at once as the flow allows."""

    def __init__(self, flow: Flow | None = None) -> None:
        self.flow = flow or Flow()
        self._changed = threading.Condition()
        self._inside = 0

    def __enter__(self) -> int:
        """Wait for a turn; gives the epoch that it begins in."""
        with self._changed:
            self._changed.wait_for(lambda: self._inside < self.flow.together)
            self._inside += 1
            return self.flow.epoch

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def went_well(self) -> None:
        """See `Flow.went_well`."""
        with self._changed:
            self.flow.went_well()
            self._changed.notify_all()

    def was_too_much(self, epoch: int) -> None:
        """See `Flow.was_too_much`."""
        with self._changed:
            self.flow.was_too_much(epoch)
