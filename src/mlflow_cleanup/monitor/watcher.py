"""The watcher: has the database changed? Only then it reads, compares, and calls the cleaner."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from mlflow_cleanup.config import Settings
from mlflow_cleanup.decide.departures import compare
from mlflow_cleanup.errors import TrackingUnreadable
from mlflow_cleanup.ledger.sqlite import WAKE_FILE
from mlflow_cleanup.monitor.calls import Calls
from mlflow_cleanup.observe.budget import Budget
from mlflow_cleanup.observe.changes import ChangeProbe, FileEvents, files_of, mark_of
from mlflow_cleanup.observe.tracking import TrackingDatabase


class Watcher(threading.Thread):
    """A daemon thread around one `ChangeProbe`."""

    def __init__(self, settings: Settings, calls: Calls) -> None:
        super().__init__(name="mlflow-cleanup-watcher", daemon=True)
        self._settings, self._calls = settings, calls
        self._tracking = TrackingDatabase(settings.database)
        self._budget = Budget()
        self._wake_file = os.path.join(settings.state_dir, WAKE_FILE)
        self._wake_mark = mark_of(self._wake_file)
        self._is_unread = True

    def run(self) -> None:
        """Loop until asked to stop; whatever goes wrong, the next turn tries again."""
        calls, probe = self._calls, ChangeProbe(self._settings.database.name)
        with FileEvents(calls.wake.set) as events:
            self._watch_files(events)
            is_woken = False
            while not calls.stop.is_set():
                if is_woken and not calls.read_again.is_set():
                    probe.settle(calls.stop.wait)
                with suppress(Exception):  # the cleaner meets what matters of it, and tells
                    self._turn(probe)
                calls.stop.wait(self._budget.wait_s())
                is_woken = calls.wake.wait(self._settings.poll_interval_s)
                calls.wake.clear()
        probe.close()

    def _turn(self, probe: ChangeProbe) -> None:
        is_asked = self._calls.read_again.is_set()
        self._calls.read_again.clear()
        if probe.changed() or self._is_unread or is_asked:
            self._is_unread = True
            with self._budget.spend():
                self._is_unread = not self._read()
        if (mark := mark_of(self._wake_file)) != self._wake_mark:
            self._wake_mark = mark
            self._calls.everything.set()
            self._calls.work.set()

    def _read(self) -> bool:
        """Read the active runs and compare; False when it has to be tried again."""
        calls = self._calls
        if not os.path.exists(self._settings.database.name):
            return False
        calls.has_read.set()
        try:
            heads = self._tracking.heads()
        except TrackingUnreadable:
            calls.work.set()  # the cleaner meets the same error, tells it, and tries again
            return False
        delta = compare(calls.last_known_runs, calls.known_others, heads)
        if delta.orphaned or delta.arrived & calls.known_others:
            calls.urgent.set()
        if not delta.is_empty:
            calls.work.set()
        return True

    def _watch_files(self, events: FileEvents) -> None:
        if self._settings.use_file_events:
            database = self._settings.database.name
            events.watch(os.path.dirname(database), files_of(database))
            if self._settings.ledger is None:
                events.watch(str(self._settings.state_dir), frozenset({WAKE_FILE}))
