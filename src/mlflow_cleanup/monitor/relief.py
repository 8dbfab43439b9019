"""Standing by: takes up the work when whoever has it ends, and again when a server was away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mlflow_cleanup.errors import CleanupError, LeaseHeld
from mlflow_cleanup.monitor.shift import Shift

STAND_BY_S = 1.0
"""Between two looks whether the lease is free."""

_LOOK_S = 0.5
_LONGEST_S = 30.0


class Relief(threading.Thread):
    """A daemon thread that begins a shift when it can, and another one when one is broken."""

    def __init__(
        self, begin: Callable[[], Shift], shift: Shift | None, tell: Callable[[str], None]
    ) -> None:
        super().__init__(name="mlflow-cleanup-relief", daemon=True)
        self.shift = shift
        self._begin, self._tell = begin, tell
        self._is_over = threading.Event()
        self._failures, self._told = 0, ""

    def run(self) -> None:
        """Look after the shift until asked to stop."""
        while not self._is_over.wait(self._turn()):
            pass

    def stop(self, timeout_s: float | None) -> bool:
        """End, and the shift with it; False when that took longer than `timeout_s`."""
        self._is_over.set()
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        if self.shift is not None:
            self.shift.calls.end()  # it may be waiting for just that
        self.join(timeout_s)
        if self.is_alive():
            return False
        left_s = None if ends is None else max(ends - time.monotonic(), 0.0)
        return self.shift is None or self.shift.end(left_s)

    def _turn(self) -> float:
        """Do what is to be done; returns after how many seconds to look again."""
        if self.shift is None:
            return self._try_to_begin()
        if not self.shift.is_broken:
            return _LOOK_S
        self._say("the lease, or the connection to the ledger, was lost; taking it up again")
        if not self.shift.break_off(_LOOK_S):
            return 0.0  # nothing else begins before the step in hand is over
        self.shift = None
        return 0.0

    def _try_to_begin(self) -> float:
        try:
            self.shift = self._begin()
        except LeaseHeld as error:
            self._failures = 0
            self._say(f"{error.holder} works on this tracking database; this one stands by")
            return STAND_BY_S
        except Exception as error:  # noqa: BLE001 - whatever it was, it is tried again
            self._failures += 1
            said = str(error) if isinstance(error, CleanupError) else repr(error)
            self._say(f"standing by: {said}")
            return float(min(2.0**self._failures, _LONGEST_S))
        self._failures, self._told = 0, ""
        return _LOOK_S

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._tell(text)
