"""What keeps a process from acting that was the holder of a lease on a server, and is not now."""

from __future__ import annotations

import threading
import time

from mlflow_cleanup.errors import LeaseTaken

PING_S = 2.0
"""Between two looks whether the lease is still held."""

FRESH_S = 7.0
"""How long a holder that hears nothing believes that it is one: shorter than `IDLE_S`."""

IDLE_S = 10.0
"""How long a server waits for a holder that says nothing before it lets go of its lease."""


class Fence:
    """One holding of a lease: its number, and when it was last heard to be held.

    Each holding has a number of its own, which every entry into the ledger is checked against. What
    is being done between two entries goes by the clock: after a pause of the whole process the
    lease counts as lost until it is heard of again.
    """

    def __init__(self, name: str, number: int, heard_s: float) -> None:
        self.name, self.number = name, number
        self.lost = threading.Event()
        self._heard_s, self._why = heard_s, ""

    def heard(self, asked_s: float) -> None:
        """Take down that it was held when that was asked, by the monotonic clock."""
        self._heard_s = asked_s

    def lose(self, why: str) -> None:
        """Take down that it is held no more; that is for good."""
        self._why = self._why or why
        self.lost.set()

    @property
    def is_fresh(self) -> bool:
        """Tell, without asking, whether nobody else can hold it."""
        return not self.lost.is_set() and time.monotonic() - self._heard_s < FRESH_S

    def error(self) -> LeaseTaken:
        """Say why nothing may be done any more."""
        return LeaseTaken(self.name, self._why or "nothing was heard of it for a while")
