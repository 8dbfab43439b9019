"""A shift: what runs while one lease is held, from taking it to giving it back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mlflow_cleanup.config import Settings
from mlflow_cleanup.cycle import Workplace
from mlflow_cleanup.cycle.holding import lease_of
from mlflow_cleanup.ledger.ageing import Reading
from mlflow_cleanup.ledger.lease import MONITOR
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.monitor.calls import Calls, Tell
from mlflow_cleanup.monitor.cleaner import Cleaner
from mlflow_cleanup.monitor.watcher import Watcher


class Shift:
    """Lease, ledger, watcher and cleaner; raises LeaseHeld or LedgerUnwritable when it begins.

    Everything is opened anew with each: after a lease or a connection was lost, nothing that is
    remembered here can be relied on, and what was in hand is settled as after a crash.
    """

    def __init__(
        self, settings: Settings, calls: Calls, tell: Tell, clock: Callable[[], Reading]
    ) -> None:
        self.calls = calls
        self._lease = lease_of(settings, MONITOR, self._look)
        self._lease.acquire(waits=True)
        try:
            self._ledger = Ledger.open(settings.home, self._lease.fence)
        except BaseException:
            self._lease.release()
            raise
        workplace = Workplace(
            settings,
            self._ledger,
            tell=tell,
            clock=clock,
            stop=calls.stop,
            still_ours=self._lease.verify,
        )
        cleaner = Cleaner(settings, calls, workplace, self._lease.renew)
        cleaner.publish()
        self.threads: list[threading.Thread] = [Watcher(settings, calls), cleaner]
        for thread in self.threads:
            thread.start()

    @property
    def is_broken(self) -> bool:
        """Tell whether the lease, or the connection to the ledger, was lost."""
        return self._lease.is_lost or self._ledger.is_lost

    def break_off(self, timeout_s: float) -> bool:
        """End it, as it is broken; False while something is being done still."""
        self.calls.is_broken.set()
        self._ledger.abandon()
        self._lease.abandon()
        return self.end(timeout_s)

    def end(self, timeout_s: float | None) -> bool:
        """Finish or revert the step in hand and end; False when it took longer than that."""
        self.calls.end()
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self.threads:
            thread.join(None if ends is None else max(ends - time.monotonic(), 0.0))
        if any(thread.is_alive() for thread in self.threads):
            return False
        self._lease.release()
        return True

    def _look(self) -> None:
        """Look at requests and answers, as somebody has left one."""
        self.calls.everything.set()
        self.calls.work.set()
