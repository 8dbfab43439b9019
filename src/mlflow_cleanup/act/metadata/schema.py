"""What the removal needs of a schema, read from the database itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from sqlalchemy import TableClause, column, table

CASCADE, SET_NULL = "CASCADE", "SET NULL"

Index = tuple[str | None, ...]
"""The columns of an index, None for an expression."""


@dataclass(frozen=True, slots=True)
class Key:
    """One foreign key: `columns` of `table` name a row of `parent` by its `parent_columns`."""

    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    on_delete: str


class Catalogue(Protocol):
    """What a kind of database says of its tables, in a way of its own."""

    def names(self) -> Sequence[str]:
        """Name the tables."""

    def columns(self, name: str) -> Mapping[str, bool]:
        """Return a table's columns, and whether each may be NULL."""

    def primary_key(self, name: str) -> tuple[str, ...]:
        """Return the columns of a table's primary key, in its order."""

    def indexes(self, name: str) -> Iterable[Index]:
        """Return the indexes that find every row of a table, without that of the primary key."""

    def keys(self, name: str) -> Iterable[Key]:
        """Return a table's foreign keys that name rows of tables that are there."""

    def row_number(self, name: str, /) -> str | None:
        """Return the name of a number by which rows can be told apart, if there is one."""

    def can_look_through(self, name: str, /) -> bool:
        """Tell whether rows of a table can be found without the help of an index."""


class Schema:
    """The tables of one database; names are matched as the database itself does."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue, self._names = catalogue, frozenset(catalogue.names())
        # Methods of their own cache, so that each table is looked at once.
        self.columns = cache(catalogue.columns)
        self.rows = cache(self._rows)
        self._indexes = cache(self._read_indexes)
        self._referring = self._read_keys()

    def has(self, name: str, columns: Iterable[str] = ()) -> bool:
        """Tell whether a table is there, with all the given columns."""
        return name in self._names and set(columns) <= set(self.columns(name))

    def referring(self, name: str) -> Sequence[Key]:
        """Return every foreign key that names rows of a table."""
        return self._referring.get(name, ())

    def is_indexed(self, name: str, columns: Iterable[str], known: Iterable[str] = ()) -> bool:
        """Tell whether rows can be found by these columns, `known` ones helping, without a scan."""
        wanted, given = set(columns), {*columns, *known}
        return any(wanted <= set(_leading(index, given)) for index in self._indexes(name))

    def can_look_through(self, name: str) -> bool:
        """Tell whether rows of a table can be found without the help of an index."""
        return self._catalogue.can_look_through(name)

    def row_number(self, name: str) -> str | None:
        """Return the name of a number by which rows can be told apart, if there is one."""
        return self._catalogue.row_number(name)

    def _rows(self, name: str) -> TableClause:
        """Return a table for use in statements; nothing is known of types, nothing converted."""
        number = self.row_number(name)
        columns = [*self.columns(name), *([number] if number else [])]
        return table(name, *(column(item) for item in columns))

    def _read_indexes(self, name: str) -> Sequence[Index]:
        return (self._catalogue.primary_key(name), *self._catalogue.indexes(name))

    def _read_keys(self) -> Mapping[str, Sequence[Key]]:
        found: dict[str, list[Key]] = defaultdict(list)
        for name in self._catalogue.names():
            for key in self._catalogue.keys(name):
                found[key.parent].append(key)
        return found


def _leading(index: Iterable[str | None], given: set[str]) -> Iterator[str]:
    """Return an index's columns up to the first one that is not given."""
    for item in index:
        if item is None or item not in given:
            return
        yield item
