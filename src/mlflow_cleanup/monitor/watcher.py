"""The watcher: has the database changed? Only then it reads, compares, and calls the cleaner."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from mlflow_cleanup.backends.base import Probe
from mlflow_cleanup.backends.files import mark_of
from mlflow_cleanup.backends.opening import is_there
from mlflow_cleanup.config import Settings
from mlflow_cleanup.decide.departures import compare
from mlflow_cleanup.errors import DatabaseGone, TrackingUnreadable
from mlflow_cleanup.ledger.sqlite import WAKE_FILE
from mlflow_cleanup.monitor.calls import Calls
from mlflow_cleanup.observe.budget import Budget, GrowingPause
from mlflow_cleanup.observe.changes import FileEvents, files_of
from mlflow_cleanup.observe.tracking import TrackingDatabase


class Watcher(threading.Thread):
    """A daemon thread around one probe for changes."""

    def __init__(self, settings: Settings, calls: Calls) -> None:
        super().__init__(name="mlflow-cleanup-watcher", daemon=True)
        self._settings, self._calls = settings, calls
        self._tracking = TrackingDatabase(settings.database)
        self._budget = Budget()
        self._pause = GrowingPause(settings.poll_interval_s)
        # A server works for us while we wait: what counts is how long an answer takes.
        self._clock = time.monotonic if settings.database.is_on_server else time.thread_time
        self._wake_file = os.path.join(settings.state_dir, WAKE_FILE)
        self._wake_mark = mark_of(self._wake_file)
        self._is_unread = True

    def run(self) -> None:
        """Loop until asked to stop; whatever goes wrong, the next turn tries again."""
        calls, probe = self._calls, self._tracking.probe()
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

    def _turn(self, probe: Probe) -> None:
        is_asked = self._calls.read_again.is_set()
        self._calls.read_again.clear()
        if probe.changed() or is_asked:
            self._is_unread = True
        if self._is_unread and self._pause.is_over:
            with self._budget.spend(self._clock):
                self._is_unread = not self._read()
        if (mark := mark_of(self._wake_file)) != self._wake_mark:
            self._wake_mark = mark
            self._calls.everything.set()
            self._calls.work.set()

    def _read(self) -> bool:
        """Read the active runs and compare; False when it has to be tried again."""
        calls = self._calls
        if not is_there(self._settings.database):
            return False
        calls.has_read.set()
        try:
            heads = self._tracking.heads()
        except TrackingUnreadable as error:
            if isinstance(error, DatabaseGone):
                self._pause.grow()
            calls.work.set()  # the cleaner meets the same error, tells it, and tries again
            return False
        self._pause.end()
        delta = compare(calls.last_known_runs, calls.known_others, heads)
        if delta.orphaned or delta.arrived & calls.known_others:
            calls.urgent.set()
        if not delta.is_empty:
            calls.work.set()
        return True

    def _watch_files(self, events: FileEvents) -> None:
        if self._settings.use_file_events:
            if (path := self._settings.database.path) is not None:
                events.watch(os.path.dirname(path), files_of(path))
            if self._settings.ledger is None:
                events.watch(str(self._settings.state_dir), frozenset({WAKE_FILE}))
