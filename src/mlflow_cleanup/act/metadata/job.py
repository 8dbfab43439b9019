"""Removing rows, from the first look at the schema to the last batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

from mlflow_cleanup.act.metadata.graph import Graph, graphs_of
from mlflow_cleanup.act.metadata.kinds import KINDS, Kind
from mlflow_cleanup.act.metadata.pacing import DEFAULT_PACE, Pace, Pacer
from mlflow_cleanup.act.metadata.patience import KeepGoing, Patience, Stopped
from mlflow_cleanup.act.metadata.phase import Phase
from mlflow_cleanup.act.metadata.staging import Staged
from mlflow_cleanup.act.metadata.targets import Outcome, Result, Target, TargetKind
from mlflow_cleanup.act.metadata.writing import Definition, Writer, opened
from mlflow_cleanup.errors import DatabaseBusy

_TARGETS_A_PAGE = 1_000


def _always() -> bool:
    return True


def _say_nothing(_: DatabaseBusy) -> None: ...


def remove_rows(
    database: str,
    targets: Iterable[Target],
    *,
    keep_going: KeepGoing = _always,
    tell: Callable[[DatabaseBusy], object] = _say_nothing,
    pace: Pace = DEFAULT_PACE,
) -> Iterator[Outcome]:
    """Remove the rows of some entities, and all that hangs on them, from an SQLite database.

    All targets are taken down first. Then they go by kind: jobs, traces, logged models, runs,
    experiments. Each goes in one transaction, whose last statement carries the state it was decided
    on, or it stays as it is. An experiment goes only when no run, logged model and trace is in it
    any more. An outcome is told when its transaction has been committed; a target that was named
    twice has one.

    `keep_going` is asked between two transactions; once it says no there are no more outcomes, and
    calling this again with the same targets goes on. `tell` hears that others have the database
    locked; it is tried again until it works. Raises DatabaseMissing or TrackingUnwritable.
    """
    with opened(database, pace) as writer:
        patience = Patience(database, Pacer(pace), keep_going, tell)
        try:
            definition = patience.insist(writer.definition)
            yield from _Job(writer, definition, patience).carry_out(targets)
        except Stopped:
            return


class _Job:
    def __init__(self, writer: Writer, definition: Definition, patience: Patience) -> None:
        self._writer, self._definition, self._graphs = writer, definition, graphs_of(definition)
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
