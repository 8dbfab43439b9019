"""Looking through tables that no index helps with: once for a whole job, not for each entity.

What hangs on a target by a key without an index is noted down before anything is removed. What is
written after that is found in each batch: SQLite gives a new row a higher number than any other
has, so only rows above the last one have to be looked at, as long as that one is still there.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Select,
    Table,
    TableClause,
    and_,
    delete,
    exists,
    insert,
    literal,
    not_,
    select,
)

from mlflow_cleanup.act.metadata.conditions import Root, hanging_rows, hangs_on, particulars
from mlflow_cleanup.act.metadata.graph import Edge, Graph
from mlflow_cleanup.act.metadata.pacing import Pace
from mlflow_cleanup.act.metadata.patience import Patience
from mlflow_cleanup.act.metadata.references import Action
from mlflow_cleanup.act.metadata.sqlite.staging import Staged
from mlflow_cleanup.act.metadata.sqlite.writing import Writer

_FEWEST_ROWS, _MOST_ROWS = 500, 200_000
_SLICE_SHARE = 0.5
"""A slice may take half as long as a batch: it keeps others from writing as well, if less."""


class LostTrack(Exception):
    """A table was changed in a way that hides what is new in it: it has to be looked at again."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """The last row of a table that was looked at: its number, and what it names."""

    number: int
    content: tuple[object, ...]


class Looker:
    """Knows which rows hang on the targets of one kind by keys without an index."""

    def __init__(self, writer: Writer, graph: Graph, staged: Staged) -> None:
        self._writer, self._connection = writer, writer.connection
        self._graph, self._staged = graph, staged
        self._slice_rows = _FEWEST_ROWS
        self._marks: dict[str, _Mark | None] = {}
        self._changes, self._changes_now, self._has_caught_up = 0, 0, False
        self._edges: dict[TableClause, list[Edge]] = defaultdict(list)
        for edge in graph.edges:
            if not edge.is_indexed:
                self._edges[edge.rows].append(edge)
        self.noted = _notes(staged)
        if self._edges:
            self.noted.create(self._connection)

    def look(self, patience: Patience, *, late: bool = False) -> None:
        """Look through every table from its beginning, in slices; raises Stopped.

        `late` looks only through tables where something may have been forgotten.
        """
        self._changes = patience.insist(self._changes_so_far)
        wanted = {edge.rows for edge in self.late} if late else set(self._edges)
        for rows in wanted:
            numbers = [edge.number for edge in self._edges[rows]]
            self._connection.execute(delete(self.noted).where(self.noted.c.edge.in_(numbers)))
            low: int | None = None
            while (
                low := patience.insist(partial(self._slice, rows, low, patience.pacer.pace))
            ) is not None:
                pass

    def catch_up(self) -> bool:
        """Within a batch: note what others wrote since the last one; tells whether they did.

        Raises LostTrack.
        """
        self._changes_now = self._writer.changes_of_others()
        if self._changes_now == self._changes:
            return False
        self._has_caught_up = True
        for rows in self._edges:
            mark = self._marks[rows.name]
            if mark is not None and self._content(rows, mark.number) != mark:
                raise LostTrack
            self._note(rows, None if mark is None else mark.number, None)
        return True

    def others_wrote(self, patience: Patience) -> bool:
        """Tell whether others have written since the first look; raises Stopped."""
        return self._has_caught_up or patience.insist(self._changes_so_far) != self._changes

    def last_rows(self) -> dict[str, _Mark | None]:
        """Within a batch, at its end: return what to hand to `settle` once it is committed."""
        return {rows.name: self._last(rows) for rows in self._edges}

    def settle(self, marks: dict[str, _Mark | None]) -> None:
        """Everything up to these rows has been looked at."""
        self._marks, self._changes = marks, self._changes_now

    def meant(self, edge: Edge, root: Root) -> ColumnElement[bool]:
        """Return the condition that rows hang on one entity, in a form that needs no scan."""
        hanging = hangs_on(self._graph, edge, root, edge.rows)
        if edge.is_indexed:
            return hanging
        noted = self.noted.c
        numbers = select(noted.row).where(noted.edge == edge.number, noted.root == root)
        return and_(edge.rows.c.rowid.in_(numbers.correlate_except(self.noted)), hanging)

    def is_noted(self, edge: Edge, root: Root) -> ColumnElement[bool]:
        """Return the condition that something hung on an entity when it was looked for."""
        noted = self.noted.c
        found = select(literal(1)).where(noted.edge == edge.number, noted.root == root)
        return exists(found.correlate_except(self.noted))

    @property
    def late(self) -> list[Edge]:
        """The edges to look at once more when all is done."""
        every = (edge for edges in self._edges.values() for edge in edges)
        actions = (Action.GOES, Action.CLEARS)
        return [edge for edge in every if edge.parent is None and edge.action in actions]

    def forgotten(self, edge: Edge) -> ColumnElement[bool]:
        """Return the condition that rows hang on a target that is gone, and on nothing else.

        An experiment's number may be given to a new one again, so there must be no row with it.
        """
        above, noted = edge.above.alias(), self.noted.c
        pairs = zip(edge.columns, edge.above_columns, strict=True)
        same = [above.c[theirs] == edge.rows.c[mine] for mine, theirs in pairs]
        is_there = exists(select(literal(1)).where(*same).correlate_except(above))
        numbers = select(noted.row).where(
            noted.edge == edge.number, noted.root == edge.rows.c[edge.columns[0]]
        )
        is_noted = edge.rows.c.rowid.in_(numbers.correlate_except(self.noted))
        return and_(is_noted, not_(is_there), *particulars(edge, edge.rows))

    def _changes_so_far(self) -> int:
        with self._writer.glance():
            return self._writer.changes_of_others()

    def _slice(self, rows: TableClause, low: int | None, pace: Pace) -> int | None:
        """Look at the next rows, and return how far that was; None: to the end."""
        begun = pace.clock()
        with self._writer.glance():
            after = select(rows.c.rowid).where(*_above(rows, low)).order_by(rows.c.rowid)
            high = self._connection.execute(after.offset(self._slice_rows).limit(1)).scalar()
            self._note(rows, low, high)
            if high is None:
                self._marks[rows.name] = self._last(rows)
        self._learn(pace.clock() - begun, pace.hold_s * _SLICE_SHARE)
        return high

    def _learn(self, took_s: float, allowed_s: float) -> None:
        if took_s > allowed_s:
            self._slice_rows = max(self._slice_rows // 2, _FEWEST_ROWS)
        elif took_s < allowed_s / 2:
            self._slice_rows = min(self._slice_rows * 2, _MOST_ROWS)

    def _note(self, rows: TableClause, low: int | None, high: int | None) -> None:
        within = _above(rows, low)
        if high is not None:
            within.append(rows.c.rowid <= high)
        for edge in self._edges[rows]:
            found = hanging_rows(self._graph, edge, self._staged.table).where(*within)
            # A row may have been noted before, and a target named twice.
            note = insert(self.noted).prefix_with("OR IGNORE")
            self._connection.execute(note.from_select(["edge", "root", "row"], found))

    def _content(self, rows: TableClause, number: int) -> _Mark | None:
        return self._mark(self._marked(rows).where(rows.c.rowid == number))

    def _last(self, rows: TableClause) -> _Mark | None:
        return self._mark(self._marked(rows).order_by(rows.c.rowid.desc()).limit(1))

    def _marked(self, rows: TableClause) -> Select[Any]:
        named = {
            item
            for edge in self._edges[rows]
            for item in (*edge.columns, *(name for name, _ in edge.fixed))
        }
        return select(rows.c.rowid, *(rows.c[item] for item in sorted(named)))

    def _mark(self, query: Select[Any]) -> _Mark | None:
        row = self._connection.execute(query).first()
        return None if row is None else _Mark(row[0], tuple(row[1:]))


def _above(rows: TableClause, low: int | None) -> list[ColumnElement[bool]]:
    return [] if low is None else [rows.c.rowid > low]


def _notes(staged: Staged) -> Table:
    return Table(
        f"{staged.table.name}_noted",
        MetaData(),
        Column("edge", Integer),
        Column("root", staged.table.c.id.type),
        Column("row", Integer),
        PrimaryKeyConstraint("edge", "root", "row"),
        prefixes=["TEMPORARY"],
    )
