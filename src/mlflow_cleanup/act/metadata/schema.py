"""What the removal needs of a schema, read from the database itself: SQLite for now."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Connection, TableClause, column, inspect, select, table
from sqlalchemy.exc import OperationalError, SAWarning

CASCADE, SET_NULL = "CASCADE", "SET NULL"

ROW_NUMBER = "rowid"
"""SQLite's own number of a row, in every table that has not been made without."""


@dataclass(frozen=True, slots=True)
class Key:
    """One foreign key: `columns` of `table` name a row of `parent` by its `parent_columns`."""

    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    on_delete: str


class Schema:
    """The tables of one database; names are matched as the database itself does."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._inspector = connection, inspect(connection)
        self._names = {name.lower(): name for name in self._inspector.get_table_names()}
        # Methods of their own cache, so that each table is looked at once.
        self.columns = cache(self._columns)
        self.primary_key = cache(self._primary_key)
        self.rows = cache(self._rows)
        self._indexes = cache(self._read_indexes)
        self._referring = self._read_keys()

    def has(self, name: str, columns: Iterable[str] = ()) -> bool:
        """Tell whether a table is there, with all the given columns."""
        return name in self._names.values() and set(columns) <= set(self.columns(name))

    def referring(self, name: str) -> Sequence[Key]:
        """Return every foreign key that names rows of a table."""
        return self._referring.get(name, ())

    def is_indexed(self, name: str, columns: Iterable[str], known: Iterable[str] = ()) -> bool:
        """Tell whether rows can be found by these columns, `known` ones helping, without a scan."""
        wanted, given = set(columns), {*columns, *known}
        return any(wanted <= set(_leading(index, given)) for index in self._indexes(name))

    def has_row_numbers(self, name: str) -> bool:
        """Tell whether rows have a number by which a scan can go on where it stopped."""
        # One that has a column of that name hides the number.
        return ROW_NUMBER in self.rows(name).c and ROW_NUMBER not in self.columns(name)

    def _columns(self, name: str) -> Mapping[str, bool]:
        """Return a table's columns, and whether each may be NULL."""
        return {item["name"]: item["nullable"] for item in self._inspector.get_columns(name)}

    def _primary_key(self, name: str) -> tuple[str, ...]:
        """Return the columns of a table's primary key, in its order."""
        return tuple(self._inspector.get_pk_constraint(name)["constrained_columns"])

    def _rows(self, name: str) -> TableClause:
        """Return a table for use in statements; nothing is known of types, nothing converted."""
        plain = table(name, *(column(item) for item in self.columns(name)))
        if any(item.lower() == ROW_NUMBER for item in self.columns(name)):
            return plain
        numbered = table(name, *(column(item) for item in [*self.columns(name), ROW_NUMBER]))
        try:
            self._connection.execute(select(numbered.c[ROW_NUMBER]).limit(0))
        except OperationalError:
            return plain  # made WITHOUT ROWID
        return numbered

    def _read_indexes(self, name: str) -> Sequence[tuple[str | None, ...]]:
        with warnings.catch_warnings():
            # An index of expressions is of no use here, and no reason to tell anybody.
            warnings.simplefilter("ignore", SAWarning)
            return self._indexes_of(name)

    def _indexes_of(self, name: str) -> Sequence[tuple[str | None, ...]]:
        found: list[tuple[str | None, ...]] = [self.primary_key(name)]
        for unique in self._inspector.get_unique_constraints(name):
            found.append(tuple(unique["column_names"]))
        for index in self._inspector.get_indexes(name):
            # A partial index finds only some of the rows.
            if not any(key.endswith("_where") for key in index.get("dialect_options", {})):
                found.append(tuple(index["column_names"]))
        return found

    def _read_keys(self) -> Mapping[str, Sequence[Key]]:
        found: dict[str, list[Key]] = defaultdict(list)
        for name in self._names.values():
            for key in self._keys(name):
                found[key.parent].append(key)
        return found

    def _keys(self, name: str) -> Iterator[Key]:
        """Ask SQLite itself.

        SQLAlchemy takes what ON DELETE says from the text of CREATE TABLE, and does not see it at a
        key that is written beside its column.
        """
        rows = self._connection.exec_driver_sql(
            'SELECT id, "table", "from", "to", on_delete FROM pragma_foreign_key_list(?) '
            "ORDER BY id, seq",
            (name,),
        ).all()
        for number in dict.fromkeys(row[0] for row in rows):
            parts = [row for row in rows if row[0] == number]
            parent = self._names.get(parts[0][1].lower())
            if parent is None:
                continue
            named = [row[3] for row in parts]
            yield Key(
                table=name,
                columns=tuple(row[2] for row in parts),
                parent=parent,
                # Without names it is the other table's primary key.
                parent_columns=self.primary_key(parent)
                if None in named
                else tuple(self._column(parent, item) for item in named),
                on_delete=str(parts[0][4]).upper(),
            )

    def _column(self, name: str, written: str) -> str:
        """Return a column as its table spells it."""
        return next(
            (item for item in self.columns(name) if item.lower() == written.lower()), written
        )


def _leading(index: Iterable[str | None], given: set[str]) -> Iterator[str]:
    """Return an index's columns up to the first one that is not given."""
    for item in index:
        if item is None or item not in given:
            return
        yield item
