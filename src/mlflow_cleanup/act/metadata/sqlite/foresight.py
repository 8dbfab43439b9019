"""Asking beforehand which rows would stay if a lot of others went; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Select,
    Table,
    delete,
    exists,
    insert,
    literal,
    not_,
    select,
    tuple_,
)

from mlflow_cleanup.act.metadata.conditions import hanging_rows
from mlflow_cleanup.act.metadata.graph import Edge, Graph
from mlflow_cleanup.act.metadata.kinds import KINDS
from mlflow_cleanup.act.metadata.pacing import DEFAULT_PACE, Pacer
from mlflow_cleanup.act.metadata.patience import KeepGoing, Patience, Stopped
from mlflow_cleanup.act.metadata.references import Action
from mlflow_cleanup.act.metadata.sqlite.definition import graphs_in
from mlflow_cleanup.act.metadata.sqlite.staging import Staged
from mlflow_cleanup.act.metadata.sqlite.writing import Writer, explaining, opened
from mlflow_cleanup.act.metadata.targets import Target, TargetKind
from mlflow_cleanup.errors import DatabaseBusy

_ORDER = list(KINDS)


def foresee(
    path: str,
    targets: Iterable[Target],
    keep_going: KeepGoing,
    tell: Callable[[DatabaseBusy], object],
) -> Mapping[Target, str]:
    """Say which targets would stay, and why; temporary tables hold what was found.

    Each table is gone through from its own rows upwards, so the number of targets hardly matters.
    """
    with opened(path, DEFAULT_PACE, only_reads=True) as reader:
        told = partial(explaining, path, DEFAULT_PACE.wait_s)
        patience = Patience(told, Pacer(DEFAULT_PACE), keep_going, tell)
        try:
            graphs = graphs_in(patience.insist(reader.definition))
            foresight = _Foresight(reader, graphs, targets)
            return {
                target: why
                for kind in _ORDER
                if kind in foresight.staged
                for target, why in patience.insist(partial(foresight.held, kind)).items()
            }
        except Stopped:
            return {}


class _Foresight:
    def __init__(
        self, reader: Writer, graphs: Mapping[TargetKind, Graph], targets: Iterable[Target]
    ) -> None:
        self._reader, self._connection, self._graphs = reader, reader.connection, graphs
        self._found = _found(self._connection)
        self.staged: dict[TargetKind, Staged] = {}
        some: dict[TargetKind, list[Target]] = {}
        for target in targets:
            some.setdefault(target.kind, []).append(target)
        for kind in some.keys() & graphs.keys():
            self.staged[kind] = Staged(KINDS[kind], graphs[kind].rows, self._connection)
            with reader.aside():
                self.staged[kind].add(some[kind])

    def held(self, kind: TargetKind) -> dict[Target, str]:
        """Say which targets of one kind would stay."""
        graph = self._graphs[kind]
        if graph.obstacle is not None:
            targets = self._connection.execute(select(self.staged[kind].table.c.id)).scalars()
            return {Target(kind, str(key)): graph.obstacle for key in targets}
        found: dict[Target, str] = {}
        for edge in graph.edges:
            if edge.action in (Action.HOLDS, Action.REFUSES):
                with self._reader.glance():
                    for key in self._still_held(kind, edge):
                        found.setdefault(Target(kind, str(key)), edge.why)
        return found

    def _still_held(self, kind: TargetKind, edge: Edge) -> list[str | int]:
        """Name the targets that rows hold which do not go themselves."""
        graph, found = self._graphs[kind], self._found
        self._connection.execute(delete(found))
        holding = self._without_targets(hanging_rows(graph, edge, self.staged[kind].table), edge)
        if self._note(holding):
            for other, gone in self._going(kind, edge):
                rows = hanging_rows(other, gone, self.staged[other.kind.kind].table).subquery()
                _, of, number = rows.c
                going = (
                    tuple_(found.c.root, found.c.row).in_(select(of, number))
                    if other is graph
                    else found.c.row.in_(select(number))
                )
                self._connection.execute(delete(found).where(going))
        return list(self._connection.execute(select(found.c.root).distinct()).scalars())

    def _note(self, holding: Select[tuple[object, ...]]) -> bool:
        note = insert(self._found).from_select(["edge", "root", "row"], holding)
        return self._connection.execute(note).rowcount > 0

    def _without_targets(
        self, holding: Select[tuple[object, ...]], edge: Edge
    ) -> Select[tuple[object, ...]]:
        """Leave out rows that are targets, of a kind that goes before this one."""
        for kind, staged in self.staged.items():
            of = KINDS[kind]
            if of.table == edge.rows.name:
                going = select(literal(1)).where(staged.table.c.id == edge.rows.c[of.key])
                holding = holding.where(not_(exists(going.correlate(edge.rows))))
        return holding

    def _going(self, kind: TargetKind, edge: Edge) -> Iterator[tuple[Graph, Edge]]:
        """Name what makes rows of the same table go, by then."""
        if edge.row_number is None:
            return
        for earlier in _ORDER[: _ORDER.index(kind)]:
            if earlier in self.staged:
                yield from self._ways(self._graphs[earlier], edge)
        if edge.action is Action.REFUSES:
            yield from self._ways(self._graphs[kind], edge)

    def _ways(self, graph: Graph, edge: Edge) -> Iterator[tuple[Graph, Edge]]:
        for other in graph.steps:
            if other.action is Action.GOES and other.rows.name == edge.rows.name:
                yield graph, other


def _found(connection: Connection) -> Table:
    table = Table(
        "mlflow_cleanup_foreseen",
        MetaData(),
        Column("edge", Integer),
        # No type, or a number would not be the same as in its own table.
        Column("root"),
        Column("row", Integer),
        prefixes=["TEMPORARY"],
    )
    connection.exec_driver_sql("CREATE TEMPORARY TABLE mlflow_cleanup_foreseen (edge, root, row)")
    return table
