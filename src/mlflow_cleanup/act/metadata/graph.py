"""Which rows hang on which: by the foreign keys that are there, and by references without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import TableClause

from mlflow_cleanup.act.metadata.kinds import ENTITY_TABLES, KINDS, Kind
from mlflow_cleanup.act.metadata.references import KEYED, KEYLESS, PARTS, Action, Only, Reference
from mlflow_cleanup.act.metadata.schema import CASCADE, SET_NULL, Key, Schema
from mlflow_cleanup.act.metadata.targets import TargetKind

_KEYED = frozenset((item.table, item.column, item.parent) for item in KEYED)


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """Rows of one table that hang on rows of `above`; these hang by `parent`, None: are entities.

    `is_indexed`: which rows hang on one row can be found without a scan of the table.
    `row_number` is the name of a number by which its rows can be told apart; None: they have none.
    `is_keyless`: no foreign key keeps both sides together.
    """

    number: int
    rows: TableClause
    columns: tuple[str, ...]
    above: TableClause
    above_columns: tuple[str, ...]
    parent: Edge | None
    action: Action
    is_indexed: bool
    row_number: str | None = None
    reference: Reference | None = None
    is_keyless: bool = False

    @property
    def fixed(self) -> Sequence[tuple[str, str]]:
        """The columns, with their values, by which the rows are told from others."""
        return tuple(self.reference.fixed.items()) if self.reference else ()

    @property
    def only(self) -> Only | None:
        """Which of the rows are meant; None: all."""
        return self.reference.only if self.reference else None

    @property
    def is_text(self) -> bool:
        """Tell whether it names a number by a text."""
        return self.reference is not None and self.reference.is_text

    @property
    def why(self) -> str:
        """Why an entity stays that such rows hold."""
        said = self.reference.why if self.reference else ""
        return said or f"rows of table {self.rows.name} refer to it, by {', '.join(self.columns)}"


@dataclass(slots=True)
class Graph:
    """All that hangs on one kind of entity.

    `holds` are looked at first. `steps` are carried out in their order, children before what they
    hang on. `obstacle`: why nothing of this kind can be removed at all.
    """

    kind: Kind
    rows: TableClause
    holds: list[Edge] = field(default_factory=list)
    steps: list[Edge] = field(default_factory=list)
    obstacle: str | None = None

    @property
    def edges(self) -> Iterator[Edge]:
        """Every edge."""
        yield from self.holds
        yield from self.steps


def graph_of(schema: Schema, kind: Kind) -> Graph:
    """Find what hangs on one kind of entity; its table has to be there."""
    graph = Graph(kind, schema.rows(kind.table))
    _Grower(schema, graph).grow(kind.table, None, (kind.table,))
    return graph


def graphs_of(schema: Schema) -> Mapping[TargetKind, Graph]:
    """Find what hangs on each kind of entity, as far as its table is there."""
    return {
        kind: graph_of(schema, of)
        for kind, of in KINDS.items()
        if schema.has(of.table, (of.key, *of.needs))
    }


class _Grower:
    def __init__(self, schema: Schema, graph: Graph) -> None:
        self._schema, self._graph, self._count = schema, graph, 0

    def grow(self, name: str, parent: Edge | None, path: tuple[str, ...]) -> None:
        """Add all that hangs on rows of a table: first what goes, then what is left to refuse."""
        edges = [*self._keyed(name, parent, path), *self._keyless(name, parent, path)]
        for edge in edges:
            if edge.action is Action.GOES:
                self.grow(edge.rows.name, edge, (*path, edge.rows.name))
                self._graph.steps.append(edge)
        self._graph.steps += [edge for edge in edges if edge.action is Action.CLEARS]
        self._graph.steps += [edge for edge in edges if edge.action is Action.REFUSES]
        self._graph.holds += [edge for edge in edges if edge.action is Action.HOLDS]

    def _keyed(self, name: str, parent: Edge | None, path: tuple[str, ...]) -> Iterator[Edge]:
        for key in self._schema.referring(name):
            if (key.table, *key.columns, name) in _KEYED:
                continue
            if not self._schema.has(name, key.parent_columns):
                self._stop(f"table {key.table} has a foreign key that does not fit")
                continue
            yield self._edge(key, parent, _action(key, self._schema, path))

    def _keyless(self, name: str, parent: Edge | None, path: tuple[str, ...]) -> Iterator[Edge]:
        for item in (*KEYED, *KEYLESS):
            if item.parent == name and self._is_there(item) and item.table not in path:
                key = Key(item.table, (item.column,), name, (item.parent_column,), CASCADE)
                yield self._edge(key, parent, item.action, item)

    def _is_there(self, item: Reference) -> bool:
        return (
            self._schema.has(item.table, (item.column, *item.fixed))
            and self._schema.has(item.parent, (item.parent_column,))
            and all(self._schema.has(name) for name in item.needs)
        )

    def _edge(
        self, key: Key, parent: Edge | None, action: Action, item: Reference | None = None
    ) -> Edge:
        fixed = item.fixed if item else ()
        is_indexed = self._schema.is_indexed(key.table, key.columns, fixed)
        if not is_indexed and not self._schema.can_look_through(key.table):
            self._stop(f"table {key.table} cannot be looked through in small steps")
        self._count += 1
        return Edge(
            number=self._count,
            rows=self._schema.rows(key.table),
            columns=key.columns,
            above=self._schema.rows(key.parent),
            above_columns=key.parent_columns,
            parent=parent,
            action=action,
            is_indexed=is_indexed,
            row_number=self._schema.row_number(key.table),
            reference=item,
            is_keyless=item in KEYLESS,
        )

    def _stop(self, why: str) -> None:
        self._graph.obstacle = self._graph.obstacle or why


def _action(key: Key, schema: Schema, path: tuple[str, ...]) -> Action:
    """Say what a foreign key means: what it says, as far as that is safe."""
    columns = schema.columns(key.table)
    if key.on_delete == SET_NULL and all(columns[item] for item in key.columns):
        return Action.CLEARS
    if key.table in ENTITY_TABLES:
        return Action.HOLDS
    if key.table in path:
        return Action.REFUSES  # a circle: what hangs on what cannot be told by going up
    is_part = key.on_delete == CASCADE or (key.table, key.parent) in PARTS
    # Without a word, the database would let nothing go that is referred to.
    return Action.GOES if is_part else Action.REFUSES
