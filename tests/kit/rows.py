"""Tracking databases with a row of every kind in every table, made by looking at the schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mlflow_cleanup.act.metadata import Target, TargetKind
from mlflow_cleanup.model.database import Database
from tests.kit.tracking_db import NEWEST, TrackingFile, Value, run_id

Row = tuple[Value, ...]
Rows = dict[str, set[Row]]
"""The rows of every table."""

DELETED_MS = 5_000
_LEFT_EMPTY = frozenset({"alembic_version", "workspaces"})


@dataclass
class World:
    """What belongs together: one experiment, run, logged model, trace and all that hangs on them.

    `number` makes every value in it another one than in any other world. `rows` has what was
    inserted, by table.
    """

    number: int
    stage: str
    rows: dict[str, list[dict[str, Value]]] = field(default_factory=dict)

    @property
    def experiment(self) -> int:
        """The experiment's number."""
        return self.number * 100

    @property
    def run(self) -> str:
        """The run's id."""
        return run_id(self.number)

    @property
    def model(self) -> str:
        """The logged model's id."""
        return f"m-{self.run}"

    @property
    def trace(self) -> str:
        """The trace's id."""
        return f"tr-{self.run}"

    @property
    def job(self) -> str:
        """The job's id."""
        return f"job-{self.run}"

    def settled(self) -> dict[tuple[str, str], Value]:
        """Return the values that are not just any."""
        finished = 2 if self.stage == "deleted" else 1
        return {
            ("experiments", "experiment_id"): self.experiment,
            ("experiments", "lifecycle_stage"): self.stage,
            ("experiments", "last_update_time"): DELETED_MS,
            ("runs", "run_uuid"): self.run,
            ("runs", "lifecycle_stage"): self.stage,
            ("runs", "deleted_time"): DELETED_MS if self.stage == "deleted" else None,
            ("logged_models", "model_id"): self.model,
            ("logged_models", "lifecycle_stage"): self.stage,
            ("logged_models", "last_updated_timestamp_ms"): DELETED_MS,
            ("trace_info", "request_id"): self.trace,
            ("jobs", "id"): self.job,
            ("jobs", "status"): finished,
            ("assessments", "run_id"): self.run,
            ("model_versions", "run_id"): self.run,
            ("logged_models", "source_run_id"): self.run,
            ("review_queue_items", "item_type"): "trace",
            ("review_queue_items", "item_id"): self.trace,
            ("endpoint_bindings", "resource_type"): "scorer",
            **{(name, "experiment_id"): self.experiment for name in ROLLUPS},
        }


_TIMES = {
    TargetKind.RUN: ("runs", "deleted_time"),
    TargetKind.LOGGED_MODEL: ("logged_models", "last_updated_timestamp_ms"),
    TargetKind.EXPERIMENT: ("experiments", "last_update_time"),
}
ROLLUPS = (
    "sql_trace_metric_daily_rollups",
    "sql_span_cost_daily_rollups",
    "sql_assessment_daily_rollups",
    "sql_trace_rollup_rebuild_queue",
)


class Filled:
    """A tracking database in which worlds are filled in."""

    def __init__(self, path: Path, version: str = NEWEST) -> None:
        self.file = TrackingFile.make(path, version)
        self.file.execute("DELETE FROM experiments")
        with closing(sqlite3.connect(path)) as connection:
            self._tables = _tables(connection)
        self._order = [name for name in parents_first(self._tables) if name not in _LEFT_EMPTY]

    @property
    def path(self) -> str:
        """The SQLite file."""
        return str(self.file.path)

    @property
    def database(self) -> Database:
        """What it is called."""
        return Database.of_file(self.path)

    def has(self, name: str) -> bool:
        """Tell whether this release has a table."""
        return name in self._tables

    def world(self, number: int, stage: str, *, without: Iterable[str] = ()) -> World:
        """Fill in one row in each table, except `without`, and several where nothing has a key."""
        world = World(number, stage)
        left_out = set(without)
        with self.file.connection() as connection:
            for name in self._order:
                if name in left_out or self._lacks_parent(name, left_out):
                    left_out.add(name)
                    continue
                for values in self._special(name, world) or [{}]:
                    row = self._row(name, world, values)
                    world.rows.setdefault(name, []).append(row)
                    _insert(connection, name, row)
        return world

    def add(self, name: str, values: Mapping[str, Value], world: World) -> None:
        """Insert one more row of a world, with some values set."""
        with self.file.connection() as connection:
            _insert(connection, name, self._row(name, world, values))

    def target(self, kind: TargetKind, world: World) -> Target:
        """Return an entity of a world as it would be decided on now."""
        id_ = {
            TargetKind.RUN: world.run,
            TargetKind.LOGGED_MODEL: world.model,
            TargetKind.TRACE: world.trace,
            TargetKind.EXPERIMENT: str(world.experiment),
            TargetKind.JOB: world.job,
        }[kind]
        name, column = _TIMES.get(kind, ("", ""))
        rows = world.rows.get(name, [])
        at_ms = rows[0].get(column) if rows else None
        return Target(kind, id_, at_ms if isinstance(at_ms, int) else None)

    def targets(self, world: World) -> list[Target]:
        """Return every entity of a world, those first that others hang on."""
        return [self.target(kind, world) for kind in reversed(TargetKind)]

    def content(self) -> Rows:
        """Read everything."""
        return content_of(self.file.path)

    def broken_keys(self) -> list[Row]:
        """Let SQLite check every foreign key."""
        with closing(sqlite3.connect(self.file.path)) as connection:
            return connection.execute("PRAGMA foreign_key_check").fetchall()

    def release(self) -> None:
        """Let others have what is used again."""

    def _lacks_parent(self, name: str, left_out: set[str]) -> bool:
        return any(parent in left_out for _, parent, _ in self._tables[name].keys)

    def _row(self, name: str, world: World, values: Mapping[str, Value]) -> dict[str, Value]:
        settled = world.settled()
        shape = self._tables[name]
        row = {
            column: settled.get((name, column), self._any(name, column, type_, world.number))
            for column, type_ in shape.columns.items()
        }
        for column, parent, parent_column in shape.keys:
            row[column] = world.rows[parent][0][parent_column]
        if name == "endpoint_bindings":
            row["resource_id"] = world.rows["scorers"][0]["scorer_id"]
        return {**row, **values}

    def _any(self, name: str, column: str, type_: str, number: int) -> Value:
        """Make up a value that fits a column, another one for each world."""
        return _any_value(name, column, type_, number)

    def _special(self, name: str, world: World) -> list[dict[str, Value]]:
        """Return rows of the tables that name things without a key."""
        if name == "inputs":
            return [
                _input(world, "DATASET", _dataset(world), "RUN", world.run),
                *_inputs_of_models(world, self.has("logged_models")),
            ]
        if name == "input_tags":
            return [{"input_uuid": row["input_uuid"]} for row in world.rows["inputs"]]
        if name == "entity_associations":
            return [
                _association("trace", world.trace, "run", world.run),
                _association("evaluation_dataset", "d-1", "experiment", str(world.experiment)),
                _association("evaluation_dataset", f"d-{world.number}", "model", world.model),
            ]
        return []


