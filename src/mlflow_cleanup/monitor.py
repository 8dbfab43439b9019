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
    parse_duration,
    sqlite_path,
    state_dir_for,
)
from mlflow_cleanup.cycle import Cycle, Workplace
from mlflow_cleanup.cycle.guard import Forgotten
from mlflow_cleanup.cycle.requests import answer_requests
from mlflow_cleanup.cycle.turn import Scope
from mlflow_cleanup.decide.departures import compare
from mlflow_cleanup.errors import (
    BadUsage,
    CleanupError,
    DatabaseNotReady,
    PlanRefused,
    TrackingUnreadable,
)
from mlflow_cleanup.ledger.ageing import Reading, read_clocks, utc
from mlflow_cleanup.ledger.lease import Lease
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.observe.budget import Budget
from mlflow_cleanup.observe.changes import ChangeProbe, FileEvents, files_of, mark_of
from mlflow_cleanup.observe.tracking import TrackingDatabase
from mlflow_cleanup.report.text import length_text

WAKE_FILE = "wake"
"""A file in the state directory: touching it makes a monitor look at requests and answers."""

UPKEEP_S = 60.0
"""Between two looks at everything that is kept, held or written late."""

_RETRY_LONGEST_S = 60.0
_NOT_READY_TURNS = 4
"""A server that starts makes its tables within some seconds; only then is their absence news."""

_PURGE_SLICE_S = 0.25
"""How long a purge goes on at least before a newer change may interrupt it: it has to progress."""

