"""`MLflowDatabaseMonitor`: watches a tracking database and cleans up behind it, in daemon threads.

Two threads. The *watcher* asks whether the database changed and, only then, reads which runs are
active. The *cleaner* runs the cycles: whatever it does, watching and MLflow go on.
"""

from __future__ import annotations

import os
import threading
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
from mlflow_cleanup.errors import BadUsage, LeaseHeld
from mlflow_cleanup.ledger.ageing import Reading, read_clocks, utc
from mlflow_cleanup.ledger.sqlite import WAKE_FILE as WAKE_FILE
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.monitor.calls import Calls, Tell
from mlflow_cleanup.monitor.relief import Relief
from mlflow_cleanup.monitor.shift import Shift
from mlflow_cleanup.observe.places import absolute_root


class MLflowDatabaseMonitor:
    """Keeps artifact storage equal to what the tracking database says exists.

        monitor = MLflowDatabaseMonitor("sqlite:///mlflow.db", artifact_roots=["mlartifacts"])
        monitor.start()
        ...
        monitor.stop()

    `backend` is a backend store URI, or a whole `Settings`; `artifact_roots` are directories, or
    places like `s3://bucket/prefix`, the first of them where the server keeps proxied artifacts.
    Without them they are `mlartifacts` and `mlruns` in the working directory, where MLflow puts
    artifacts by itself. `on_event` is called with every `Event`, from the cleaner's thread. With
    `stands_by` it waits where another one works on the same tracking database, and takes over when
    that ends. Raises UnsupportedBackend or BadUsage at once, LeaseHeld and LedgerUnwritable from
    `start`.
    """

    def __init__(
        self,
        backend: str | Settings = DEFAULT_BACKEND,
        *,
        artifact_roots: Sequence[str] = (),
        retention: str | timedelta = "7d",
        on_event: Tell | None = None,
        stands_by: bool = False,
    ) -> None:
        self.settings = (
            backend
            if isinstance(backend, Settings)
            else _settings(backend, artifact_roots, retention)
        )
        self.clock: Callable[[], Reading] = read_clocks
        self._on_event, self._stands_by = on_event, stands_by
        self._calls = Calls()
        self._shift: Shift | None = None
        self._relief: Relief | None = None

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
        self._shift = None
        try:
            self._shift = self._begin()
        except LeaseHeld:
            if not self._stands_by:
                raise
        if self._stands_by or self.settings.ledger is not None:
            self._relief = Relief(self._begin, self._shift, self._wait)
            self._relief.start()

    def stop(self, timeout_s: float | None = 30.0) -> bool:
        """Finish or revert the step in hand and end; False when it took longer than `timeout_s`."""
        if self._relief is not None:
            return self._relief.stop(timeout_s)
        return self._shift is None or self._shift.end(timeout_s)

    @property
    def _threads(self) -> list[threading.Thread]:
        shift = self._shift if self._relief is None else self._relief.shift
        own = [] if self._relief is None else [self._relief]
        return [*own, *(shift.threads if shift is not None else ())]

    def _begin(self) -> Shift:
        """Take the lease, open the ledger, and start watching."""
        calls = Calls()
        shift = Shift(self.settings, calls, self._tell, self.clock)
        self._calls = calls
        return shift

    def _wait(self, text: str) -> None:
        self._tell(Event(EventKind.WAITING, utc(self.clock().wall_s), detail=text))

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
    roots = [absolute_root(root) for root in artifact_roots or ("mlartifacts", "mlruns")]
    return Settings(
        database=database,
        roots=tuple(roots),
        artifacts_destination=roots[0],
        working_directory=here,
        state_dir=state_dir_for(database, here),
        retention=retention if isinstance(retention, timedelta) else parse_duration(retention),
    )
