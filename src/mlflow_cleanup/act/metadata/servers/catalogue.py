"""What a server says of its tables, asked for all of them at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SAWarning

from mlflow_cleanup.act.metadata.schema import Index, Key


class ServerCatalogue:
    """The tables that a connection sees without naming a schema, as they were when it asked."""

    def __init__(self, connection: Connection) -> None:
        inspector = inspect(connection)
        with warnings.catch_warnings():
            # An index of expressions is of no use here, and no reason to tell anybody.
            warnings.simplefilter("ignore", SAWarning)
            self._columns = _by_name(inspector.get_multi_columns())
            self._primary = _by_name(inspector.get_multi_pk_constraint())
            self._indexes = _by_name(inspector.get_multi_indexes())
            self._unique = _by_name(inspector.get_multi_unique_constraints())
            self._keys = _by_name(inspector.get_multi_foreign_keys())

    def names(self) -> Sequence[str]:
        """Name the tables."""
        return list(self._columns)

    def columns(self, name: str) -> Mapping[str, bool]:
        """Return a table's columns, and whether each may be NULL."""
        return {item["name"]: item["nullable"] for item in self._columns[name]}

    def primary_key(self, name: str) -> tuple[str, ...]:
        """Return the columns of a table's primary key, in its order."""
        found = self._primary.get(name)
        return tuple(found["constrained_columns"]) if found else ()

    def indexes(self, name: str) -> Iterator[Index]:
        """Return the indexes that find every row of a table."""
        for unique in self._unique.get(name) or ():
            yield tuple(unique["column_names"])
        for index in self._indexes.get(name) or ():
            # A partial index finds only some of the rows.
            if not any(key.endswith("_where") for key in index.get("dialect_options", {})):
                yield tuple(index["column_names"])

    def keys(self, name: str) -> Iterator[Key]:
        """Return a table's foreign keys that name rows of tables that are there."""
        for key in self._keys.get(name) or ():
            if key["referred_table"] in self._columns:
                yield Key(
                    table=name,
                    columns=tuple(key["constrained_columns"]),
                    parent=key["referred_table"],
                    parent_columns=tuple(key["referred_columns"]),
                    on_delete=str(key["options"].get("ondelete", "")).upper(),
                )

    def row_number(self, _name: str) -> None:
        """Rows have no number of their own that stays theirs."""

    def can_look_through(self, _name: str) -> bool:
        """Others go on writing while a table is gone through."""
        return True


def _by_name(found: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: value for (_, name), value in found.items()}
