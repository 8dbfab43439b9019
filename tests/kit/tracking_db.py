"""Tracking databases with the real tables of MLflow's releases, and rows for them."""

from __future__ import annotations

import functools
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

SCHEMAS = Path(__file__).parent / "schemas"

REVISIONS = {
    "1.27": "bd07f7e963c5",
    "1.28": "cc1f77228345",
    "2.0": "97727af70f4d",
    "2.10": "acf3f17fdcc7",
    "2.14": "5b0e9adcef9c",
    "2.22": "0584bdc529eb",
    "3.0": "6953534de441",
    "3.5": "bf29a5ff90ea",
    "3.10": "1b5f0d9ad7c1",
    "3.14": "b7e4c1a90f23",
    "3.17": "dc11669786a5",
}
"""The newest schema revision of each release that changed something here."""

NEWEST = "3.17"

Value = str | bytes | int | None


def run_id(number: int) -> str:
    """Return the id of an invented run, in the form that MLflow gives them."""
    return f"{number:032x}"


@functools.cache
def _empty(version: str) -> bytes:
    """Make a release's database once for each test process."""
    script = (SCHEMAS / f"{REVISIONS[version]}.sql").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "mlflow.db")
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)
        return path.read_bytes()


@dataclass(frozen=True)
class TrackingFile:
    """One SQLite tracking database, written to as another process would: a connection a change."""

    path: Path

    @classmethod
    def make(cls, path: Path, version: str = NEWEST, *, wal: bool = False) -> TrackingFile:
        """Make an empty database of an MLflow release, with experiment 0 as MLflow makes it."""
        path.write_bytes(_empty(version))
        if wal:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
        made = cls(path)
        made.experiment("0", "mlflow-artifacts:/0")
        return made

    @property
    def uri(self) -> str:
        """The backend store URI."""
        return f"sqlite:///{self.path}"

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Open, commit what is done inside, and close; no CHECK constraint stands in the way."""
        with closing(sqlite3.connect(self.path, timeout=30)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute("PRAGMA synchronous = OFF")
            with connection:
                yield connection

    def execute(self, query: str, *values: Value) -> list[tuple[Value, ...]]:
        """Execute one statement and commit."""
        with self.connection() as connection:
            return connection.execute(query, values).fetchall()

    def define(self, *statements: str) -> None:
        """Make tables, or change them."""
        for statement in statements:
            self.execute(statement)

    def columns(self, name: str) -> list[Value]:
        """List the columns of a table; none: there is no such table in this release."""
        return [row[1] for row in self.execute(f'PRAGMA table_info("{name}")')]

    def insert(self, name: str, /, **values: Value) -> None:
        """Insert a row, as far as this release's table has the columns."""
        known = self.columns(name)
        there = {key: value for key, value in values.items() if key in known}
        columns = ", ".join(f'"{key}"' for key in there)
        marks = ", ".join("?" * len(there))
        self.execute(f'INSERT INTO "{name}" ({columns}) VALUES ({marks})', *there.values())

    def experiment(
        self, id_: str, place: Value, *, stage: Value = "active", created_ms: int = 1_000
    ) -> str:
        """Add an experiment."""
        self.insert(
            "experiments",
            experiment_id=int(id_),
            name=f"experiment {id_}",
            artifact_location=place,
            lifecycle_stage=stage,
            creation_time=created_ms,
            last_update_time=created_ms,
        )
        return id_

    def run(
        self,
        id_: str | bytes,
        uri: Value | None = "",
        *,
        stage: Value = "active",
        **more: Value,
    ) -> str | bytes:
        """Add a run; its artifacts lie proxied in experiment 0 unless told otherwise."""
        values: dict[str, Value] = {
            "run_uuid": id_,
            "experiment_id": 0,
            "artifact_uri": f"mlflow-artifacts:/0/{id_!s}/artifacts" if uri == "" else uri,
            "lifecycle_stage": stage,
            "status": "FINISHED",
            "name": "telling name",
            "deleted_time": 2_000 if stage == "deleted" else None,
        }
        self.insert("runs", **{**values, **more})
        return id_

    def set_stage(self, id_: str, stage: str) -> None:
        """Delete or restore a run as MLflow does."""
        self.execute("UPDATE runs SET lifecycle_stage = ? WHERE run_uuid = ?", stage, id_)

    def drop_run(self, id_: str) -> None:
        """Remove a run's row."""
        self.execute("DELETE FROM runs WHERE run_uuid = ?", id_)

    def tag(self, id_: Value, key: Value, value: Value) -> None:
        """Tag a run."""
        self.insert("tags", run_uuid=id_, key=key, value=value)

    def tag_experiment(self, id_: Value, key: Value, value: Value) -> None:
        """Tag an experiment."""
        self.insert("experiment_tags", experiment_id=id_, key=key, value=value)

    def logged_model(self, id_: Value, place: Value, *, stage: Value = "active") -> None:
        """Add a logged model (since 3.0)."""
        self.insert(
            "logged_models",
            model_id=id_,
            experiment_id=0,
            name="telling model",
            artifact_location=place,
            creation_timestamp_ms=1,
            last_updated_timestamp_ms=1,
            status=2,
            lifecycle_stage=stage,
        )

    def version(self, name: str, number: int, source: Value, **more: Value) -> None:
        """Register a model version."""
        workspace = {"workspace": more["workspace"]} if "workspace" in more else {}
        known = "SELECT 1 FROM registered_models WHERE name = ?" + (
            " AND workspace = ?" if workspace else ""
        )
        if not self.execute(known, name, *workspace.values()):
            self.insert("registered_models", name=name, **workspace)
        values: dict[str, Value] = {"current_stage": "None", "source": source}
        self.insert("model_versions", name=name, version=number, **{**values, **more})

    def trace(self, id_: str, place: Value) -> None:
        """Add a trace with its artifact location (since 2.14)."""
        self.insert("trace_info", request_id=id_, experiment_id=0, timestamp_ms=1, status="OK")
        self.insert("trace_tags", request_id=id_, key="mlflow.artifactLocation", value=place)

    def dataset(self, id_: str, source: Value, *used_by: str, name: Value = "telling data") -> None:
        """Add a dataset with where it lies, and the runs that logged it as their input."""
        self.insert(
            "datasets",
            dataset_uuid=id_,
            experiment_id=0,
            name=name,
            digest=id_,
            dataset_source_type="local",
            dataset_source=source,
        )
        for run in used_by:
            self.insert(
                "inputs",
                input_uuid=f"{id_} {run}",
                source_type="DATASET",
                source_id=id_,
                destination_type="RUN",
                destination_id=run,
            )
