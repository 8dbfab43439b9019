"""`Ground` with its database on a server."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kit.mlflow_gc import Ground, MLflow, Row, State
from tests.kit.served import Server, Talk, hashable
from tests.kit.server import tree_of
from tests.kit.servers.postgresql import PostgreSQL


@dataclass
class ServedGround(Ground):
    """A directory with artifacts, and a database that MLflow made on a server."""

    server: Server = field(kw_only=True)
    name: str = field(kw_only=True)

    @classmethod
    def at(cls, home: Path, mlflow: MLflow, server: Server) -> ServedGround:
        """Make one; MLflow takes the tables for its own."""
        home.mkdir(parents=True)
        made = cls(home, mlflow, server=server, name=server.new_database())
        made.make()
        return made

    @property
    def uri(self) -> str:
        """The backend store URI, with the driver that is here."""
        return self.server.url(self.name).replace("postgresql:", "postgresql+psycopg:")

    def sql(self, query: str, *values: object) -> list[Row]:
        """Execute one statement and commit."""
        with closing(self.server.connection(self.name)) as connection:
            return Talk(connection).execute(query, values).fetchall()  # type: ignore[arg-type]

    def state(self) -> State:
        """Read everything."""
        files = {
            name: content
            for name, content in tree_of(self.home).items()
            if ".mlflow-cleanup" not in name
        }
        rows = {name: {hashable(row) for row in found} for name, found in self._content().items()}
        return State(rows, files)

    def save(self, aside: Path) -> None:
        """Copy everything aside."""
        shutil.copytree(self.home, aside, symlinks=True)
        self._copy(self.name, f"{self.name}_aside")

    def load(self, aside: Path) -> None:
        """Put everything back as it was."""
        self.mlflow.ask("forget")
        shutil.rmtree(self.home)
        shutil.copytree(aside, self.home, symlinks=True)
        self._drop(self.name)
        self._copy(f"{self.name}_aside", self.name)

    def _content(self) -> dict[str, Sequence[Any]]:
        return {name: self.sql(f'SELECT * FROM "{name}"') for name in self._tables(self.name)}

    def _tables(self, database: str) -> list[str]:
        schema = "'public'" if isinstance(self.server, PostgreSQL) else f"'{database}'"
        found = self.server.execute(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema = {schema}",
            database,
        )
        return [str(name) for (name,) in found]

    def _copy(self, source: str, target: str) -> None:
        if isinstance(self.server, PostgreSQL):
            self.mlflow.ask("forget")
            self.server.execute(f"CREATE DATABASE {target} TEMPLATE {source}")
            return
        self.server.execute(f"CREATE DATABASE {target}")
        for name in self._tables(source):
            ((_, definition),) = self.server.execute(f"SHOW CREATE TABLE `{name}`", source)
            self.server.execute(f"SET foreign_key_checks = 0; {definition}", target)
            if self.server.execute(f"SELECT 1 FROM {source}.`{name}` LIMIT 1"):
                self.server.execute(
                    "SET foreign_key_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO'; "
                    f"INSERT INTO {target}.`{name}` SELECT * FROM {source}.`{name}`"
                )

    def _drop(self, name: str) -> None:
        force = " WITH (FORCE)" if isinstance(self.server, PostgreSQL) else ""
        self.server.execute(f"DROP DATABASE {name}{force}")
