"""How an SQLite database says that it is made, and what hangs on what there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from mlflow_cleanup.act.metadata.graph import Graph, graphs_of
from mlflow_cleanup.act.metadata.schema import Schema
from mlflow_cleanup.act.metadata.sqlite.catalogue import SQLiteCatalogue
from mlflow_cleanup.act.metadata.targets import TargetKind


@dataclass(frozen=True, slots=True)
class Definition:
    """How a database says that it is made: the text of its tables and indexes."""

    version: int
    tables: tuple[str, ...]
    indexes: tuple[str, ...]

    def is_same(self, other: Definition) -> bool:
        """Tell whether the tables are the same; the number changes with a VACUUM as well."""
        return (self.tables, self.indexes) == (other.tables, other.indexes)

    @contextmanager
    def copied(self) -> Iterator[Connection]:
        """Make an empty database like it, in memory, so that looking at it locks nothing.

        That takes hundreds of statements, and SQLite lets nobody commit beside a reader.
        """
        engine = create_engine("sqlite://", poolclass=NullPool)
        with engine.connect() as copy:
            for statement in self.tables:
                copy.exec_driver_sql(statement)
            for statement in self.indexes:
                # One that cannot be made here, for want of a collation, is of no use to us either.
                with suppress(DBAPIError):
                    copy.exec_driver_sql(statement)
            yield copy
        engine.dispose()


@lru_cache(maxsize=1)
def graphs_in(definition: Definition) -> Mapping[TargetKind, Graph]:
    """Find what hangs on each kind of entity, as far as its table is there.

    A collection asks page by page, and finding it takes longer than removing a page.
    """
    with definition.copied() as copy:
        return graphs_of(Schema(SQLiteCatalogue(copy)))
