"""Removing rows, from the first look at the schema to the last batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

from mlflow_cleanup.act.metadata.graph import Graph
from mlflow_cleanup.act.metadata.kinds import KINDS, Kind
from mlflow_cleanup.act.metadata.pacing import Pace, Pacer
from mlflow_cleanup.act.metadata.patience import KeepGoing, Patience, Stopped
from mlflow_cleanup.act.metadata.sqlite.definition import Definition, graphs_in
from mlflow_cleanup.act.metadata.sqlite.phase import Phase
from mlflow_cleanup.act.metadata.sqlite.staging import Staged
from mlflow_cleanup.act.metadata.sqlite.writing import Writer, explaining, opened
from mlflow_cleanup.act.metadata.targets import Outcome, Result, Target, TargetKind
from mlflow_cleanup.errors import DatabaseBusy

_TARGETS_A_PAGE = 1_000


def remove_rows(
    path: str,
    targets: Iterable[Target],
    keep_going: KeepGoing,
    tell: Callable[[DatabaseBusy], object],
    pace: Pace,
) -> Iterator[Outcome]:
    """Remove the rows of some entities from an SQLite database."""
    with opened(path, pace) as writer:
        told = partial(explaining, path, pace.wait_s)
        patience = Patience(told, Pacer(pace), keep_going, tell)
        try:
            definition = patience.insist(writer.definition)
            yield from _Job(writer, definition, patience).carry_out(targets)
        except Stopped:
            return


class _Job:
    def __init__(self, writer: Writer, definition: Definition, patience: Patience) -> None:
        self._writer, self._definition, self._graphs = writer, definition, graphs_in(definition)
        self._patience, self._staged = patience, dict[TargetKind, Staged]()

    def carry_out(self, targets: Iterable[Target]) -> Iterator[Outcome]:
        yield from self._stage(targets)
        for kind in KINDS:
            if kind in self._staged:
                yield from self._carry_out(self._graphs[kind], self._staged[kind])

    def _carry_out(self, graph: Graph, staged: Staged) -> Iterator[Outcome]:
        if graph.obstacle is None:
            phase = Phase(self._writer, self._definition, graph, staged)
            yield from phase.carry_out(self._patience)
            return
        done = 0
        while some := staged.after(done, _TARGETS_A_PAGE):
            for item in some:
                yield Outcome(item.target, Result.KEPT, graph.obstacle, is_trouble=True)
            done = some[-1].number

    def _stage(self, targets: Iterable[Target]) -> Iterator[Outcome]:
        waiting = iter(targets)
        while page := list(islice(waiting, _TARGETS_A_PAGE)):
            for kind, of in KINDS.items():
                if some := [item for item in page if item.kind is kind]:
                    yield from self._stage_some(of, some)
        for staged in self._staged.values():
            staged.close()

    def _stage_some(self, kind: Kind, some: list[Target]) -> Iterator[Outcome]:
        if kind.kind not in self._graphs:
            why = f"there is no table {kind.table} in this database"
            yield from (Outcome(target, Result.ABSENT, why) for target in some)
            return
        yield from self._patience.insist(partial(self._add, kind, some))

    def _add(self, kind: Kind, some: list[Target]) -> list[Outcome]:
        if kind.kind not in self._staged:
            rows = self._graphs[kind.kind].rows
            self._staged[kind.kind] = Staged(kind, rows, self._writer.connection)
        with self._writer.aside():
            return self._staged[kind.kind].add(some)
