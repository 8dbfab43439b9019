"""Worlds to measure in: a tracking database with MLflow's own schema, and an artifact root."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.kit.machine import environment, say

FILE_BYTES = 1_000
_NOW_MS = 1_700_000_000_000
_TAGS = ("mlflow.runName", "mlflow.user", "mlflow.source.name", "mlflow.source.type")


class Lab:
    """A scratch directory; every world in it starts from one database that MLflow itself made."""

    def __init__(self, directory: Path, *, is_quick: bool) -> None:
        self.directory, self.is_quick = directory, is_quick
        self._worlds = 0

    @cached_property
    def schema(self) -> Path:
        """An empty tracking database of the installed MLflow."""
        path = self.directory / "schema.db"
        say("making a tracking database with MLflow")
        subprocess.run(
            [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{path}"],
            env=environment(),
            check=True,
            capture_output=True,
        )
        return path

    def world(
        self, runs: int, *, with_files: int = 0, files: int = 5, journal: str = "delete"
    ) -> World:
        """Make a world of active runs, the first of them with files; `journal` is SQLite's mode."""
        self._worlds += 1
        world = World(self.directory / f"world{self._worlds}", tuple(_run_ids(runs)))
        world.root.mkdir(parents=True)
        shutil.copy(self.schema, world.database)
        with closing(world.connect()) as connection:
            connection.execute(f"PRAGMA journal_mode = {journal}")
            with connection:
                _fill(connection, world)
        for run_id in world.run_ids[:with_files]:
            world.place(run_id).mkdir(parents=True)
            for number in range(files):
                (world.place(run_id) / f"file{number}").write_bytes(bytes(FILE_BYTES))
        return world


@dataclass(frozen=True, slots=True)
class World:
    """One tracking database with its artifact root; `remove` it when done."""

    directory: Path
    run_ids: tuple[str, ...]

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.directory / "mlflow.db"

    @property
    def root(self) -> Path:
        """The artifact root."""
        return self.directory / "mlartifacts"

    def place(self, run_id: str) -> Path:
        """Return a run's artifact directory."""
        return self.root / "1" / run_id / "artifacts"

    def connect(self) -> sqlite3.Connection:
        """Connect as MLflow does: it waits 20 s for a lock."""
        return sqlite3.connect(self.database, timeout=20.0)

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.directory)


def _run_ids(count: int) -> list[str]:
    same_every_time = random.Random(count)
    return [f"{same_every_time.getrandbits(128):032x}" for _ in range(count)]


def _fill(connection: sqlite3.Connection, world: World) -> None:
    connection.execute(
        "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, "
        "creation_time, last_update_time) "
        "VALUES (1, 'bench', 'mlflow-artifacts:/1', 'active', ?, ?)",
        (_NOW_MS, _NOW_MS),
    )
    connection.executemany(
        "INSERT INTO runs (run_uuid, name, source_type, source_name, user_id, status, start_time, "
        "end_time, lifecycle_stage, artifact_uri, experiment_id) "
        "VALUES (?, ?, 'LOCAL', 'train.py', 'ada', 'FINISHED', ?, ?, 'active', ?, 1)",
        [
            (run_id, f"run-{number}", _NOW_MS, _NOW_MS, f"mlflow-artifacts:/1/{run_id}/artifacts")
            for number, run_id in enumerate(world.run_ids)
        ],
    )
    connection.executemany(
        "INSERT INTO tags (key, value, run_uuid) VALUES (?, 'some value', ?)",
        [(tag, run_id) for run_id in world.run_ids for tag in _TAGS],
    )