@dataclass(frozen=True)
class Shape:
    """The columns of a table with their types, and what its foreign keys name."""

    columns: Mapping[str, str]
    keys: tuple[tuple[str, str, str], ...]


def content_of(path: Path) -> Rows:
    """Read every table of a database."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            name: set(connection.execute(f'SELECT * FROM "{name}"')) for name in _tables(connection)
        }


def difference(before: Rows, after: Rows) -> Rows:
    """Return what is in `before` and not in `after`, without the tables where that is nothing."""
    found = {name: rows - after[name] for name, rows in before.items()}
    return {name: rows for name, rows in found.items() if rows}


class Writes(Protocol):
    """A connection, as far as rows are inserted by it."""

    def execute(self, query: str, values: tuple[Value, ...], /) -> object:
        """Execute one statement."""


def _tables(connection: sqlite3.Connection) -> dict[str, Shape]:
    names = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        )
    ]
    return {name: _shape(connection, name) for name in names}


def _shape(connection: sqlite3.Connection, name: str) -> Shape:
    # What is generated is not listed there.
    columns = {row[1]: row[2] for row in connection.execute(f'PRAGMA table_info("{name}")')}
    keys = [
        (row[3], row[2], row[4])
        for row in connection.execute(f'PRAGMA foreign_key_list("{name}")')
        if row[2] != name
    ]
    return Shape(columns, tuple(keys))


def parents_first(tables: Mapping[str, Shape]) -> list[str]:
    """Return the tables in an order in which they can be filled."""
    ordered: list[str] = []
    # Without a key, and yet after what they name.
    last = ("inputs", "input_tags", "entity_associations", "endpoint_bindings", *ROLLUPS)
    waiting = [name for name in tables if name not in last] + [
        name for name in last if name in tables
    ]
    while waiting:
        for name in waiting:
            if all(parent in ordered for _, parent, _ in tables[name].keys):
                ordered.append(name)
                waiting.remove(name)
                break
    return ordered


def _any_value(name: str, column: str, type_: str, number: int) -> Value:
    kind = type_.partition("(")[0].upper()
    if kind in {"INTEGER", "BIGINT", "FLOAT"}:
        return number
    if kind == "BOOLEAN":
        return 0
    return f"{name} {column} {number}"


def _insert(connection: Writes, name: str, row: Mapping[str, Value]) -> None:
    columns = ", ".join(f'"{column}"' for column in row)
    marks = ", ".join("?" * len(row))
    connection.execute(f'INSERT INTO "{name}" ({columns}) VALUES ({marks})', tuple(row.values()))


def _dataset(world: World) -> Value:
    return world.rows["datasets"][0]["dataset_uuid"]


def _input(world: World, source: str, source_id: Value, to: str, to_id: Value) -> dict[str, Value]:
    return {
        "input_uuid": f"{source} {to} {world.number}",
        "source_type": source,
        "source_id": source_id,
        "destination_type": to,
        "destination_id": to_id,
    }


def _inputs_of_models(world: World, has_models: bool) -> list[dict[str, Value]]:
    if not has_models:
        return []
    return [
        _input(world, f"RUN_{way}", world.run, f"MODEL_{way}", world.model)
        for way in ("INPUT", "OUTPUT")
    ]


def _association(source: str, source_id: str, to: str, to_id: str) -> dict[str, Value]:
    return {
        "association_id": f"a-{source_id}-{to_id}"[-36:],
        "source_type": source,
        "source_id": source_id,
        "destination_type": to,
        "destination_id": to_id,
    }
