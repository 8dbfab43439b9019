"""Databases that MLflow makes, its own `gc` on them, and ours on the same ones."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from mlflow_cleanup.cli.app import app
from tests.kit.server import Tree, environment_of, tree_of

Row = tuple[Any, ...]
Rows = dict[str, set[Row]]
Step = tuple[str, str, dict[str, Any]]
"""A name, what is made (`Maker` in `mlflow_worker`), and of what: names stand for ids."""

_WORKER = Path(__file__).with_name("mlflow_worker.py")


class MLflow:
    """One process that has MLflow imported."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment_of(),
            text=True,
        )

    def ask(self, do: str, **values: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
        """Have one thing done; fails when it raised there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **values}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "failed" not in answer, answer["failed"]
        return answer

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(30)


@dataclass(frozen=True)
class State:
    """The rows of all tables, and everything on the disk but what is ours."""

    rows: Rows
    files: Tree


@dataclass(frozen=True)
class Done:
    """How a gc ended, what it said, and what it left."""

    code: int
    out: str
    after: State


@dataclass
class Ground:
    """A directory with a database that MLflow made, artifacts beside it, and both gcs."""

    home: Path
    mlflow: MLflow
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Path:
        """The tracking database."""
        return self.home / "mlflow.db"

    @property
    def root(self) -> Path:
        """The artifact root."""
        return self.home / "mlartifacts"

    @property
    def uri(self) -> str:
        """The backend store URI."""
        return f"sqlite:///{self.database}"

    def make(self, *steps: Step, workspace: str | None = None) -> None:
        """Have MLflow make things; their ids are taken down by their names."""
        told = [
            (
                name,
                verb,
                {k: self.ids.get(v, v) if isinstance(v, str) else v for k, v in given.items()},
            )
            for name, verb, given in steps
        ]
        answer = self.mlflow.ask(
            "make",
            database=self.uri,
            root=str(self.root),
            steps=told,
            workspace=workspace,
        )
        self.ids.update(answer["ids"])

    def sql(self, query: str, *values: object) -> list[Row]:
        """Execute one statement and commit."""
        with closing(sqlite3.connect(self.database, timeout=30)) as connection, connection:
            return connection.execute(query, values).fetchall()

    def place(self, name: str) -> Path:
        """Say where MLflow put a run's, model's or trace's artifacts."""
        id_ = self.ids[name]
        queries = (
            "SELECT artifact_uri FROM runs WHERE run_uuid = ?",
            "SELECT artifact_location FROM logged_models WHERE model_id = ?",
            "SELECT value FROM trace_tags "
            "WHERE request_id = ? AND \"key\" = 'mlflow.artifactLocation'",
        )
        (found,) = (rows[0][0] for query in queries if (rows := self.sql(query, id_)))
        return Path(str(found).removeprefix("file://"))

    def write(self, name: str, *files: str) -> None:
        """Write files of ten bytes where something has its artifacts."""
        for file in files or ("model.bin",):
            path = self.place(name) / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * 10)

    def has(self, name: str) -> bool:
        """Tell whether the row of a run, model, trace, experiment or job is there."""
        return self.ids[name] in _ids(self.state().rows)

    def state(self) -> State:
        """Read everything."""
        files = {
            name: content
            for name, content in tree_of(self.home).items()
            if ".mlflow-cleanup" not in name and not name.startswith("mlflow.db")
        }
        return State(rows_of(self.database), files)

    def save(self, aside: Path) -> None:
        """Copy everything aside."""
        shutil.copytree(self.home, aside, symlinks=True)

    def load(self, aside: Path) -> None:
        """Put everything back as it was."""
        self.mlflow.ask("forget")
        shutil.rmtree(self.home)
        shutil.copytree(aside, self.home, symlinks=True)

    def theirs(
        self,
        *words: str,
        environment: Mapping[str, str] | None = None,
        tracked: bool = True,
        meanwhile: str | None = None,
    ) -> Done:
        """Run `mlflow gc`; `meanwhile` is executed when the first artifacts are gone."""
        uris = ["--backend-store-uri", self.uri]
        uris += ["--tracking-uri", self.uri] if tracked else []
        said = self.mlflow.ask(
            "gc",
            directory=str(self.home),
            words=[*uris, *words],
            environment=dict(environment or {}),
            meanwhile=meanwhile and {"database": str(self.database), "query": meanwhile},
        )
        self.mlflow.ask("forget")
        return Done(said["code"], f"{said['out']}\n{said['error']}", self.state())

    def ours(self, *words: str, environment: Mapping[str, str] | None = None) -> Done:
        """Run `mlflow-cleanup gc` with the same words."""
        before = os.getcwd()
        os.chdir(self.home)
        try:
            said = CliRunner().invoke(
                app,
                ["gc", "--backend-store-uri", self.uri, *words],
                env=dict(environment or {}),
                prog_name="mlflow-cleanup",
            )
        finally:
            os.chdir(before)
        return Done(said.exit_code, said.output, self.state())

    def both(
        self, *words: str, aside: Path, environment: Mapping[str, str] | None = None
    ) -> tuple[Done, Done]:
        """Run both on the same, one after the other; ours is what stays."""
        self.save(aside)
        theirs = self.theirs(*words, environment=environment)
        self.load(aside)
        return theirs, self.ours(*words, environment=environment)


def rows_of(database: Path) -> Rows:
    """Read the rows of every table."""
    with closing(sqlite3.connect(database)) as connection:
        names = [
            str(name)
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {name: set(connection.execute(f'SELECT * FROM "{name}"')) for name in names}


def _ids(rows: Rows) -> set[str]:
    names = ("runs", "experiments", "logged_models", "trace_info", "jobs")
    return {str(row[0]) for name in names for row in rows[name]}


def difference(before: Rows, after: Rows) -> Rows:
    """Return what is in the one and not in the other, without the tables where that is nothing."""
    found = {name: rows - after.get(name, set()) for name, rows in before.items()}
    return {name: rows for name, rows in found.items() if rows}


def template(directory: Path, mlflow: MLflow) -> Path:
    """Have MLflow make an empty database."""
    ground = Ground(directory, mlflow)
    directory.mkdir(parents=True, exist_ok=True)
    ground.make()
    mlflow.ask("forget")
    return ground.database


def ground_at(home: Path, mlflow: MLflow, empty: Path) -> Ground:
    """Make a ground with a copy of the empty database."""
    home.mkdir(parents=True)
    shutil.copyfile(empty, home / "mlflow.db")
    made = Ground(home, mlflow, {"default": "0"})
    made.sql("UPDATE experiments SET artifact_location = ?", str(made.root / "0"))
    return made


def step(name: str, verb: str, /, **given: Any) -> Step:  # noqa: ANN401 - JSON values
    """Write one step."""
    return name, verb, given
