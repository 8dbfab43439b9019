"""The statements that remove some entities of one kind with everything that hangs on them.

Which rows go is decided under locks. An entity's own row is locked first: nobody can restore it,
and nobody can add a row that a foreign key has name it, until the transaction ends. All that was
there before is seen then, as each statement sees what is committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    Delete,
    Executable,
    Select,
    bindparam,
    column,
    delete,
    func,
    literal,
    null,
    select,
    table,
    tuple_,
    update,
)
from sqlalchemy.exc import DBAPIError

from mlflow_cleanup.act.metadata.conditions import hanging_on_some, roots
from mlflow_cleanup.act.metadata.graph import Edge, Graph
from mlflow_cleanup.act.metadata.kinds import LARGEST
from mlflow_cleanup.act.metadata.references import Action
from mlflow_cleanup.act.metadata.servers.session import Session
from mlflow_cleanup.act.metadata.targets import (
    CHANGED,
    NOT_LET_GO,
    Outcome,
    Refused,
    Waiting,
    Why,
    outcome_of,
)

_Kept = dict[int, Why]
"""Why targets stay, by their numbers."""

_NEVER = -LARGEST - 1
"""Stands for NULL where times are compared: no target can have it."""


class Remover:
    """Removes entities of one kind, within a batch of the session's."""

    def __init__(self, session: Session, graph: Graph) -> None:
        self._session, self._connection, self._graph = session, session.connection, graph
        self._locks = list(_locks(graph))
        self._state = _state(graph)
        self._holds = [(edge, self._holding(edge)) for edge in graph.holds]
        self._steps = [(edge, _step(graph, edge)) for edge in graph.steps]
        self._last_step = _last_step(graph)
        self.crowded = sorted({edge.rows.name for edge in graph.holds if edge.is_keyless})
        """Tables in which no key keeps others from adding what would hold an entity."""
        self.scans = sum(not edge.is_indexed and not edge.is_keyless for edge in graph.edges)
        """How many tables are gone through for a batch; the server does so for each entity."""

    def remove(self, some: Sequence[Waiting]) -> list[Outcome]:
        """Remove some targets; each goes altogether or stays so."""
        for lock in self._locks:
            self._run(lock, some)
        states = self._states(some)
        kept: _Kept = {
            number: Why(CHANGED) for number, is_same in states.items() if is_same is False
        }
        ready = [item for item in some if states[item.number]]
        if ready:
            kept |= self._held(ready)
        kept |= self._remove([item for item in ready if item.number not in kept])
        return [outcome_of(item, states[item.number], kept.get(item.number)) for item in some]

    def _states(self, some: Sequence[Waiting]) -> dict[int, bool | None]:
        """Tell of some targets whether their rows are as it was decided; None: there is no row.

        Ids are compared here: a database may think 'a' and 'A' the same.
        """
        found = {key: (may_go, at) for key, may_go, at in self._run(self._state, some)}
        states: dict[int, bool | None] = {}
        for item in some:
            if item.key not in found:
                states[item.number] = None
                continue
            may_go, at_ms = found[item.key]
            has_same_time = not self._has_times or at_ms == item.target.at_ms
            states[item.number] = bool(may_go) and has_same_time
        return states

    @property
    def _has_times(self) -> bool:
        return _time_of(self._graph) is not None

    def _held(self, ready: Sequence[Waiting]) -> _Kept:
        kept: _Kept = {}
        # What takes long, without an index, before the one thing that keeps others waiting.
        for edge, query in sorted(self._holds, key=lambda hold: hold[0].is_keyless):
            if edge.is_keyless:
                self._session.dialect.stand_still(self._connection, self.crowded)
            for number in self._numbers(edge, query, ready):
                kept.setdefault(number, Why(edge.why))
        return kept

    def _remove(self, going: Sequence[Waiting]) -> _Kept:
        """Remove them all, or else one by one; returns those that have to stay."""
        if not going:
            return {}
        try:
            with self._session.attempt():
                self._take(going)
        except Refused as refused:
            why = refused.why
        except DBAPIError as error:
            if not self._session.dialect.is_refusal(error):
                raise
            why = Why(self._session.words_of(error), is_trouble=True)
        else:
            return {}
        if len(going) == 1:
            return {going[0].number: why}
        kept: _Kept = {}
        for item in going:
            kept |= self._remove([item])
        return kept

    def _take(self, going: Sequence[Waiting]) -> None:
        for edge, statement in self._steps:
            if edge.action is not Action.REFUSES:
                self._connection.execute(statement, _values(going, edge.is_text))
            elif self._numbers(edge, statement, going):
                raise Refused(edge.why)
        times = [
            (item.key, _NEVER if item.target.at_ms is None else item.target.at_ms) for item in going
        ]
        values = {**_values(going), **({"root_times": times} if self._has_times else {})}
        if self._connection.execute(self._last_step, values).rowcount != len(going):
            raise Refused(NOT_LET_GO, is_trouble=True)

    def _numbers(self, edge: Edge, query: Executable, some: Sequence[Waiting]) -> list[int]:
        found = set(self._connection.execute(query, _values(some, edge.is_text)).scalars())
        return [item.number for item in some if item.key in found]

    def _run(self, query: Executable, some: Sequence[Waiting]) -> Sequence[Any]:
        return self._connection.execute(query, _values(some)).all()

    def _holding(self, edge: Edge) -> Executable:
        query = _naming(self._graph, edge)
        return self._session.dialect.reading_still(query) if edge.is_keyless else query


