"""Removing all targets of one kind, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from sqlalchemy import literal, select

from mlflow_cleanup.act.metadata.conditions import removing
from mlflow_cleanup.act.metadata.graph import Edge, Graph
from mlflow_cleanup.act.metadata.pacing import Pacer
from mlflow_cleanup.act.metadata.patience import Patience
from mlflow_cleanup.act.metadata.sqlite.definition import Definition
from mlflow_cleanup.act.metadata.sqlite.looking import Looker, LostTrack
from mlflow_cleanup.act.metadata.sqlite.removal import Remover
from mlflow_cleanup.act.metadata.sqlite.staging import Staged
from mlflow_cleanup.act.metadata.sqlite.writing import Writer
from mlflow_cleanup.act.metadata.targets import Outcome, Result
from mlflow_cleanup.errors import TrackingUnwritable

_MOST_A_BATCH = 2_000
"""Outcomes that are gathered until they are told."""


class _Redefined(Exception):
    """The tables were changed, or only the number that tells of it."""


_Batch = tuple[list[Outcome], int]
"""What became of some targets, and the number of the last of them."""


class Phase:
    """One kind of entity in one job."""

    def __init__(
        self, writer: Writer, definition: Definition, graph: Graph, staged: Staged
    ) -> None:
        self._writer, self._definition, self._graph, self._staged = (
            writer,
            definition,
            graph,
            staged,
        )
        self._looker = Looker(writer, graph, staged)
        self._remover = Remover(writer, graph, staged, self._looker)

    def carry_out(self, patience: Patience) -> Iterator[Outcome]:
        """Remove them all; raises Stopped."""
        self._looker.look(patience)
        done, has_removed = 0, False
        while self._staged.after(done, 1):
            outcomes, done = self._batch(done, patience)
            has_removed |= any(item.result is Result.REMOVED for item in outcomes)
            yield from outcomes
            patience.pacer.rest()
        if has_removed and self._looker.others_wrote(patience):
            self._look_again(patience)

    def _batch(self, done: int, patience: Patience) -> _Batch:
        while True:
            try:
                return patience.insist(partial(self._attempt, done, patience.pacer))
            except LostTrack:
                patience.pacer.make_way()
                self._looker.look(patience)
            except _Redefined:
                self._definition = self._as_before(patience.insist(self._writer.definition))
                self._looker.look(patience)  # a VACUUM may have given rows other numbers

    def _as_before(self, found: Definition) -> Definition:
        """Make sure that no table is another one now: what hangs on what could be otherwise."""
        if not found.is_same(self._definition):
            raise TrackingUnwritable(self._writer.path, "its tables were changed meanwhile")
        return found

    def _attempt(self, done: int, pacer: Pacer) -> _Batch:
        outcomes: list[Outcome] = []
        clock = pacer.pace.clock
        asked = clock()
        with self._writer.batch():
            waited_s = clock() - asked
            if self._writer.version() != self._definition.version:
                raise _Redefined
            pacer.begin(waited_s, others_wrote=self._looker.catch_up())
            count = max(pacer.chunk(), 1)
            while (
                count
                and len(outcomes) < _MOST_A_BATCH
                and (some := self._staged.after(done, count))
            ):
                begun = clock()
                outcomes += self._remover.remove(some)
                done = some[-1].number
                pacer.removed(len(some), clock() - begun)
                count = pacer.chunk()
            marks = self._looker.last_rows()
            begun = clock()
        self._looker.settle(marks)
        pacer.committed(clock() - begun)
        return outcomes, done

    def _look_again(self, patience: Patience) -> None:
        """Remove what was written in a way that no batch could notice, such as by an UPDATE."""
        self._looker.look(patience, late=True)
        for edge in self._looker.late:
            patience.insist(partial(self._mend, edge))

    def _mend(self, edge: Edge) -> None:
        forgotten, connection = self._looker.forgotten(edge), self._writer.connection
        found = select(literal(1)).select_from(edge.rows).where(forgotten).limit(1)
        with self._writer.glance():
            is_needed = connection.execute(found).first() is not None
        if is_needed:
            with self._writer.batch():
                connection.execute(removing(edge, forgotten))
