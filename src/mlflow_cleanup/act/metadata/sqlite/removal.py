"""The statements that remove some entities with everything that hangs on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Executable,
    Select,
    bindparam,
    delete,
    exists,
    literal,
    select,
)
from sqlalchemy.exc import IntegrityError

from mlflow_cleanup.act.metadata.conditions import removing, root
from mlflow_cleanup.act.metadata.graph import Edge, Graph
from mlflow_cleanup.act.metadata.references import Action
from mlflow_cleanup.act.metadata.sqlite.looking import Looker
from mlflow_cleanup.act.metadata.sqlite.staging import Staged
from mlflow_cleanup.act.metadata.sqlite.writing import Writer
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


class Remover:
    """Removes entities of one kind, within a batch of the writer's."""

    def __init__(self, writer: Writer, graph: Graph, staged: Staged, looker: Looker) -> None:
        self._writer, self._connection = writer, writer.connection
        self._staged, self._looker = staged, looker
        self._holds = [(edge, self._holding(edge)) for edge in graph.holds]
        self._steps = [(edge, self._step(edge)) for edge in graph.steps]
        self._last_step = delete(graph.rows).where(
            graph.rows.c[graph.kind.key] == root(),
            staged.as_decided(graph.rows, bindparam("decided_at")),
        )

    def remove(self, some: Sequence[Waiting]) -> list[Outcome]:
        """Remove some targets that follow one another; each goes altogether or stays so."""
        states = self._staged.states(some)
        kept: _Kept = {
            number: Why(CHANGED) for number, is_same in states.items() if is_same is False
        }
        ready = [item for item in some if states[item.number]]
        if ready:
            kept = {**self._held(some), **kept}
        kept |= self._remove([item for item in ready if item.number not in kept])
        absent = [item for item in some if states[item.number] is None]
        self._staged.forget(absent)
        return [outcome_of(item, states[item.number], kept.get(item.number)) for item in some]

    def _held(self, some: Sequence[Waiting]) -> _Kept:
        kept: _Kept = {}
        for edge, query in self._holds:
            for number in self._numbers(query, some):
                kept.setdefault(number, Why(edge.why))
        return kept

    def _remove(self, going: Sequence[Waiting]) -> _Kept:
        """Remove them all, or else one by one; returns those that have to stay."""
        if not going:
            return {}
        try:
            with self._writer.attempt():
                self._take(going)
        except Refused as refused:
            if len(going) == 1:
                return {going[0].number: refused.why}
            kept: _Kept = {}
            for item in going:
                kept |= self._remove([item])
            return kept
        return {}

    def _take(self, going: Sequence[Waiting]) -> None:
        values = [{"root_id": item.key} for item in going]
        try:
            for edge, statement in self._steps:
                if edge.action is Action.REFUSES:
                    self._check(edge, statement, going)
                else:
                    self._connection.execute(statement, values)
            gone = sum(self._take_row(item) for item in going)
        except IntegrityError as error:
            raise Refused(str(error.orig), is_trouble=True) from error
        if gone != len(going):
            raise Refused(NOT_LET_GO, is_trouble=True)

    def _take_row(self, item: Waiting) -> int:
        values = {"root_id": item.key, "decided_at": item.target.at_ms}
        return self._connection.execute(self._last_step, values).rowcount

    def _check(self, edge: Edge, query: Executable, going: Sequence[Waiting]) -> None:
        if not {item.number for item in going}.isdisjoint(self._numbers(query, going)):
            raise Refused(edge.why)

    def _numbers(self, query: Executable, some: Sequence[Waiting]) -> list[int]:
        span = {"first_number": some[0].number, "last_number": some[-1].number}
        return list(self._connection.execute(query, span).scalars())

    def _step(self, edge: Edge) -> Executable:
        if edge.action is Action.REFUSES:
            return self._having(edge, self._looker.meant(edge, self._staged.table.c.id))
        return removing(edge, self._looker.meant(edge, root()))

    def _holding(self, edge: Edge) -> Select[Any]:
        """Ask for the targets that something holds, as it was noted if that takes a scan."""
        mine = self._staged.table.c.id
        if edge.is_indexed:
            return self._having(edge, self._looker.meant(edge, mine))
        return self._select().where(self._looker.is_noted(edge, mine))

    def _having(self, edge: Edge, meant: ColumnElement[bool]) -> Select[Any]:
        found = select(literal(1)).select_from(edge.rows).where(meant)
        return self._select().where(exists(found.correlate_except(edge.rows)))

    def _select(self) -> Select[Any]:
        number = self._staged.table.c.number
        span = number.between(bindparam("first_number"), bindparam("last_number"))
        return select(number).where(span)
