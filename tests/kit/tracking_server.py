"""Tracking databases on servers, written to as another process would: a connection a change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlflow_cleanup.config import database_of
from mlflow_cleanup.model.database import Database
from tests.kit.tracking_db import NEWEST, TrackingFile, Value


class Server(Protocol):
    """What a server for tests offers to make databases with."""

    def new_database(self, version: str | None = NEWEST) -> str:
        """Make a database and return its name."""
        ...

    def url(self, database: str) -> str:
        """Return its URI."""
        ...

    def connection(self, database: str) -> Any:  # noqa: ANN401 - a driver's connection
        """Connect to it."""
        ...


class _Connection:
    """Takes statements as SQLite does, with `?` for values and quotes around names."""

    def __init__(self, connection: Any, quote: str) -> None:  # noqa: ANN401 - a driver's
        self._connection, self._quote = connection, quote

    def execute(self, query: str, values: Sequence[Value] = ()) -> _Rows:
        """Execute one statement."""
        cursor = self._connection.cursor()
        cursor.execute(self._translated(query, values), tuple(values) or None)
        return _Rows(list(cursor.fetchall()) if cursor.description else [])

    def executemany(self, query: str, rows: Iterable[Sequence[Value]]) -> None:
        """Execute one statement for each row."""
        for values in rows:
            self.execute(query, values)

    def _translated(self, query: str, values: Sequence[Value]) -> str:
        named = re.sub(r'"(\w+)"', rf"{self._quote}\1{self._quote}", query)
        named = re.sub(
            r"\bkey\b(?![\w.`\"])(?=\s*(=|,|\)))", f"{self._quote}key{self._quote}", named
        )
        return named.replace("%", "%%").replace("?", "%s") if values else named


class _Rows(list[Any]):
    def fetchall(self) -> list[Any]:
        """Return all rows, as a cursor does."""
        return self


@dataclass(frozen=True)
class TrackingServer(TrackingFile):
    """One tracking database on a server; `path` is of no meaning."""

    server: Any = None
    name: str = ""

    @classmethod
    def on(cls, server: Server, version: str = NEWEST) -> TrackingServer:
        """Make an empty database of an MLflow release, with experiment 0 as MLflow makes it."""
        made = cls(Path("/nowhere"), server, server.new_database(version))
        if not made.uri.startswith("mysql"):
            made.execute("ALTER TABLE runs DROP CONSTRAINT runs_lifecycle_stage")
        made.experiment("0", "mlflow-artifacts:/0")
        return made

    @property
    def uri(self) -> str:
        """The backend store URI."""
        return str(self.server.url(self.name))

    @property
    def database(self) -> Database:
        """The same as settings have it."""
        return database_of(self.uri, "/")

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """Open, commit what is done inside, and close; no constraint stands in the way."""
        with closing(self.server.connection(self.name)) as connection:
            is_mysql = self.uri.startswith("mysql")
            made = _Connection(connection, "`" if is_mysql else '"')
            if is_mysql:
                made.execute("SET check_constraint_checks = 0, foreign_key_checks = 0")
                made.execute("SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO,STRICT_TRANS_TABLES'")
            else:
                made.execute("SET session_replication_role = replica")
            made.execute("BEGIN")
            yield made
            made.execute("COMMIT")

    def execute(self, query: str, *values: Value) -> list[tuple[Value, ...]]:
        """Execute one statement and commit."""
        with self.connection() as connection:
            return list(connection.execute(query, values))

    def columns(self, name: str) -> list[Value]:
        """List the columns of a table; none: there is no such table in this release."""
        schema = "database()" if self.uri.startswith("mysql") else "current_schema()"
        query = (
            "SELECT column_name FROM information_schema.columns "
            f"WHERE table_schema = {schema} AND table_name = ?"
        )
        return [row[0] for row in self.execute(query, name)]
