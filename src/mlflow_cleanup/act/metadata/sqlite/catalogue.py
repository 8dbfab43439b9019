"""What SQLite says of its tables."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from sqlalchemy import Connection, column, inspect, select, table
from sqlalchemy.exc import OperationalError, SAWarning

from mlflow_cleanup.act.metadata.schema import Index, Key

ROW_NUMBER = "rowid"
"""SQLite's own number of a row, in every table that has not been made without."""


class SQLiteCatalogue:
    """The tables of an SQLite database."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._inspector = connection, inspect(connection)
        self._names = {name.lower(): name for name in self._inspector.get_table_names()}
        self.row_number = cache(self._row_number)

    def names(self) -> Sequence[str]:
        """Name the tables."""
        return list(self._names.values())

    def columns(self, name: str) -> Mapping[str, bool]:
        """Return a table's columns, and whether each may be NULL."""
        return {item["name"]: item["nullable"] for item in self._inspector.get_columns(name)}

    def primary_key(self, name: str) -> tuple[str, ...]:
        """Return the columns of a table's primary key, in its order."""
        return tuple(self._inspector.get_pk_constraint(name)["constrained_columns"])

    def indexes(self, name: str) -> Sequence[Index]:
        """Return the indexes that find every row of a table."""
        with warnings.catch_warnings():
            # An index of expressions is of no use here, and no reason to tell anybody.
            warnings.simplefilter("ignore", SAWarning)
            return self._indexes_of(name)

    def can_look_through(self, name: str) -> bool:
        """Tell whether rows have a number by which a scan can go on where it stopped."""
        return self.row_number(name) is not None

    def _row_number(self, name: str) -> str | None:
        # A column of that name hides the number.
        if any(item.lower() == ROW_NUMBER for item in self.columns(name)):
            return None
        numbered = table(name, column(ROW_NUMBER))
        try:
            self._connection.execute(select(numbered.c[ROW_NUMBER]).limit(0))
        except OperationalError:
            return None  # made WITHOUT ROWID
        return ROW_NUMBER

    def _indexes_of(self, name: str) -> Sequence[Index]:
        found: list[Index] = []
        for unique in self._inspector.get_unique_constraints(name):
            found.append(tuple(unique["column_names"]))
        for index in self._inspector.get_indexes(name):
            # A partial index finds only some of the rows.
            if not any(key.endswith("_where") for key in index.get("dialect_options", {})):
                found.append(tuple(index["column_names"]))
        return found

    def keys(self, name: str) -> Iterator[Key]:
        """Ask SQLite itself for a table's foreign keys.

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
