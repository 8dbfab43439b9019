"""Two walkers in one tree: who removes what, and when both are done."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from mlflow_cleanup.stores.local.account import Removal
from mlflow_cleanup.stores.pace import Pace

Identity = tuple[int, int]
"""Device and inode."""

Step = tuple[str, Identity, list[str]]
"""One step down: a directory's name, its parent, and its siblings that are still to do."""


@dataclass(slots=True, eq=False)
class Shared:
    """A directory whose children are removed by whoever is there; the last to leave goes on up.

    `way` leads to it from `outer`. Taking a name from `todo` is atomic. `walkers` counts those who
    are there, or below, or were offered to come.
    """

    path: str
    identity: Identity
    todo: list[str]
    way: list[Step] = field(default_factory=list)
    outer: Shared | None = None
    walkers: int = 1


class Pair:
    """Where two walkers meet: one offers a part of its work, the other waits for some.

    The second is a thread that starts with the first offer. `is_wanted` says that an offer would
    be taken, `is_over` that both are to stop where they are. A walker holds `one_name` while it
    removes one of several names of a file: at two names at once, none would be seen as the last.
    """

    def __init__(self, removal: Removal, pace: Pace) -> None:
        self._removal, self._pace = removal, pace
        self._changed = threading.Condition()
        self._offered: tuple[Shared, int] | None = None
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._may_start = True
        self._error: BaseException | None = None
        self.is_wanted = self.is_over = False
        self.one_name = threading.Lock()

    def run(self, first: Shared, directory: int, work: Callable[[], None]) -> None:
        """Do `work` here, and in a second thread too once that pays.

        `work` takes what is offered until nothing comes any more. `directory` is a descriptor of
        `first`, taken over. What ended the second thread is raised here.
        """
        self._work, self._offered = work, (first, directory)
        try:
            work()
        finally:
            self.end()
            if self._thread is not None:
                self._thread.join()
            if self._offered is not None:
                os.close(self._offered[1])
        if self._error is not None:
            raise self._error

    def take(self) -> tuple[Shared, int] | None:
        """Wait for a directory to work in, with a descriptor to be closed; None: it is over."""
        with self._changed:
            self._waiting += 1
            self._look()
            while self._offered is None and not self.is_over:
                self._changed.wait()
            self._waiting -= 1
            if self.is_over:
                return None
            taken, self._offered = self._offered, None
            self._look()
            return taken

    def offer(self, shared: Shared, directory: int) -> bool:
        """Offer a directory to the other walker; tell whether it will come."""
        with self._changed:
            if not self.is_wanted:
                return False
            try:
                self._offered = shared, os.dup(directory)
            except OSError:
                return False  # too many are open: it goes on alone
            shared.walkers += 1
            self._look()
            self._changed.notify()
            if self._may_start:
                self._start()
            return True

    def leave(self, shared: Shared) -> bool:
        """Leave a directory without work; tell whether that was the last to leave."""
        with self._changed:
            shared.walkers -= 1
            return shared.walkers == 0

    def steps_aside(self, shared: Shared) -> bool:
        """Leave a directory to the other walker where one alone is faster."""
        if self._pace.together or shared.walkers == 1:
            return False
        with self._changed:
            if shared.walkers == 1:
                return False
            shared.walkers -= 1
            return True

    def count(self, entries: int) -> None:
        """Take down how many entries were removed since the last call."""
        with self._changed:
            self._pace.count(entries)
            self._look()

    def end(self) -> None:
        """Have both walkers stop where they are: all is done, or nothing more may be."""
        with self._changed:
            self.is_over, self.is_wanted = True, False
            self._changed.notify_all()

    def _look(self) -> None:
        is_free = self._waiting > 0 or self._may_start
        self.is_wanted = (
            self._pace.together and is_free and self._offered is None and not self.is_over
        )

    def _start(self) -> None:
        self._may_start = False
        second = threading.Thread(target=self._run_second, name="second walker", daemon=True)
        with suppress(RuntimeError):  # no more threads: what was offered waits for the first walker
            second.start()
            self._thread = second

    def _run_second(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - raised in the first thread
            self._error = error
        finally:
            self.end()
