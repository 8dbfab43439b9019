"""Removing all targets of one kind on a server, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from mlflow_cleanup.act.metadata.graph import Graph
from mlflow_cleanup.act.metadata.pacing import Pacer
from mlflow_cleanup.act.metadata.patience import Patience
from mlflow_cleanup.act.metadata.servers.removal import Remover, is_locked_by_others
from mlflow_cleanup.act.metadata.servers.session import Session
from mlflow_cleanup.act.metadata.servers.shelf import Shelf
from mlflow_cleanup.act.metadata.targets import LOCKED, Outcome, Result, Waiting
from mlflow_cleanup.errors import DatabaseBusy

_MOST_A_BATCH = 500
"""Entities whose rows are locked at once, and outcomes that are gathered until they are told."""
_ATTEMPTS = 3
"""So often an entity is tried alone while others have its rows locked."""

_Batch = tuple[list[Outcome], int]
"""What became of some targets, and the number of the last of them."""


class Phase:
    """One kind of entity in one job.

    When a lock is in the way, the next entity is tried alone, and then more and more at once. One
    that others have locked all the while stays, so that a forgotten transaction holds up nothing
    but its own run; a whole table that is locked is waited for.
    """

    def __init__(self, session: Session, graph: Graph, shelf: Shelf) -> None:
        self._session, self._graph, self._shelf = session, graph, shelf
        self._remover = Remover(session, graph)
        # A first batch must not be the server going through a large table some hundred times.
        self._most, self._refusals = (1 if self._remover.scans else _MOST_A_BATCH), 0

    def carry_out(self, patience: Patience) -> Iterator[Outcome]:
        """Remove them all; raises Stopped."""
        kind = self._graph.kind.kind
        self._session.stand_still(self._remover.crowded)
        done = 0
        while self._shelf.after(kind, done, 1):
            outcomes, done = patience.insist(partial(self._attempt, done, patience.pacer))
            self._most, self._refusals = min(self._most * 2, _MOST_A_BATCH), 0
            yield from outcomes
            patience.pacer.rest()

    def _attempt(self, done: int, pacer: Pacer) -> _Batch:
        try:
            return self._batch(done, pacer)
        except DatabaseBusy:
            self._refusals += self._most == 1
            self._most = 1
            (first,) = self._next(done, 1)
            if self._refusals < _ATTEMPTS or not self._is_locked(first):
                raise
            return [Outcome(first.target, Result.KEPT, LOCKED)], first.number

    def _batch(self, done: int, pacer: Pacer) -> _Batch:
        outcomes: list[Outcome] = []
        clock = pacer.pace.clock
        with self._session.batch():
            # Where a whole table is kept from others, no batch may grow.
            pacer.begin(0.0, others_wrote=bool(self._remover.crowded))
            count = max(pacer.chunk(), 1)
            while count and (some := self._next(done, min(count, self._most - len(outcomes)))):
                begun = clock()
                outcomes += self._remover.remove(some)
                done = some[-1].number
                pacer.removed(len(some) + self._remover.scans, clock() - begun)
                count = 0 if self._remover.crowded else pacer.chunk()
            begun = clock()
        pacer.committed(clock() - begun)
        return outcomes, done

    def _next(self, done: int, limit: int) -> Sequence[Waiting]:
        return self._shelf.after(self._graph.kind.kind, done, limit)

    def _is_locked(self, item: Waiting) -> bool:
        return is_locked_by_others(self._session, self._graph, item)
