"""Trying again when another process has the database, until it works or we are to stop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

from mlflow_cleanup.act.metadata.pacing import Pacer
from mlflow_cleanup.errors import DatabaseBusy

KeepGoing = Callable[[], bool]
Done = TypeVar("Done")

_WORTH_TELLING_S = 0.2
_REST_TIMES = 5
"""After readers were in the way, others get so many times as long as they were kept waiting."""


class Stopped(Exception):
    """We were told to stop, between two transactions."""


class ReadersInTheWay(DatabaseBusy):
    """Changes could not be written as others were reading, with SQLite's rollback journal."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How to go on when the database is busy: tell, wait, try again.

    `explaining` turns an error of the database's driver into ours.
    """

    explaining: Callable[[], AbstractContextManager[None]]
    pacer: Pacer
    keep_going: KeepGoing
    tell: Callable[[DatabaseBusy], object]

    def insist(self, action: Callable[[], Done]) -> Done:
        """Do something until no lock stands in its way; raises Stopped."""
        while True:
            self.check()
            try:
                with self.explaining():
                    return action()
            except ReadersInTheWay as busy:
                self._hear(busy)
                self.pacer.rest(busy.waited_s * _REST_TIMES)
            except DatabaseBusy as busy:
                self._hear(busy)

    def check(self) -> None:
        """Raise Stopped if we are to stop."""
        if not self.keep_going():
            raise Stopped

    def _hear(self, busy: DatabaseBusy) -> None:
        self.pacer.make_way()
        if busy.waited_s >= _WORTH_TELLING_S:
            self.tell(busy)
