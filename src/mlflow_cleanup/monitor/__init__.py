"""`MLflowDatabaseMonitor`: watches a tracking database and cleans up behind it, in daemon threads.

Two threads. The *watcher* asks whether the database changed and, only then, reads which runs are
active. The *cleaner* runs the cycles: whatever it does, watching and MLflow go on.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from types import TracebackType

from mlflow_cleanup.config import (
    DEFAULT_BACKEND,
    Settings,
    database_of,
    parse_duration,
    state_dir_for,
)
from mlflow_cleanup.cycle import Workplace
from mlflow_cleanup.cycle.holding import lease_of
from mlflow_cleanup.errors import BadUsage
from mlflow_cleanup.ledger.ageing import Reading, read_clocks
from mlflow_cleanup.ledger.lease import MONITOR
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.event import Event
from mlflow_cleanup.monitor.calls import WAKE_FILE as WAKE_FILE
from mlflow_cleanup.monitor.calls import Calls, Tell
from mlflow_cleanup.monitor.cleaner import Cleaner
from mlflow_cleanup.monitor.watcher import Watcher


class MLflowDatabaseMonitor:
    """Keeps artifact storage equal to what the tracking database says exists.

        monitor = MLflowDatabaseMonitor("sqlite:///mlflow.db", artifact_roots=["mlartifacts"])
        monitor.start()
        ...
        monitor.stop()

    `backend` is a backend store URI, or a whole `Settings`; without `artifact_roots` they are
    `mlartifacts` and `mlruns` in the working directory, where MLflow puts artifacts by itself.
    `on_event` is called with every `Event`, from the cleaner's thread. Raises UnsupportedBackend or
    BadUsage at once, LeaseHeld and LedgerUnwritable from `start`.
    """

    def __init__(
        self,
        backend: str | Settings = DEFAULT_BACKEND,
        *,
        artifact_roots: Sequence[str] = (),
        retention: str | timedelta = "7d",
        on_event: Tell | None = None,
    ) -> None:
        self.settings = (
            backend
            if isinstance(backend, Settings)
            else _settings(backend, artifact_roots, retention)
        )
        self.clock: Callable[[], Reading] = read_clocks
        self._on_event = on_event
        self._calls = Calls()
        self._lease = lease_of(self.settings, MONITOR)
        self._threads: list[threading.Thread] = []

    @property
    def last_known_runs(self) -> frozenset[str]:
        """The active runs as of the last cycle, by id; durable in the ledger."""
        return self._calls.last_known_runs

    def start(self) -> None:
        """Take the lease, open the ledger, and start watching in daemon threads."""
        if any(thread.is_alive() for thread in self._threads):
            raise BadUsage("this monitor is running already; stop it before starting it again")
        path = self.settings.database.path
        if path is not None and not os.path.isdir(os.path.dirname(path)):
            raise BadUsage(
                f"the directory of the tracking database {self.settings.database} does not exist; "
                "nothing was started. Check --backend-store-uri."
            )
        self._calls = Calls()
        self._lease.acquire(waits=True)
        try:
            ledger = Ledger.open(self.settings.state_dir)
        except BaseException:
            self._lease.release()
            raise
        workplace = Workplace(
            self.settings,
            ledger,
            tell=self._tell,
            clock=self.clock,
            stop=self._calls.stop,
            still_ours=self._lease.verify,
        )
        cleaner = Cleaner(self.settings, self._calls, workplace, self._lease.renew)
        cleaner.publish()
        self._threads = [Watcher(self.settings, self._calls), cleaner]
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float | None = 30.0) -> bool:
        """Finish or revert the step in hand and end; False when it took longer than `timeout_s`."""
        self._calls.end()
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(None if ends is None else max(ends - time.monotonic(), 0.0))
        if any(thread.is_alive() for thread in self._threads):
            return False
        self._lease.release()
        return True

    def check_soon(self) -> None:
        """Look at the database now instead of at the next poll."""
        self._calls.wake.set()

    def __enter__(self) -> MLflowDatabaseMonitor:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _tell(self, event: Event) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - a listener's failure is its own
            with suppress(OSError, ValueError):  # standard error may be closed as well
                traceback.print_exc()


def _settings(backend: str, artifact_roots: Sequence[str], retention: str | timedelta) -> Settings:
    here = os.getcwd()
    database = database_of(backend, here)
    roots = [os.path.abspath(root) for root in artifact_roots or ("mlartifacts", "mlruns")]
    return Settings(
        database=database,
        roots=tuple(roots),
        artifacts_destination=roots[0],
        working_directory=here,
        state_dir=state_dir_for(database, here),
        retention=retention if isinstance(retention, timedelta) else parse_duration(retention),
    )
