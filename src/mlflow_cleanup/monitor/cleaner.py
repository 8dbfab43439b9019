"""The cleaner: runs the cycles, one after another; an error in one never ends it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from mlflow_cleanup.backends.opening import is_there
from mlflow_cleanup.config import Settings
from mlflow_cleanup.cycle import Cycle, Workplace
from mlflow_cleanup.cycle.collection import Collection
from mlflow_cleanup.cycle.guard import Forgotten
from mlflow_cleanup.cycle.requests import answer_requests
from mlflow_cleanup.cycle.selection import Selected
from mlflow_cleanup.cycle.sweep import carry_out
from mlflow_cleanup.cycle.turn import Scope
from mlflow_cleanup.errors import (
    CleanupError,
    DatabaseGone,
    DatabaseNotReady,
    PlanRefused,
    SweepRefused,
)
from mlflow_cleanup.ledger.ageing import utc
from mlflow_cleanup.model.collected import Fate
from mlflow_cleanup.model.deleted import Selection
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import ItemState, Size
from mlflow_cleanup.model.plan import Step
from mlflow_cleanup.monitor.calls import Calls
from mlflow_cleanup.monitor.full_cycles import FullCycles
from mlflow_cleanup.report.collected import Tally, removed_text
from mlflow_cleanup.report.plans import steps_summary
from mlflow_cleanup.report.text import length_text

UPKEEP_S = 60.0
"""Between two looks at everything that is kept, held or written late."""

_UPKEEP_SHARE = 0.02  # an upkeep that takes a second is followed by fifty without one

_LEDGER_TROUBLE = (CleanupError, sqlite3.Error)

_RETRY_LONGEST_S = 60.0
_NOT_READY_TURNS = 4
"""A server that starts makes its tables within seconds; only then is their absence news."""

_PURGE_SLICE_S = 0.25
"""How long a purge goes on at least before a newer change interrupts it, so that it ends."""


class Cleaner(threading.Thread):
    """A daemon thread around one `Cycle`."""

    def __init__(
        self,
        settings: Settings,
        calls: Calls,
        workplace: Workplace,
        verify_lease: Callable[[], None],
    ) -> None:
        super().__init__(name="mlflow-cleanup-cleaner", daemon=True)
        self._verify_lease = verify_lease
        self._settings, self._calls, self._workplace = settings, calls, workplace
        self._cycle = Cycle(workplace)
        self._full_cycles = FullCycles(settings, calls, workplace.ledger)
        self._complaint: str | None = None
        self._complained_of: object = None
        self._failures = 0
        self._due_s: float | None = None
        self._scope = Scope.EVERYTHING
        self._upkeep_s = UPKEEP_S
        self._rows_removed_for: tuple[int, Size] | None = None

    def publish(self) -> None:
        """Give the watcher the known runs as they are now."""
        known, calls = self._workplace.ledger.known, self._calls
        calls.known_others, calls.last_known_runs = known.others, known.active
        if calls.has_read.is_set():
            calls.read_again.set()
            calls.wake.set()

    def run(self) -> None:
        """Wait for a call or for the upkeep's time, and run a cycle, until asked to stop."""
        self._say(EventKind.STARTED, self._greeting())
        with suppress(*_LEDGER_TROUBLE):  # the first cycle meets it as well, and tells
            self._workplace.ledger.requests.clear()
        scope: Scope | None = Scope.EVERYTHING
        try:
            while not self._calls.stop.is_set():
                if scope is not None:
                    self._turn(scope)
                scope = self._next()
        finally:
            if not self._calls.is_broken.is_set():
                self._say(EventKind.STOPPED, "")
            self._full_cycles.close()
            self._workplace.close()

    def _next(self) -> Scope | None:
        """Wait until something is to be done, and say what."""
        calls = self._calls
        is_called = calls.work.wait(self._pause_s())
        calls.work.clear()
        calls.urgent.clear()
        if not is_there(self._settings.database):
            self._due_s = None
            return None
        if not is_called or calls.everything.is_set() or self._failures:
            calls.everything.clear()
            return Scope.EVERYTHING
        return Scope.CHANGES

    def _pause_s(self) -> float:
        if self._failures:
            doubled = self._settings.poll_interval_s * 2.0 ** min(self._failures, 10)
            return min(doubled, _RETRY_LONGEST_S)
        if self._due_s is None:
            return self._upkeep_s
        if self._due_s <= 0 and self._scope is Scope.EVERYTHING:
            return self._upkeep_s  # what is due and still there waits for a reason
        return min(max(self._due_s, 0.0), self._upkeep_s)

    def _turn(self, scope: Scope) -> None:
        """Run one cycle and answer requests; what goes wrong is told once, and tried again."""
        is_well = self._try_cycle(scope)
        try:
            self._verify_lease()
            answer_requests(self._cycle, self._workplace, self._make_way)
            self.publish()
        except Exception as error:  # noqa: BLE001 - likewise
            if is_well:  # a cycle that failed has told of it, and is tried again anyway
                self._complain(_in_words(error))
        else:
            if is_well:
                self._recovered()
        if self._calls.everything.is_set():
            self._calls.work.set()  # called in the middle, where only what is urgent was looked at

    def _try_cycle(self, scope: Scope) -> bool:
        """Run one cycle; False when something went wrong, which is told."""
        try:
            self._run_cycle(scope)
            self._sweep()
            self._remove_rows(scope)
        except Forgotten:
            self._calls.everything.set()
            self._calls.work.set()
        except PlanRefused as refusal:
            self._failures, self._complaint, self._complained_of = 0, str(refusal), str(refusal)
        except DatabaseNotReady as error:
            self._complain(str(error), quiet_turns=_NOT_READY_TURNS)
        except DatabaseGone as error:
            self._complain(str(error), about=DatabaseGone)
        except Exception as error:  # noqa: BLE001 - MLflow goes on and so do we, whatever this was
            self._complain(_in_words(error))
        else:
            return True
        return False

    def _run_cycle(self, scope: Scope) -> None:
        begun, self._scope = time.monotonic(), scope
        self._calls.has_read.clear()
        urgent = self._calls.urgent
        self._workplace.is_called = lambda: (
            urgent.is_set() and time.monotonic() - begun > _PURGE_SLICE_S
        )
        self._due_s = None  # a cycle that fails or is refused must not be repeated for its sake
        if not is_there(self._settings.database):
            return
        self._verify_lease()
        self._cycle.run(scope)
        self._due_s = self._cycle.next_due_s()
        if scope is Scope.EVERYTHING:
            self._upkeep_s = max(UPKEEP_S, (time.monotonic() - begun) / _UPKEEP_SHARE)

    def _sweep(self) -> None:
        """Carry out a full cycle's plan that was made meanwhile."""
        if not is_there(self._settings.database):
            return  # MLflow is about to make it
        ledger, clock = self._workplace.ledger, self._workplace.clock
        plan = self._full_cycles.ready(ledger.now(clock()))
        if plan is None:
            return
        self._full_cycles.done(ledger.now(clock()))

        def follow(_: Step) -> bool:
            self._make_way()
            return True

        with suppress(SweepRefused):  # told by the cycle; only an answer changes anything
            steps = carry_out(self._cycle, self._workplace, plan, follow, purges=False)
            self._say(EventKind.SWEPT, steps_summary(plan, steps))

    def _remove_rows(self, scope: Scope) -> None:
        """Remove the rows of what was purged, where that is wanted; paced, and left for a call."""
        if not self._settings.purge_metadata or scope is not Scope.EVERYTHING:
            return
        purged = self._workplace.ledger.items.count().get(ItemState.PURGED)
        if purged is None or purged == self._rows_removed_for:
            return
        sight, tools = self._cycle.learn()
        selection = Selection(older_than=self._settings.retention, tolerates_missing=True)
        selected = Selected(self._workplace, selection, tools.now)
        tally = Tally()
        Collection(self._workplace, sight, selected, only_purged=True).remove(tally.add, None)
        if tally.of(Fate.REMOVED):
            self._say(EventKind.COLLECTED, removed_text(tally))
        if self._workplace.unhurried():
            self._rows_removed_for = purged

    def _make_way(self) -> None:
        """In the middle of a full cycle: what came in meanwhile goes first."""
        calls = self._calls
        if not calls.work.is_set():
            return
        self._workplace.still_ours()  # a lease lost in the middle of a plan is not taken again
        calls.work.clear()
        calls.urgent.clear()
        self._run_cycle(Scope.CHANGES)
        answer_requests(self._cycle, self._workplace, only_short=True)
        self.publish()

    def _complain(self, text: str, quiet_turns: int = 0, about: object = None) -> None:
        """Tell once what goes wrong; `about` is what it is where the text says more each time."""
        self._failures += 1
        if (about or text) != self._complained_of and self._failures > quiet_turns:
            self._complaint, self._complained_of = text, about or text
            self._say(EventKind.WAITING, text)

    def _recovered(self) -> None:
        self._failures = 0
        if self._complaint is not None:
            self._complaint = self._complained_of = None
            self._say(EventKind.RESUMED, "")

    def _say(self, kind: EventKind, detail: str) -> None:
        event = Event(kind, utc(self._workplace.clock().wall_s), detail=detail)
        self._workplace.tell(event)
        with suppress(*_LEDGER_TROUBLE):  # the cycle that meets it tells of it
            self._workplace.ledger.history.add([event])
            self._workplace.ledger.set_watching(self._told(kind))

    def _told(self, kind: EventKind) -> dict[str, object]:
        settings = self._settings
        return {
            "database": settings.database.name,
            "roots": list(settings.roots),
            "artifacts_destination": settings.artifacts_destination,
            "working_directory": settings.working_directory,
            "retention_s": settings.retention.total_seconds(),
            "poll_interval_s": settings.poll_interval_s,
            "is_stopped": kind is EventKind.STOPPED,
            "complaint": self._complaint,
        }

    def _greeting(self) -> str:
        retention = self._settings.retention
        kept = (
            f"stay restorable for {length_text(retention)}" if retention else "are purged at once"
        )
        return f"watching {self._settings.database}; deleted runs' files {kept}"


def _in_words(error: Exception) -> str:
    """Say in one line what went wrong; where, if it is a bug: this is what gets reported then."""
    if isinstance(error, CleanupError):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(frame.filename)}:{frame.lineno}"
    return f"unexpected {type(error).__name__} at {place}: {error}"
