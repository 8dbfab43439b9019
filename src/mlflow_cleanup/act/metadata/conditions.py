"""The conditions by which rows hang on an entity, in SQL of any dialect."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    FromClause,
    Select,
    and_,
    bindparam,
    literal,
    null,
    select,
    tuple_,
)

from mlflow_cleanup.act.metadata.graph import Edge, Graph

Root = ColumnElement[Any]
"""An entity's id: a bound value, or a column of the targets."""


def root() -> BindParameter[Any]:
    """Return the bound value that stands for an entity's id; no column has such a name."""
    return bindparam("root_id")


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


def hanging_rows(graph: Graph, edge: Edge, targets: FromClause) -> Select[Any]:
    """Select target and number of every row that hangs on one, from the rows upwards.

    Each step up goes by a key of the table above, so nothing but the first table is gone through.
    """
    rows: FromClause = edge.rows
    joined: FromClause = rows
    conditions = particulars(edge, rows)
    step = edge
    while step.parent is not None:
        above = step.above.alias()
        joined = joined.join(above, _joins(step, rows, above))
        conditions += particulars(step.parent, above)
        rows, step = above, step.parent
    if step.above_columns == (graph.kind.key,):
        own = rows.c[step.columns[0]]
    else:
        above = step.above.alias()
        joined = joined.join(above, _joins(step, rows, above))
        own = above.c[graph.kind.key]
    joined = joined.join(targets, own == targets.c.id)
    number = edge.rows.c.rowid if edge.has_row_numbers else null()
    found = select(literal(edge.number).label("edge"), targets.c.id, number.label("number"))
    return found.select_from(joined).where(*conditions)


def _joins(step: Edge, rows: FromClause, above: FromClause) -> ColumnElement[bool]:
    pairs = zip(step.columns, step.above_columns, strict=True)
    return and_(*(rows.c[mine] == above.c[theirs] for mine, theirs in pairs))


def particulars(edge: Edge, rows: FromClause) -> list[ColumnElement[bool]]:
    """Return the conditions that tell the rows meant from others of their table."""
    fixed = [rows.c[item] == value for item, value in edge.fixed]
    return [*fixed, edge.only(rows)] if edge.only else fixed
