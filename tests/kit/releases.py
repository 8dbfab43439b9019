"""What an MLflow release leaves behind: its database with every entity it has, and their files.

The rows are those that the release itself writes, read in its source or on its server. Whatever
takes rows can be filled, so a test says by that where its database is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from tests.kit.tracking_db import Value, run_id

LIVE_BYTES = 100_000
"""The size of what is in use, so that no plan takes most of a root."""

USER = "ann"
DEAD, SECOND = "2", "3"
"""A deleted experiment, and one whose artifacts a user put into a directory of their own."""


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
    _runs: int = 0
    _others: int = 0

    def since(self, version: str) -> bool:
        """Tell whether this release is that one or a later one."""
        return _number(self.version) >= _number(version)

    def of(self, *fates: Fate) -> set[str]:
        """Return the ids of what has one of these fates."""
        return {thing.id for thing in self.things.values() if thing.fate in fates}

    def id(self, name: str) -> str:
        """Return an entity's id."""
        return self.things[name].id

    @property
    def at_ms(self) -> int:
        """When everything happened."""
        return int(self.at_s * 1_000)

    # Rows as the releases write them.

    def experiment(self, id_: str, location: str, stage: str = "active", **more: Value) -> None:
        """Add an experiment."""
        values: dict[str, Value] = {
            "experiment_id": int(id_),
            "name": "Default" if id_ == "0" else f"experiment {id_}",
            "artifact_location": location,
            "lifecycle_stage": stage,
            "creation_time": self.at_ms,
            "last_update_time": self.at_ms,
        }
        self.db.insert("experiments", **{**values, **more})

    def run(self, name: str, fate: Fate, experiment: str = "0", *, stage: str = "") -> str:
        """Add a run with its tags, metrics and params, and its files."""
        self._runs += 1
        id_ = run_id(0xA0000 + self._runs)
        stage = stage or ("active" if fate is Fate.LIVE else "deleted")
        location = self.location(experiment)
        self.db.insert(
            "runs",
            run_uuid=id_,
            # The name was a tag alone before 1.30.
            name=name if self.since("2.0") else "",
            source_type="UNKNOWN",
            source_name="",
            entry_point_name="",
            user_id=USER,
            status="FINISHED",
            start_time=self.at_ms,
            end_time=self.at_ms,
            source_version="",
            lifecycle_stage=stage,
            artifact_uri=f"{location}/{id_}/artifacts",
            experiment_id=int(experiment),
            deleted_time=self.at_ms if stage == "deleted" else None,
        )
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
        if experiment == SECOND:
            return f"file://{self.directory(experiment)}"
        if self.since("2.0"):
            return f"mlflow-artifacts:/{experiment}"
        return str(self.directory(experiment))

    def directory(self, experiment: str) -> Path:
        """Return an experiment's directory."""
        return self.root / ("of/a user" if experiment == SECOND else experiment)

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


def fill(db: Tables, root: Path, version: str, at_s: float) -> Estate:
    """Fill an empty database of a release, and an artifact root, as it was used until `at_s`."""
    estate = Estate(db, root, version, at_s)
    for since, build in _BUILDERS:
        if estate.since(since):
            build(estate)
    return estate


def _runs_and_versions(estate: Estate) -> None:
    """What every release since 1.27 has."""
    for id_, stage in (("0", "active"), (DEAD, "deleted"), (SECOND, "active")):
        estate.experiment(id_, estate.location(id_), stage)
        estate.db.insert("experiment_tags", key="team", value="one", experiment_id=int(id_))
    estate.run("live", Fate.LIVE)
    estate.run("deleted", Fate.GOES)
    parent = estate.run("deleted parent", Fate.GOES)
    child = estate.run("live child", Fate.LIVE)
    estate.tag(child, "mlflow.parentRunId", parent)
    child = estate.run("deleted child", Fate.GOES)
    estate.tag(child, "mlflow.parentRunId", estate.id("live"))
    estate.run("in a user's directory", Fate.GOES, SECOND)
    estate.run("live in a user's directory", Fate.LIVE, SECOND)
    estate.run("pinned", Fate.STAYS)
    estate.tag(estate.id("pinned"), "mlflow-cleanup.keep", "true")
    estate.run("in a deleted experiment", Fate.GOES, DEAD)
    _registered(estate)
    estate.keep(
        "lost", Thing(run_id(0xF), estate.root / "0" / run_id(0xF) / "artifacts", Fate.ORPHAN), "a"
    )


