"""Tracking databases on servers, with the same rows as `Filled` makes in SQLite ones."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import inspect

from mlflow_cleanup.backends.servers import engine_of
from mlflow_cleanup.model.database import MYSQL, POSTGRESQL, Database
from tests.kit.rows import Filled, Row, Rows, Shape, parents_first
from tests.kit.servers.mariadb import MariaDB
from tests.kit.servers.postgresql import PostgreSQL
from tests.kit.tracking_db import NEWEST, TrackingFile, Value

Server = PostgreSQL | MariaDB
_Keys = dict[str, Any]

_DEFINES = re.compile(r"\s*(CREATE|ALTER|DROP)\b", re.IGNORECASE)
_KEPT = frozenset({"alembic_version", "workspaces"})
_AS_SQLITE = (
    "SET check_constraint_checks = 0, sql_mode = concat(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')"
)
_NO_CHECKS = """
DO $$ DECLARE one record; BEGIN
FOR one IN SELECT conrelid::regclass AS t, conname AS c FROM pg_constraint
  WHERE contype = 'c' AND connamespace = 'public'::regnamespace LOOP
  EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.t, one.c);
END LOOP; END $$
"""


@dataclass(frozen=True)
class ServedFile(TrackingFile):
    """One tracking database on a server, written to as another client would."""

    server: Server
    name: str

    @property
    def kind(self) -> str:
        """The kind of database."""
        return POSTGRESQL if isinstance(self.server, PostgreSQL) else MYSQL

    @property
    def database(self) -> Database:
        """What it is called, and how it is reached."""
        name = f"{self.kind}://127.0.0.1:{self.server.port}/{self.name}"
        return Database(name, self.kind, self.server.url(self.name))

    @property
    def uri(self) -> str:
        """The backend store URI."""
        return self.server.url(self.name)

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """Open, commit what is done inside, and close; it takes SQLite's marks for values."""
        with closing(self.server.connection(self.name)) as connection:
            begin, set_up = ("BEGIN", None)
            if isinstance(self.server, MariaDB):
                begin, set_up = "START TRANSACTION", _AS_SQLITE
            talk = Talk(connection)
            if set_up:
                talk.execute(set_up)
            talk.execute(begin)
            try:
                yield talk
            except BaseException:
                talk.execute("ROLLBACK")
                raise
            talk.execute("COMMIT")

    def execute(self, query: str, *values: Value) -> list[tuple[Value, ...]]:
        """Execute one statement and commit."""
        if _DEFINES.match(query):
            DEFINED.add(self.name)
        with self.connection() as connection:
            return connection.execute(query, values).fetchall()

    def columns(self, name: str) -> list[Value]:
        """List the columns of a table; none: there is no such table in this release."""
        schema = "current_schema()" if self.kind == POSTGRESQL else "database()"
        return [
            row[0]
            for row in self.execute(
                "SELECT column_name FROM information_schema.columns "
                f"WHERE table_schema = {schema} AND table_name = ?",
                name,
            )
        ]


