"""What the watcher, the cleaner and the outside tell each other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from mlflow_cleanup.model.event import Event

Tell = Callable[[Event], None]


@dataclass(slots=True)
class Calls:
    """Events between the threads, and the known runs as the cleaner last left them.

    `wake` is for the watcher: look now. `work` is for the cleaner: there is something to do; with
    `urgent` something that a purge must make way for, with `everything` more than what changed.
    `has_read` says that the watcher compared with known runs that a cycle may be changing just
    then; `read_again` asks it to compare once more. `is_broken`: the ledger cannot be reached, or
    is another's, so that nothing is told of an end.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    wake: threading.Event = field(default_factory=threading.Event)
    work: threading.Event = field(default_factory=threading.Event)
    urgent: threading.Event = field(default_factory=threading.Event)
    everything: threading.Event = field(default_factory=threading.Event)
    has_read: threading.Event = field(default_factory=threading.Event)
    read_again: threading.Event = field(default_factory=threading.Event)
    is_broken: threading.Event = field(default_factory=threading.Event)
    last_known_runs: frozenset[str] = frozenset()
    known_others: frozenset[str] = frozenset()

    def end(self) -> None:
        """Ask both threads to end, wherever they wait."""
        self.stop.set()
        self.wake.set()
        self.work.set()