def _registered(estate: Estate) -> None:
    """Versions that protect runs: by a URI, as `runs:/`, and one that is deleted and does not."""
    estate.model("alpha")
    estate.db.insert("registered_model_tags", key="stage", value="x", name="alpha")
    by_uri = estate.run("source of a version", Fate.STAYS)
    uri = f"{estate.location('0')}/{by_uri}/artifacts/model"
    old = {"storage_location": None}  # of before 2.10, when the column came
    estate.model_version("alpha", 1, uri, run_id=by_uri, current_stage="Production", **old)
    by_run = estate.run("source by its id", Fate.STAYS)
    estate.model_version("alpha", 2, f"runs:/{by_run}/model", run_id=by_run)
    dropped = estate.run("source of a deleted version", Fate.GOES)
    gone = {"source": "REDACTED-SOURCE-PATH", "run_id": "REDACTED-RUN-ID"}
    place = f"{estate.location('0')}/{dropped}/artifacts/model"
    estate.model_version(
        "alpha",
        3,
        **{**gone, "current_stage": "Deleted_Internal", "storage_location": place},
    )


def _copies_and_datasets(estate: Estate) -> None:
    """Aliases, copies of versions, and the datasets that runs used (2.10)."""
    estate.db.insert("registered_model_aliases", name="alpha", alias="champion", version=1)
    copied = estate.run("source of a copied version", Fate.STAYS)
    uri = f"{estate.location('0')}/{copied}/artifacts/model"
    estate.model("beta")
    estate.model_version("beta", 1, "models:/gone from here/1", storage_location=uri)
    data = estate.run("data of a live run", Fate.STAYS)
    unused = estate.run("data of a deleted run", Fate.GOES)
    for source, used_by in ((data, "live"), (unused, "deleted")):
        _dataset(estate, f"file://{estate.root}/0/{source}/artifacts/model", used_by)


def _dataset(estate: Estate, uri: str, used_by: str) -> None:
    id_ = f"dataset of {used_by}"
    estate.db.insert(
        "datasets",
        dataset_uuid=id_,
        experiment_id=0,
        name=id_,
        digest=id_,
        dataset_source_type="local",
        dataset_source=f'{{"uri": "{uri}"}}',
        dataset_schema=None,
        dataset_profile=None,
    )
    input_uuid = f"input of {used_by}"
    ends = {"destination_type": "RUN", "destination_id": estate.id(used_by)}
    estate.db.insert("inputs", input_uuid=input_uuid, source_type="DATASET", source_id=id_, **ends)
    estate.db.insert("input_tags", input_uuid=input_uuid, name="mlflow.data.context", value="t")


def _traces(estate: Estate) -> None:
    """Traces (2.14): they are live as long as their experiment is, and go without a trace."""
    estate.trace("live trace", Fate.LIVE, estate.id("live"))
    estate.trace("trace of a deleted run", Fate.LIVE, estate.id("deleted"))
    of = estate.id("in a deleted experiment")
    estate.trace("trace in a deleted experiment", Fate.GOES, of, DEAD)
    estate.trace("deleted trace", Fate.ORPHAN, of, has_row=False)


def _logged_models(estate: Estate) -> None:
    """Logged models (3.0), which lie beside the runs."""
    estate.logged_model("live model", Fate.LIVE, estate.id("live"))
    estate.logged_model("deleted model", Fate.GOES, estate.id("live"))
    estate.logged_model("model of a deleted run", Fate.SOFT, estate.id("deleted"))
    of = estate.id("in a deleted experiment")
    estate.logged_model("model in a deleted experiment", Fate.GOES, of, DEAD, stage="active")
    used = estate.logged_model(
        "deleted model that is registered", Fate.STAYS, estate.id("live"), stage="deleted"
    )
    place = f"{estate.location('0')}/models/{used}/artifacts"
    estate.model_version("alpha", 4, f"models:/{used}", storage_location=place)
    estate.db.insert(
        "logged_model_metrics",
        model_id=estate.id("live model"),
        metric_name="loss",
        metric_timestamp_ms=estate.at_ms,
        metric_step=0,
        metric_value=0.5,  # type: ignore[arg-type]
        experiment_id=0,
        run_id=estate.id("live"),
        dataset_uuid=None,
        dataset_name=None,
        dataset_digest=None,
    )


def _jobs(estate: Estate) -> None:
    """Jobs (3.5): one that runs, and one that has ended."""
    for id_, status in (("running job", 1), ("finished job", 2)):
        estate.db.insert(
            "jobs",
            id=id_,
            creation_time=estate.at_ms,
            job_name="invoke",  # until 3.10 it was a function's name
            function_fullname="judges.invoke",
            params="{}",
            timeout=None,
            status=status,
            result=None,
            retry_count=0,
            last_update_time=estate.at_ms,
        )


_BUILDERS: tuple[tuple[str, Callable[[Estate], None]], ...] = (
    ("1.27", _runs_and_versions),
    ("2.10", _copies_and_datasets),
    ("2.14", _traces),
    ("3.0", _logged_models),
    ("3.5", _jobs),
)


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def rows_of(estate: Estate, *fates: Fate) -> Iterator[tuple[Thing, tuple[str, str]]]:
    """Yield what has one of these fates and a row of its own, with where that is."""
    for thing in estate.things.values():
        if thing.fate in fates and thing.key is not None:
            yield thing, thing.key