def is_locked_by_others(session: Session, graph: Graph, item: Waiting) -> bool:
    """Tell whether somebody has an entity's own row locked; raises DatabaseBusy for its table."""
    key = graph.rows.c[graph.kind.key]
    lock = select(key).where(key.in_(roots())).with_for_update(skip_locked=True)
    try:
        with session.batch():
            return not session.connection.execute(lock, _values([item])).all()
    except DBAPIError:
        return True


def _locks(graph: Graph) -> Iterator[Select[Any]]:
    """Lock what must not change until the end, from the entities downwards."""
    key = graph.rows.c[graph.kind.key]
    yield select(key).where(key.in_(roots())).order_by(key).with_for_update()
    if graph.kind.goes_with_experiment:
        of = table("experiments", column("experiment_id"), column("lifecycle_stage"))
        mine = select(graph.rows.c.experiment_id).where(key.in_(roots()))
        named = select(of.c.experiment_id).where(of.c.experiment_id.in_(mine))
        yield named.order_by(of.c.experiment_id).with_for_update(read=True)
    for edge in _above_holds(graph):
        _, conditions = hanging_on_some(graph, edge)
        yield select(literal(1)).select_from(edge.rows).where(*conditions).with_for_update()


def _above_holds(graph: Graph) -> list[Edge]:
    """Return what lies between entities and rows that hold them, the topmost first."""
    found: dict[int, Edge] = {}
    for edge in graph.holds:
        way: list[Edge] = []
        step = edge.parent
        while step is not None:
            way.insert(0, step)
            step = step.parent
        found |= {one.number: one for one in way if one.number not in found}
    return list(found.values())


def _state(graph: Graph) -> Select[Any]:
    key, at = graph.rows.c[graph.kind.key], _time_of(graph)
    may_go = graph.kind.may_go(graph.rows).label("may_go")
    time = null() if at is None else graph.rows.c[at]
    return select(key, may_go, time.label("at")).where(key.in_(roots()))


def _last_step(graph: Graph) -> Delete:
    key, at = graph.rows.c[graph.kind.key], _time_of(graph)
    last = delete(graph.rows).where(key.in_(roots()), graph.kind.may_go(graph.rows))
    if at is None:
        return last
    times: BindParameter[Any] = bindparam("root_times", expanding=True)
    return last.where(tuple_(key, func.coalesce(graph.rows.c[at], _NEVER)).in_(times))


def _time_of(graph: Graph) -> str | None:
    at = graph.kind.at
    return at if at is not None and at in graph.rows.c else None


def _step(graph: Graph, edge: Edge) -> Executable:
    if edge.action is Action.REFUSES:
        return _naming(graph, edge)
    _, conditions = hanging_on_some(graph, edge)
    if edge.action is Action.CLEARS:
        cleared = {edge.rows.c[item]: null() for item in edge.columns}
        return update(edge.rows).where(*conditions).values(cleared)
    return delete(edge.rows).where(*conditions)


def _naming(graph: Graph, edge: Edge) -> Select[Any]:
    """Ask for the entities that rows hang on."""
    up, conditions = hanging_on_some(graph, edge)
    return select(up.root).select_from(edge.rows).where(*conditions).distinct()


def _values(some: Sequence[Waiting], is_text: bool = False) -> dict[str, Any]:
    return {"root_ids": [str(item.key) if is_text else item.key for item in some]}