Tell = Callable[[Event], None]


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
        self.last_known_runs: frozenset[str] = frozenset()
        self.clock: Callable[[], Reading] = read_clocks
        self._known_others: frozenset[str] = frozenset()
        self._on_event = on_event
        self._stop, self._wake = threading.Event(), threading.Event()
        self._called, self._urgent = threading.Event(), threading.Event()
        self._everything = threading.Event()
        self._lease = Lease(self.settings.state_dir, "mlflow-cleanup monitor")
        self._threads: list[threading.Thread] = []
        self._complaint: str | None = None
        self._failures = 0
        self._due_s: float | None = None
        self._last_scope = Scope.EVERYTHING

    def start(self) -> None:
        """Take the lease, open the ledger, and start watching in daemon threads."""
        if not os.path.isdir(os.path.dirname(self.settings.database)):
            raise BadUsage(
                f"the directory of the tracking database {self.settings.database} does not exist; "
                "nothing was started. Check --backend-store-uri."
            )
        self._stop.clear()
        self._lease.acquire()
        try:
            workplace = self._workplace(Ledger.open(self.settings.state_dir))
        except BaseException:
            self._lease.release()
            raise
        self._publish(workplace)
        self._threads = [
            threading.Thread(target=self._watch, name="mlflow-cleanup-watcher", daemon=True),
            threading.Thread(
                target=self._clean, args=(workplace,), name="mlflow-cleanup-cleaner", daemon=True
            ),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float | None = 30.0) -> bool:
        """Finish or revert the step in hand and end; False when it took longer than `timeout_s`."""
        self._stop.set()
        self._wake.set()
        self._called.set()
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(None if ends is None else max(ends - time.monotonic(), 0.0))
        if any(thread.is_alive() for thread in self._threads):
            return False
        self._lease.release()
        return True

    def check_soon(self) -> None:
        """Look at the database now instead of at the next poll."""
        self._wake.set()

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

    # The watcher.

    def _watch(self) -> None:
        """Loop: has the database changed? Then read, compare, and call the cleaner."""
        probe = ChangeProbe(self.settings.database)
        tracking = TrackingDatabase(self.settings.database)
        budget, woken = Budget(), False
        wake_file = os.path.join(self.settings.state_dir, WAKE_FILE)
        wake_mark = mark_of(wake_file)
        is_unread = True
        with FileEvents(self._wake.set) as events:
            self._watch_files(events)
            while not self._stop.is_set():
                if woken:
                    probe.settle(self._stop.wait)
                if probe.changed() or is_unread:
                    with budget.spend():
                        is_unread = not self._read(tracking)
                if (mark := mark_of(wake_file)) != wake_mark:
                    wake_mark = mark
                    self._everything.set()
                    self._called.set()
                self._stop.wait(budget.wait_s())
                woken = self._wake.wait(self.settings.poll_interval_s)
                self._wake.clear()
        probe.close()

    def _watch_files(self, events: FileEvents) -> None:
        if self.settings.use_file_events:
            database = self.settings.database
            events.watch(os.path.dirname(database), files_of(database))
            events.watch(str(self.settings.state_dir), frozenset({WAKE_FILE}))

    def _read(self, tracking: TrackingDatabase) -> bool:
        """Read the active runs and compare; False when it has to be tried again."""
        if not os.path.exists(self.settings.database):
            return False
        try:
            heads = tracking.heads()
        except TrackingUnreadable:
            self._called.set()  # the cleaner meets the same error, tells it, and tries again
            return False
        last_known_runs, others = self.last_known_runs, self._known_others
        delta = compare(last_known_runs, others, heads)
        if delta.orphaned or delta.arrived & others:
            self._urgent.set()
        if not delta.is_empty:
            self._called.set()
        return True

    # The cleaner.

    def _clean(self, workplace: Workplace) -> None:
        """Loop: wait for a call or for the upkeep's time, and run a cycle."""
        cycle = Cycle(workplace)
        self._say(workplace, EventKind.STARTED, self._greeting())
        scope: Scope | None = Scope.EVERYTHING
        try:
            while not self._stop.is_set():
                if scope is not None:
                    self._turn(cycle, workplace, scope)
                scope = self._next()
        finally:
            self._say(workplace, EventKind.STOPPED, "")
            workplace.close()

    def _greeting(self) -> str:
        retention = self.settings.retention
        kept = (
            f"stay restorable for {length_text(retention)}" if retention else "are purged at once"
        )
        return f"watching {self.settings.database}; deleted runs' files {kept}"

    def _next(self) -> Scope | None:
        """Wait until something is to be done, and say what."""
        is_called = self._called.wait(self._pause_s())
        self._called.clear()
        self._urgent.clear()
        if not os.path.exists(self.settings.database):
            return None
        if not is_called or self._everything.is_set() or self._failures:
            self._everything.clear()
            return Scope.EVERYTHING
        return Scope.CHANGES

    def _pause_s(self) -> float:
        if self._failures:
            doubled: float = self.settings.poll_interval_s * 2 ** min(self._failures, 10)
            return min(doubled, _RETRY_LONGEST_S)
        if self._due_s is None:
            return UPKEEP_S
        if self._due_s <= 0 and self._last_scope is Scope.EVERYTHING:
            return UPKEEP_S  # what is due and still there waits for a reason
        return min(max(self._due_s, 0.0), UPKEEP_S)

    def _turn(self, cycle: Cycle, workplace: Workplace, scope: Scope) -> None:
        """Run one cycle; whatever goes wrong is told once, and tried again with growing pauses."""
        begun, self._last_scope = time.monotonic(), scope
        workplace.is_called = lambda: (
            self._urgent.is_set() and time.monotonic() - begun > _PURGE_SLICE_S
        )
        try:
            if os.path.exists(self.settings.database):
                cycle.run(scope)
                self._due_s = cycle.next_due_s()
        except Forgotten:
            self._called.set()
            self._everything.set()
        except PlanRefused as refusal:
            self._failures = 0
            self._complaint = str(refusal)
        except DatabaseNotReady as error:
            self._complain(workplace, str(error), quiet_turns=_NOT_READY_TURNS)
        except CleanupError as error:
            self._complain(workplace, str(error))
        except Exception as error:  # noqa: BLE001 - MLflow goes on and so do we, whatever this was
            self._complain(workplace, _unexpected(error))
        else:
            self._recovered(workplace)
        with suppress(CleanupError):  # told by the next turn, which meets the same
            answer_requests(cycle, workplace)
        self._publish(workplace)

    def _complain(self, workplace: Workplace, text: str, quiet_turns: int = 0) -> None:
        self._failures += 1
        if text != self._complaint and self._failures > quiet_turns:
            self._complaint = text
            self._say(workplace, EventKind.WAITING, text)

    def _recovered(self, workplace: Workplace) -> None:
        if self._complaint is not None:
            self._complaint = None
            self._say(workplace, EventKind.RESUMED, "")
        self._failures = 0

    def _publish(self, workplace: Workplace) -> None:
        """Give the watcher the known runs as they are now."""
        known = workplace.ledger.known
        self.last_known_runs, self._known_others = known.active, known.others

    def _say(self, workplace: Workplace, kind: EventKind, detail: str) -> None:
        event = Event(kind, utc(self.clock().wall_s), detail=detail)
        self._tell(event)
        try:
            workplace.ledger.history.add([event])
            workplace.ledger.set_watching(self._told(kind))
        except CleanupError:
            return  # an unwritable ledger has just been told of, or will be by the next cycle

    def _told(self, kind: EventKind) -> dict[str, object]:
        settings = self.settings
        return {
            "database": settings.database,
            "roots": list(settings.roots),
            "artifacts_destination": settings.artifacts_destination,
            "working_directory": settings.working_directory,
            "retention_s": settings.retention.total_seconds(),
            "poll_interval_s": settings.poll_interval_s,
            "is_stopped": kind is EventKind.STOPPED,
            "complaint": self._complaint,
        }

    def _tell(self, event: Event) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - a listener's failure is its own
            traceback.print_exc()

    def _workplace(self, ledger: Ledger) -> Workplace:
        return Workplace(self.settings, ledger, tell=self._tell, clock=self.clock, stop=self._stop)


def _settings(backend: str, artifact_roots: Sequence[str], retention: str | timedelta) -> Settings:
    here = os.getcwd()
    database = sqlite_path(backend, here)
    roots = [os.path.abspath(root) for root in artifact_roots or ("mlartifacts", "mlruns")]
    return Settings(
        database=database,
        roots=tuple(roots),
        artifacts_destination=roots[0],
        working_directory=here,
        state_dir=state_dir_for(database),
        retention=retention if isinstance(retention, timedelta) else parse_duration(retention),
    )


def _unexpected(error: Exception) -> str:
    """Say in one line what went wrong and where: this is a bug, and the line is what gets reported."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(frame.filename)}:{frame.lineno}"
    return f"unexpected {type(error).__name__} at {place}: {error}"
