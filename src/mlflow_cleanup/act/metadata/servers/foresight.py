"""Asking beforehand which rows would stay on a server if a lot of others went; only reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, case, select

from mlflow_cleanup.act.metadata.conditions import hanging_on_some, particulars, upwards
from mlflow_cleanup.act.metadata.graph import Edge, Graph
from mlflow_cleanup.act.metadata.kinds import KINDS
from mlflow_cleanup.act.metadata.pacing import SERVER_PACE, Pacer
from mlflow_cleanup.act.metadata.patience import KeepGoing, Patience, Stopped
from mlflow_cleanup.act.metadata.references import Action
from mlflow_cleanup.act.metadata.servers.job import read_graphs, take_down
from mlflow_cleanup.act.metadata.servers.session import Session, opened
from mlflow_cleanup.act.metadata.servers.shelf import Shelf
from mlflow_cleanup.act.metadata.targets import Target, TargetKind, Waiting
from mlflow_cleanup.errors import DatabaseBusy
from mlflow_cleanup.model.database import Database

_ORDER = list(KINDS)
_TARGETS_A_QUERY = 2_000
"""A table without an index is gone through once for so many."""


def foresee(
    database: Database,
    targets: Iterable[Target],
    keep_going: KeepGoing,
    tell: Callable[[DatabaseBusy], object],
) -> Mapping[Target, str]:
    """Say which targets would stay, and why."""
    with Shelf.opened() as shelf, opened(database, SERVER_PACE, only_reads=True) as session:
        patience = Patience(session.explaining, Pacer(SERVER_PACE), keep_going, tell)
        for _ in take_down(targets, shelf):
            pass  # what has such an id is kept by whoever asks to remove it
        try:
            foresight = _Foresight(session, patience.insist(partial(read_graphs, session)), shelf)
            found: dict[Target, str] = {}
            for kind in _ORDER:
                for page in shelf.pages(kind, _TARGETS_A_QUERY):
                    found |= patience.insist(partial(foresight.held, kind, page))
        except Stopped:
            return {}
        return found


class _Way:
    """How a row may go before the entity that it would hold: with which entity, by then."""

    def __init__(self, kind: TargetKind, root: ColumnElement[Any], is_same_kind: bool) -> None:
        self.kind, self.root, self._is_same_kind = kind, root, is_same_kind

    def goes(self, shelf: Shelf, key: object, held: object) -> bool:
        """Tell whether a row goes that hangs on this entity and would hold the other one."""
        if key is None or (self._is_same_kind and key != held):
            return False
        return shelf.has(self.kind, key)


class _Foresight:
    def __init__(self, session: Session, graphs: Mapping[TargetKind, Graph], shelf: Shelf) -> None:
        self._session, self._graphs, self._shelf = session, graphs, shelf

    def held(self, kind: TargetKind, page: Sequence[Waiting]) -> dict[Target, str]:
        """Say which targets of one kind would stay."""
        graph = self._graphs.get(kind)
        if graph is None:
            return {}
        if graph.obstacle is not None:
            return {item.target: graph.obstacle for item in page}
        found: dict[Target, str] = {}
        for edge in graph.edges:
            if edge.action in (Action.HOLDS, Action.REFUSES):
                still = self._still_held(graph, edge, page)
                for item in page:
                    if item.key in still:
                        found.setdefault(item.target, edge.why)
        return found

    def _still_held(self, graph: Graph, edge: Edge, page: Sequence[Waiting]) -> set[object]:
        """Name the entities that rows hold which do not go themselves."""
        up, conditions = hanging_on_some(graph, edge)
        ways, joined = self._ways(graph, edge, up.joined)
        query = select(up.root, *(way.root for way in ways)).select_from(joined)
        wanted = query.where(*conditions).distinct()
        values = {"root_ids": [str(item.key) if edge.is_text else item.key for item in page]}
        return {
            held
            for held, *keys in self._stream(wanted, values)
            if not any(
                way.goes(self._shelf, key, held) for way, key in zip(ways, keys, strict=True)
            )
        }

    def _stream(self, query: Select[Any], values: dict[str, Any]) -> Iterator[Any]:
        options = {"stream_results": True, "yield_per": 2_000}
        with self._session.batch():
            yield from self._session.connection.execute(query, values, execution_options=options)

    def _ways(self, graph: Graph, edge: Edge, joined: FromClause) -> tuple[list[_Way], FromClause]:
        """Find what makes rows of the edge's table go by then, and join what is needed for it."""
        ways = [
            _Way(kind, edge.rows.c[KINDS[kind].key], is_same_kind=False)
            for kind in self._graphs
            if KINDS[kind].table == edge.rows.name
        ]
        for other, gone in self._going(graph, edge):
            root, joined = _joined_up(other, gone, edge.rows, joined)
            ways.append(_Way(other.kind.kind, root, other is graph))
        return ways, joined

    def _going(self, graph: Graph, edge: Edge) -> Iterator[tuple[Graph, Edge]]:
        kind = graph.kind.kind
        others = [self._graphs[one] for one in _ORDER[: _ORDER.index(kind)] if one in self._graphs]
        for other in [*others, *([graph] if edge.action is Action.REFUSES else [])]:
            for step in other.steps:
                if step.action is Action.GOES and step.rows.name == edge.rows.name:
                    yield other, step


def _joined_up(
    graph: Graph, gone: Edge, rows: FromClause, joined: FromClause
) -> tuple[ColumnElement[Any], FromClause]:
    """Join rows with the entity that they hang on by another edge; NULL where they do not."""
    up = upwards(graph, gone)
    if not up.steps:
        meant = particulars(gone, rows)
        return (case((and_(*meant), up.root)) if meant else up.root), joined
    last = len(up.steps) - 1
    for number, (above, on) in enumerate(up.steps):
        joined = joined.outerjoin(above, and_(on, *(up.conditions if number == last else [])))
    return up.root, joined
