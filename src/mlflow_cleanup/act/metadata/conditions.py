"""The conditions by which rows hang on an entity, in SQL of any dialect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Delete,
    FromClause,
    Select,
    Update,
    and_,
    bindparam,
    delete,
    literal,
    null,
    select,
    tuple_,
    update,
)

from mlflow_cleanup.act.metadata.exactness import exactly
from mlflow_cleanup.act.metadata.graph import Edge, Graph
from mlflow_cleanup.act.metadata.references import Action

Root = ColumnElement[Any]
"""An entity's id: a bound value, or a column of the targets."""


def root() -> BindParameter[Any]:
    """Return the bound value that stands for an entity's id; no column has such a name."""
    return bindparam("root_id")


def roots() -> BindParameter[Any]:
    """Return the bound values that stand for the ids of several entities."""
    return bindparam("root_ids", expanding=True)


def hangs_on(graph: Graph, edge: Edge, root: Root, rows: FromClause) -> ColumnElement[bool]:
    """Return the condition that rows hang on one entity, from the entity downwards."""
    mine = [rows.c[item] for item in edge.columns]
    if edge.parent is None and edge.above_columns == (graph.kind.key,):
        named = mine[0] == root
    else:
        above = edge.above.alias()
        theirs = select(*(above.c[item] for item in edge.above_columns)).where(
            hangs_on(graph, edge.parent, root, above)
            if edge.parent
            else above.c[graph.kind.key] == root
        )
        within = theirs.correlate_except(above)
        named = (tuple_(*mine) if len(mine) > 1 else mine[0]).in_(within)
    return and_(named, *particulars(edge, rows))


@dataclass(frozen=True, slots=True)
class Upwards:
    """What rows hang on, step by step: the tables above, each with the condition that joins it.

    `conditions` tell the rows meant from others; `root` is the column with the entity's id.
    """

    rows: FromClause
    steps: list[tuple[FromClause, ColumnElement[bool]]]
    conditions: list[ColumnElement[bool]]
    root: ColumnElement[Any]

    @property
    def joined(self) -> FromClause:
        """The rows joined with all that is above them."""
        joined = self.rows
        for above, on in self.steps:
            joined = joined.join(above, on)
        return joined

    @property
    def every_condition(self) -> list[ColumnElement[bool]]:
        """All conditions, for a statement that only names the tables above."""
        return [*(on for _, on in self.steps), *self.conditions]


def upwards(graph: Graph, edge: Edge) -> Upwards:
    """Find the way from rows up to the entity.

    Each step up goes by a key of the table above, so nothing but the first table is gone through.
    """
    rows: FromClause = edge.rows
    up: list[tuple[FromClause, ColumnElement[bool]]] = []
    conditions = particulars(edge, rows)
    step = edge
    while step.parent is not None:
        above = step.above.alias()
        up.append((above, _joins(step, rows, above)))
        conditions += particulars(step.parent, above)
        rows, step = above, step.parent
    if step.above_columns == (graph.kind.key,):
        return Upwards(edge.rows, up, conditions, rows.c[step.columns[0]])
    above = step.above.alias()
    up.append((above, _joins(step, rows, above)))
    return Upwards(edge.rows, up, conditions, above.c[graph.kind.key])


def hanging_rows(graph: Graph, edge: Edge, targets: FromClause) -> Select[Any]:
    """Select target and number of every row that hangs on one, from the rows upwards."""
    up = upwards(graph, edge)
    joined = up.joined.join(targets, up.root == targets.c.id)
    number = null() if edge.row_number is None else edge.rows.c[edge.row_number]
    found = select(literal(edge.number).label("edge"), targets.c.id, number.label("number"))
    return found.select_from(joined).where(*up.conditions)


def hanging_on_some(graph: Graph, edge: Edge) -> tuple[Upwards, list[ColumnElement[bool]]]:
    """Return the condition that rows hang on one of several entities, the tables above beside it.

    So it is a join for servers, some of which do not see that a list of a subquery could be one.
    """
    up, some = upwards(graph, edge), roots()
    named = [up.root.in_(some)]
    if edge.is_keyless and edge.parent is None:
        # No key says that two texts, which may be compared by other rules, are the same name.
        named.append(exactly(up.root).in_(some))
    return up, [*named, *up.every_condition]


def _joins(step: Edge, rows: FromClause, above: FromClause) -> ColumnElement[bool]:
    """Return the condition that joins rows with those that they hang on."""
    pairs = zip(step.columns, step.above_columns, strict=True)
    return and_(*(rows.c[mine] == above.c[theirs] for mine, theirs in pairs))


def particulars(edge: Edge, rows: FromClause) -> list[ColumnElement[bool]]:
    """Return the conditions that tell the rows meant from others of their table."""
    fixed = [rows.c[item] == value for item, value in edge.fixed]
    return [*fixed, edge.only(rows)] if edge.only else fixed


def removing(edge: Edge, meant: ColumnElement[bool]) -> Delete | Update:
    """Return the statement that removes rows, or what they say of the entity."""
    if edge.action is Action.CLEARS:
        return update(edge.rows).where(meant).values(dict.fromkeys(edge.columns, null()))
    return delete(edge.rows).where(meant)