class Talk:
    """A driver's connection that takes `?` and double quotes as SQLite does, whatever its own."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - of either driver
        self._connection, self._is_mysql = connection, hasattr(connection, "insert_id")

    def execute(self, query: str, values: Sequence[Value] | Mapping[str, Value] = ()) -> Found:
        """Execute one statement; `values` are those of `?` in their order, or of `:name`."""
        if isinstance(values, Mapping):
            names = re.findall(r":(\w+)", query)
            query, values = re.sub(r":\w+", "?", query), [values[name] for name in names]
        written = query.replace("%", "%%").replace("?", "%s") if values else query
        if self._is_mysql:
            written = re.sub(r'"(\w+)"', r"`\1`", written)
            cursor = self._connection.cursor()
            cursor.execute(written, tuple(values) or None)
        else:
            cursor = self._connection.execute(written, tuple(values) or None)
        return Found(list(cursor.fetchall()) if cursor.description else [])

    def executemany(self, query: str, rows: Iterable[Sequence[Value]]) -> None:
        """Execute one statement for each of many rows."""
        for row in rows:
            self.execute(query, row)


class Found:
    """The rows of a result."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def fetchall(self) -> list[Any]:
        """Return all of them."""
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the first one."""
        return self._rows[0] if self._rows else None


DEFINED: set[str] = set()
"""Databases whose tables were changed: they are not used again."""

_READ: dict[tuple[int, str], tuple[dict[str, Shape], _Keys]] = {}
"""What is known of the tables of a release on a server: reading it takes longer than most tests."""

_IDLE: dict[tuple[int, str], list[str]] = defaultdict(list)


class Served(Filled):
    """A tracking database on a server in which worlds are filled in."""

    def __init__(self, server: Server, version: str = NEWEST) -> None:
        self._key = (server.port, version)
        idle = _IDLE[self._key]
        name = idle.pop() if idle else _made(server, version)
        self.file = self.served = ServedFile(Path("nowhere"), server, name)
        if self._key not in _READ:
            _READ[self._key] = _shapes(self.served), _keys(self.served)
        self._tables, self._known_keys = _READ[self._key]
        self._order = [name for name in parents_first(self._tables) if name not in _KEPT]
        self._empty()

    def release(self) -> None:
        """Let another test have the database, which takes long to make."""
        if self.served.name not in DEFINED:
            _IDLE[self._key].append(self.served.name)

    @property
    def path(self) -> str:
        """There is no file."""
        raise AssertionError("a database on a server has no path")

    @property
    def database(self) -> Database:
        """What it is called, and how it is reached."""
        return self.served.database

    def content(self) -> Rows:
        """Read everything."""
        with self.served.connection() as connection:
            names = sorted({*self._tables, *self._added(connection)})
            return {
                name: {
                    hashable(row)
                    for row in connection.execute(f'SELECT * FROM "{name}"').fetchall()
                }
                for name in names
            }

    def broken_keys(self) -> list[Row]:
        """Look for rows whose foreign keys name nothing, whatever the server thinks of them."""
        is_as_made = self.served.name not in DEFINED
        every = self._known_keys if is_as_made else _keys(self.served)
        with self.served.connection() as talk:
            broken: list[Row] = []
            for name, keys in every.items():
                for key in keys:
                    broken += talk.execute(_dangling(name, key)).fetchall()
            return broken

    def _added(self, connection: Talk) -> list[str]:
        schema = "current_schema()" if self.served.kind == POSTGRESQL else "database()"
        query = f"SELECT table_name FROM information_schema.tables WHERE table_schema = {schema}"
        return [row[0] for row in connection.execute(query).fetchall()]

    def _empty(self) -> None:
        with self.served.connection() as connection:
            for name in reversed(self._order):
                connection.execute(f'DELETE FROM "{name}"')

    def _any(self, name: str, column: str, type_: str, number: int) -> Value:
        kind, _, length = type_.partition("(")
        if kind in {"boolean", "tinyint"}:
            return "false" if kind == "boolean" else 0
        if kind in {"json", "jsonb"}:
            return f"[{number}]"
        if kind == "date":
            return f"2026-01-{number % 28 + 1:02}"
        if kind in {
            "character varying",
            "varchar",
            "char",
            "text",
            "mediumtext",
            "longtext",
            "bytea",
            "blob",
            "longblob",
        }:
            text, most = f"{name} {column} {number}", int(length.rstrip(")") or 10_000)
            return text if len(text) <= most else f"{number} {column}"[:most]
        return number


def _made(server: Server, version: str) -> str:
    name = server.new_database(version)
    if isinstance(server, PostgreSQL):
        server.execute(_NO_CHECKS, name)
    return name


def hashable(row: Sequence[Any]) -> Row:
    """Return a row that can be in a set."""
    return tuple(repr(value) if isinstance(value, (list, dict)) else value for value in row)


def _shapes(file: ServedFile) -> dict[str, Shape]:
    """Read the tables; what is generated by the server is left out."""
    schema = "current_schema()" if file.kind == POSTGRESQL else "database()"
    columns: dict[str, dict[str, str]] = defaultdict(dict)
    for table, column, type_, length in file.execute(
        "SELECT table_name, column_name, data_type, character_maximum_length "
        f"FROM information_schema.columns WHERE table_schema = {schema} "
        "AND coalesce(generation_expression, '') = '' ORDER BY ordinal_position"
    ):
        columns[str(table)][str(column)] = f"{type_!s}({length!s})" if length else str(type_)
    keys = _keys(file)
    return {
        name: Shape(
            some,
            tuple(
                (mine, key["referred_table"], theirs)
                for key in keys.get(name, ())
                if key["referred_table"] != name
                for mine, theirs in zip(
                    key["constrained_columns"], key["referred_columns"], strict=True
                )
            ),
        )
        for name, some in columns.items()
    }


def _keys(file: ServedFile) -> _Keys:
    with engine_of(file.database).connect() as connection:
        every = inspect(connection).get_multi_foreign_keys()
        return {name: found for (_, name), found in every.items()}


def _dangling(name: str, key: Mapping[str, Any]) -> str:
    mine, theirs = key["constrained_columns"], key["referred_columns"]
    same = " AND ".join(f'p."{b}" = c."{a}"' for a, b in zip(mine, theirs, strict=True))
    filled = " AND ".join(f'c."{a}" IS NOT NULL' for a in mine)
    return (
        f'SELECT * FROM "{name}" c WHERE {filled} AND NOT EXISTS '
        f'(SELECT 1 FROM "{key["referred_table"]}" p WHERE {same})'
    )
