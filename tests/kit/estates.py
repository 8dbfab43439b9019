"""Rows as MLflow's releases write them, and the files beside them.

Read in their sources or on their servers. Whatever takes rows can be filled, so a test says by that
where its database is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from tests.kit.tracking_db import Value, run_id

LIVE_BYTES = 100_000
"""The size of what is in use, so that no plan takes most of a root."""

USER = "ann"


class Tables(Protocol):
    """A tracking database that rows can be written to, wherever it is."""

    def insert(self, name: str, /, **values: Value) -> None:
        """Insert a row, as far as this release's table has the columns."""


class Fate(Enum):
    """What has to become of an entity's files."""

    LIVE = "in use"
    GOES = "deleted, and nobody wants it"
    STAYS = "deleted, and somebody wants it"
    SOFT = "live, but its run was deleted"
    ORPHAN = "no row knows it"


@dataclass(frozen=True)
class Thing:
    """One entity, where its files are, and what has to become of them; `key` names its row."""

    id: str
    place: Path
    fate: Fate
    key: tuple[str, str] | None = None


@dataclass
class Estate:
    """One release's database and artifacts; `things` by telling names."""

    db: Tables
    root: Path
    version: str
    at_s: float
    things: dict[str, Thing] = field(default_factory=dict)
    elsewhere: dict[str, tuple[str, Path]] = field(default_factory=dict)
    """The locations, and the directories, of experiments that are not where most are."""
    _runs: int = 0
    _others: int = 0

    def since(self, version: str) -> bool:
        """Tell whether this release is that one or a later one."""
        return _number(self.version) >= _number(version)

    def of(self, *fates: Fate) -> set[str]:
        """Return the ids of what has one of these fates."""
        return {thing.id for thing in self.things.values() if thing.fate in fates}

    def rows_of(self, *fates: Fate) -> Iterator[tuple[Thing, tuple[str, str]]]:
        """Yield what has one of these fates and a row of its own, with where that is."""
        for thing in self.things.values():
            if thing.fate in fates and thing.key is not None:
                yield thing, thing.key

    def id(self, name: str) -> str:
        """Return an entity's id."""
        return self.things[name].id

    @property
    def at_ms(self) -> int:
        """When everything happened."""
        return int(self.at_s * 1_000)

    # Rows as the releases write them.

    def experiment(self, id_: str, stage: str = "active", **more: Value) -> None:
        """Add an experiment."""
        values: dict[str, Value] = {
            "experiment_id": int(id_),
            "name": "Default" if id_ == "0" else f"experiment {id_}",
            "artifact_location": self.location(id_),
            "lifecycle_stage": stage,
            "creation_time": self.at_ms,
            "last_update_time": self.at_ms,
        }
        self.db.insert("experiments", **{**values, **more})

    def run(
        self, name: str, fate: Fate, experiment: str = "0", *, stage: str = "", **more: Value
    ) -> str:
        """Add a run with its tags, metrics and params, and its files."""
        self._runs += 1
        id_ = run_id(0xA0000 + self._runs)
        stage = stage or ("active" if fate is Fate.LIVE else "deleted")
        location = self.location(experiment)
        values: dict[str, Value] = {
            "run_uuid": id_,
            # The name was a tag alone before 1.30.
            "name": name if self.since("2.0") else "",
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "user_id": USER,
            "status": "FINISHED",
            "start_time": self.at_ms,
            "end_time": self.at_ms,
            "source_version": "",
            "lifecycle_stage": stage,
            "artifact_uri": f"{location}/{id_}/artifacts",
            "experiment_id": int(experiment),
            "deleted_time": self.at_ms if stage == "deleted" else None,
        }
        self.db.insert("runs", **{**values, **more})
        self._details(id_, name)
        place = self.directory(experiment) / id_ / "artifacts"
        self.keep(name, Thing(id_, place, fate, ("runs", "run_uuid")), "model/MLmodel")
        return id_

    def tag(self, id_: str, key: str, value: str) -> None:
        """Tag a run."""
        self.db.insert("tags", key=key, value=value, run_uuid=id_)

    def model(self, name: str, **more: Value) -> None:
        """Register a model."""
        times = {"creation_time": self.at_ms, "last_updated_time": self.at_ms}
        self.db.insert("registered_models", name=name, description="", **times, **more)

    def model_version(self, name: str, number: int, source: str, **more: Value) -> None:
        """Register a version, with the storage location that releases from 2.10 on write."""
        values: dict[str, Value] = {
            "name": name,
            "version": number,
            "creation_time": self.at_ms,
            "last_updated_time": self.at_ms,
            "description": "",
            "user_id": None,
            "current_stage": "None",
            "source": source,
            "run_id": "",
            "status": "READY",
            "status_message": None,
            "run_link": "",
            "storage_location": source,
        }
        self.db.insert("model_versions", **{**values, **more})

    def logged_model(
        self, name: str, fate: Fate, run: str | None, experiment: str = "0", *, stage: str = ""
    ) -> str:
        """Add a logged model with its params, tags and metrics, and its files."""
        self._others += 1
        id_ = f"m-{run_id(0xB0000 + self._others)}"
        self.db.insert(
            "logged_models",
            model_id=id_,
            experiment_id=int(experiment),
            name=name,
            artifact_location=f"{self.location(experiment)}/models/{id_}/artifacts",
            creation_timestamp_ms=self.at_ms,
            last_updated_timestamp_ms=self.at_ms,
            status=2,
            lifecycle_stage=stage or ("deleted" if fate is Fate.GOES else "active"),
            model_type="",
            source_run_id=run,
            status_message=None,
        )
        of: dict[str, Value] = {"model_id": id_, "experiment_id": int(experiment)}
        self.db.insert("logged_model_params", **of, param_key="depth", param_value="3")
        self.db.insert("logged_model_tags", **of, tag_key="mlflow.user", tag_value=USER)
        place = self.directory(experiment) / "models" / id_ / "artifacts"
        self.keep(name, Thing(id_, place, fate, ("logged_models", "model_id")), "MLmodel")
        return id_

    def trace(
        self, name: str, fate: Fate, run: str, experiment: str = "0", *, has_row: bool = True
    ) -> str:
        """Add a trace with its tags and metadata, and its files."""
        self._others += 1
        # MLflow 3 writes `tr-` before it.
        id_ = f"{'tr-' if self.since('3.0') else ''}{run_id(0xC0000 + self._others)}"
        if has_row:
            self._trace_rows(id_, run, experiment)
        place = self.directory(experiment) / "traces" / id_ / "artifacts"
        key = ("trace_info", "request_id") if has_row else None
        self.keep(name, Thing(id_, place, fate, key), "traces.json")
        return id_

    def keep(self, name: str, thing: Thing, file: str) -> None:
        """Take an entity down, and write its file, long ago."""
        self.things[name] = thing
        path = thing.place / file
        path.parent.mkdir(parents=True)
        path.write_bytes(os.urandom(LIVE_BYTES if thing.fate is Fate.LIVE else 1_000))
        while path != self.root:
            os.utime(path, (self.at_s, self.at_s))
            path = path.parent

    def location(self, experiment: str) -> str:
        """Return an experiment's location: a path as of a server that serves none, until 1.28."""
        if experiment in self.elsewhere:
            return self.elsewhere[experiment][0]
        if self.since("2.0"):
            return f"mlflow-artifacts:/{experiment}"
        return str(self.directory(experiment))

    def directory(self, experiment: str) -> Path:
        """Return an experiment's directory."""
        if experiment in self.elsewhere:
            return self.elsewhere[experiment][1]
        return self.root / experiment

    def _details(self, id_: str, name: str) -> None:
        self.tag(id_, "mlflow.runName", name)
        self.tag(id_, "mlflow.user", USER)
        point = {"value": 0.5, "timestamp": self.at_ms, "step": 0, "is_nan": 0, "run_uuid": id_}
        for table in ("metrics", "latest_metrics"):
            self.db.insert(table, key="loss", **point)  # type: ignore[arg-type]
        self.db.insert("params", key="rate", value="0.1", run_uuid=id_)

    def _trace_rows(self, id_: str, run: str, experiment: str) -> None:
        place = f"{self.location(experiment)}/traces/{id_}/artifacts"
        self.db.insert(
            "trace_info",
            request_id=id_,
            experiment_id=int(experiment),
            timestamp_ms=self.at_ms,
            execution_time_ms=5,
            status="OK",
        )
        for key, value in (("mlflow.artifactLocation", place), ("mlflow.traceName", "predict")):
            self.db.insert("trace_tags", request_id=id_, key=key, value=value)
        for key, value in (("mlflow.sourceRun", run), ("mlflow.user", USER)):
            self.db.insert("trace_request_metadata", request_id=id_, key=key, value=value)
        if self.since("3.5"):
            self._span(id_, experiment)

    def _span(self, trace: str, experiment: str) -> None:
        times = {"start_time_unix_nano": 1_000_000, "end_time_unix_nano": 2_000_000}
        self.db.insert(
            "spans",
            trace_id=trace,
            experiment_id=int(experiment),
            span_id="1",
            parent_span_id=None,
            name="predict",
            type="CHAIN",
            status="OK",
            content="{}",
            **times,
        )


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
