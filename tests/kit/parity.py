"""Random databases, made by MLflow, and what its gc and ours have to make of them.

`Expected` follows MLflow's own rules first, which its gc is held against, and then each of the
improvements, one rule after the other.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.kit.mlflow_gc import Ground, Rows, Step, step

DAY_MS = 86_400_000
OLD = 10 * DAY_MS

Ids = frozenset[str]


@dataclass
class Draw:
    """One random database and the words to run gc with."""

    ground: Ground
    random: random.Random
    words: list[str] = field(default_factory=list)
    older_than_ms: int = 0
    named: dict[str, Ids] = field(default_factory=dict)
    takes_jobs: bool = False
    protected: set[str] = field(default_factory=set)
    pinned: set[str] = field(default_factory=set)
    writing: set[str] = field(default_factory=set)
    is_plain: bool = False
    """Nothing is there that we treat otherwise than MLflow does."""
    _runs: dict[str, list[str]] = field(default_factory=dict)
    _models: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def make(cls, ground: Ground, seed: int) -> Draw:
        """Make everything that one seed says."""
        made = cls(ground, random.Random(seed), is_plain=seed % 2 == 0)
        made._make_all()
        made._write_files()
        made._delete()
        made._protect()
        made._age()
        made._choose_words()
        return made

    def _is(self, probability: float) -> bool:
        return self.random.random() < probability

    def _is_odd(self, probability: float) -> bool:
        return not self.is_plain and self._is(probability)

    def _make_all(self) -> None:
        steps: list[Step] = []
        for number in range(self.random.randint(1, 4)):
            name = f"e{number}"
            elsewhere = self.ground.home / "elsewhere" / name if self._is(0.2) else None
            if elsewhere is not None:
                elsewhere.mkdir(parents=True)  # where nothing is nobody can tell whether it is seen
            location = None if elsewhere is None else str(elsewhere)
            steps.append(step(name, "experiment", name=name, location=location))
        experiments = ["default", *(name for name, _, _ in steps)]
        for experiment in experiments:
            steps += self._steps_in(experiment)
        steps += [
            step(f"j{number}", "job", ends=self._is(0.7))
            for number in range(self.random.randint(0, 3))
        ]
        self.ground.make(*steps)

    def _steps_in(self, experiment: str) -> Iterator[Step]:
        runs = [f"{experiment}r{number}" for number in range(self.random.randint(0, 5))]
        models = [f"{experiment}m{number}" for number in range(self.random.randint(0, 3))]
        self._runs[experiment], self._models[experiment] = runs, models
        for number, run in enumerate(runs):
            parent = self.random.choice(runs[:number]) if number and self._is(0.3) else None
            ended = not self._is_odd(0.1)
            if not ended:
                self.writing.add(run)
            yield step(run, "run", experiment=experiment, parent=parent, ended=ended)
            if self._is(0.4):
                yield step("_", "dataset", run=run, name=f"d{self.random.randint(1, 2)}")
        for model in models:
            source = self.random.choice(runs) if runs and self._is(0.7) else None
            yield step(model, "model", experiment=experiment, run=source)
            for other in runs:
                if self._is_odd(0.2):
                    yield step("_", "model_metric", run=other, model=model)
                if self._is(0.2):
                    yield step("_", "model_input", run=other, model=model)
            if source:
                yield step("_", "model_output", run=source, model=model)
        for _ in range(self.random.randint(0, 2)):
            number = self.random.randrange(1 << 60)
            yield step(f"t{number}", "trace", experiment=experiment, number=number)

    def _write_files(self) -> None:
        """Write the files of most, and of one in each root at least: what is believed of it."""
        seen: set[str] = set()
        for name, id_ in self.ground.ids.items():
            is_one = name.startswith("t") or "r" in name[2:] or "m" in name[2:]
            if (
                name != "_"
                and id_ not in ("0",)
                and is_one
                and (self._is(0.8) or name in self.writing or self._root_of(name) not in seen)
            ):
                seen.add(self._root_of(name))
                self.ground.write(name, *self.random.sample(["a", "b/c", "b/d", "e"], 2))

    def _root_of(self, name: str) -> str:
        place = self.ground.place(name)
        return place.as_posix().partition("/elsewhere/")[2].partition("/")[0]

    def _delete(self) -> None:
        steps: list[Step] = []
        for experiment, runs in self._runs.items():
            steps += [step("_", "delete_run", run=run) for run in runs if self._is(0.5)]
            steps += [
                step("_", "delete_model", model=model)
                for model in self._models[experiment]
                if self._is(0.4)
            ]
            if experiment != "default" and self._is(0.5):
                steps.append(step("_", "delete_experiment", experiment=experiment))
                if runs and self._is_odd(0.3):
                    steps.append(step("_", "restore_run", run=self.random.choice(runs)))
        self.ground.make(*steps)

    def _protect(self) -> None:
        for name in self._all(self._runs):
            if not self._is_odd(0.1):
                continue
            self.protected.add(name)
            if self._is(0.5):
                self._register(f"{self.ground.place(name)}/model")
            else:
                self.pinned.add(name)
                self.ground.sql(
                    "INSERT INTO tags VALUES ('mlflow-cleanup.keep', 'yes', ?)",
                    self.ground.ids[name],
                )
        for name in self._all(self._models):
            if self._is_odd(0.1):
                self.protected.add(name)
                self._register(f"models:/{self.ground.ids[name]}")

    def _register(self, source: str) -> None:
        """Register a version; MLflow itself would ask a server where its source is."""
        self.ground.make(step("v", "version", source="/none"))
        query = "UPDATE model_versions SET source = ? WHERE source = '/none'"
        self.ground.sql(query, source)

    def _all(self, some: Mapping[str, list[str]]) -> list[str]:
        return [name for names in some.values() for name in names]

    def _age(self) -> None:
        now_ms = int(time.time() * 1000)
        ages = {name: self.random.choice([OLD, OLD, 1_000]) for name in self._runs}
        for query, names, undated in (
            (
                "UPDATE runs SET deleted_time = ? "
                "WHERE lifecycle_stage = 'deleted' AND run_uuid = ?",
                self._all(self._runs),
                0.1,
            ),
            (
                "UPDATE logged_models SET last_updated_timestamp_ms = ? WHERE model_id = ?",
                self._all(self._models),
                0,
            ),
            (
                "UPDATE experiments SET last_update_time = ? WHERE experiment_id = ?",
                [n for n in self._runs if n != "default"],
                0,
            ),
            (
                "UPDATE jobs SET creation_time = ? WHERE id = ?",
                [n for n in self.ground.ids if n[0] == "j"],
                0,
            ),
        ):
            for name in names:
                age_ms = self.random.choice([OLD, OLD, 1_000])
                if self.is_plain:  # what is in an experiment is as old as that
                    age_ms = ages.get(re.split("[rm](?=[0-9])", name)[0], age_ms)
                then_ms = None if self._is_odd(undated) else now_ms - age_ms
                self.ground.sql(query, then_ms, self.ground.ids[name])

    def _choose_words(self) -> None:
        if self._is(0.5):
            self.words += ["--older-than", "1d"]
            self.older_than_ms = DAY_MS
        if self._is(0.4):
            self.words.append("--jobs")
            self.takes_jobs = True
        elif self._is(0.2) and (jobs := [n for n in self.ground.ids if n[0] == "j"]):
            self._name("--job-ids", "job", self.random.sample(jobs, 1))
            self.takes_jobs = True
        for flag, kind, table, key, names in (
            ("--run-ids", "run", "runs", "run_uuid", self._all(self._runs)),
            ("--logged-model-ids", "model", "logged_models", "model_id", self._all(self._models)),
            ("--experiment-ids", "experiment", "experiments", "experiment_id", list(self._runs)),
        ):
            if not self._is(0.25):
                continue
            is_bad = self._is(0.15)
            some = [n for n in names if is_bad or self._may_be_named(table, key, n)]
            if some:
                self._name(flag, kind, self.random.sample(some, min(len(some), 2)))

    def _may_be_named(self, table: str, key: str, name: str) -> bool:
        """Tell whether MLflow would take this id: it is deleted, and long ago if that matters."""
        at = {"runs": "deleted_time", "experiments": "last_update_time"}
        query = (
            f"SELECT 1 FROM {table} WHERE {key} = ? AND lifecycle_stage = 'deleted' "
            f"AND coalesce({at.get(table, 'last_updated_timestamp_ms')}, 1e15) <= ?"
        )
        latest_ms = int(time.time() * 1000) - self.older_than_ms if self.older_than_ms else 10**16
        return bool(self.ground.sql(query, self.ground.ids[name], latest_ms))

    def _name(self, flag: str, kind: str, names: Iterable[str]) -> None:
        ids = [self.ground.ids[name] for name in names]
        self.words += [flag, ",".join(ids)]
        self.named[kind] = frozenset(ids)


@dataclass(frozen=True)
class One:
    """A row of an entity, as gc looks at it."""

    id: str
    experiment: str
    stage: str
    at_ms: int | None
    source_run: str | None = None


@dataclass(frozen=True)
class Goes:
    """Which entities go."""

    runs: Ids
    models: Ids
    experiments: Ids
    traces: Ids
    jobs: Ids
    bare_runs: Ids = frozenset()
    """Runs that lose their files and keep their rows."""


class Expected:
    """What has to become of a database."""

    def __init__(self, draw: Draw) -> None:
        self.draw, sql = draw, draw.ground.sql
        self.now_ms = int(time.time() * 1000)
        ids = draw.ground.ids
        self.protected = {ids[name] for name in draw.protected}
        self.writing = {
            ids[name]
            for name in draw.writing
            if any(path.is_file() for path in draw.ground.place(name).rglob("*"))
        }
        self.runs = [
            One(*row)
            for row in sql(
                "SELECT run_uuid, CAST(experiment_id AS TEXT), lifecycle_stage, deleted_time "
                "FROM runs"
            )
        ]
        self.models = [
            One(*row)
            for row in sql(
                "SELECT model_id, CAST(experiment_id AS TEXT), lifecycle_stage, "
                "last_updated_timestamp_ms, source_run_id FROM logged_models"
            )
        ]
        # What keeps a run keeps the models that it made.
        pinned = {ids[name] for name in draw.pinned}
        self.protected |= {model.id for model in self.models if model.source_run in pinned}
        self.experiments = [
            One(*row)
            for row in sql(
                "SELECT CAST(experiment_id AS TEXT), CAST(experiment_id AS TEXT), lifecycle_stage, "
                "last_update_time FROM experiments"
            )
        ]
        self.traces = sql("SELECT request_id, CAST(experiment_id AS TEXT) FROM trace_info")
        self.metrics = sql("SELECT DISTINCT run_id, model_id FROM logged_model_metrics")
        self.used = sql(
            "SELECT source_id, destination_id FROM inputs WHERE destination_type = 'MODEL_INPUT'"
        )
        self.jobs = sql("SELECT id, creation_time FROM jobs WHERE status IN (2, 3, 4, 5)")
        self.active = {run.id for run in self.runs if run.stage != "deleted"}
        self.chosen = {one.id for one in self._deleted("experiment", self.experiments)}

    # MLflow's own rules.

    def _is_old(self, at_ms: int | None) -> bool:
        return not self.draw.older_than_ms or (
            at_ms is not None and self.now_ms - at_ms >= self.draw.older_than_ms
        )

    def _deleted(self, kind: str, rows: Iterable[One]) -> list[One]:
        """Choose by ids or by age, as `mlflow gc` does."""
        named = self.draw.named.get(kind)
        return [
            one
            for one in rows
            if one.stage == "deleted"
            and (one.id in named if named is not None else self._is_old(one.at_ms))
        ]

    @property
    def is_refused(self) -> bool:
        """An id that is named is not deleted, or too young: MLflow stops somewhere, we at once."""
        groups = (("run", self.runs), ("model", self.models), ("experiment", self.experiments))
        return any(
            one.id in self.draw.named.get(kind, ())
            and (one.stage != "deleted" or not self._is_old(one.at_ms))
            for kind, rows in groups
            for one in rows
        )

    @property
    def stops_in_the_middle(self) -> bool:
        """Improvement: a younger or undated run inside an old experiment stops MLflow."""
        return bool(self.draw.older_than_ms) and any(
            run.experiment in self.chosen and run.stage == "deleted" and not self._is_old(run.at_ms)
            for run in self.runs
        )

    def _jobs(self) -> Ids:
        if not self.draw.takes_jobs:
            return frozenset()
        named = self.draw.named.get("job")
        return frozenset(
            id_
            for id_, at_ms in self.jobs
            if self._is_old(at_ms) and (named is None or id_ in named)
        )

    def theirs(self) -> Goes:
        """Say what goes by MLflow's rules, when it does not stop."""
        is_undated = lambda run: run.at_ms is None  # noqa: E731
        runs = {
            run.id
            for run in self._deleted("run", self.runs)
            if "run" in self.draw.named or not is_undated(run)
        }
        # Whatever is in an experiment goes with it: deleted runs with their files, the rest bare.
        inside = {run.id for run in self.runs if run.experiment in self.chosen}
        with_files = runs | {id_ for id_ in inside if id_ not in self.active}
        models = {model.id for model in self._deleted("model", self.models)}
        bare = {model.id for model in self.models if model.experiment in self.chosen}
        self.their_files = with_files | models
        return Goes(
            frozenset(runs | inside),
            frozenset(models | bare),
            frozenset(self.chosen),
            frozenset(id_ for id_, experiment in self.traces if experiment in self.chosen),
            self._jobs(),
        )

    # The improvements.

    def ours(self) -> Goes:
        """Say what goes by our rules."""
        if self.is_refused:
            nothing: Ids = frozenset()
            return Goes(nothing, nothing, nothing, nothing, nothing)
        runs = self._our_runs()
        models = self._our_deleted_models()
        kept = self._kept_experiments(runs, models)
        experiments = self.chosen - kept
        models |= {
            model.id
            for model in self.models
            if model.experiment in experiments and model.stage != "deleted"
        }
        # Improvement: the metrics of a model that stays hold the row of the run that wrote them.
        active = {model.id for model in self.models if model.stage != "deleted"} - models
        held = {run for run, model in self.metrics if model in active} & runs
        holding = {run.experiment for run in self.runs if run.id in held}
        return Goes(
            frozenset(runs - held),
            frozenset(models),
            frozenset(experiments - holding),
            frozenset(id_ for id_, experiment in self.traces if experiment in experiments),
            self._jobs(),
            frozenset(held),
        )

    def _our_runs(self) -> set[str]:
        chosen = {run.id for run in self._deleted("run", self.runs)}
        # Improvement: undated ones go, where no age is asked for.
        chosen |= {
            run.id
            for run in self.runs
            if run.stage == "deleted" and run.experiment in self.chosen and self._is_old(run.at_ms)
        }
        # Improvement: what is needed, pinned or still being written to stays.
        return chosen - self.protected - self.writing

    def _our_deleted_models(self) -> set[str]:
        chosen = {model.id for model in self._deleted("model", self.models)}
        chosen |= {
            model.id
            for model in self.models
            if model.stage == "deleted"
            and model.experiment in self.chosen
            and self._is_old(model.at_ms)
        }
        return chosen - self.protected

    def _kept_experiments(self, runs: set[str], models: set[str]) -> set[str]:
        """Improvement: an experiment stays with any run or model in it that stays."""
        kept = {run.experiment for run in self.runs if run.id not in runs}
        needed = {model for run, model in self.used if run in self.active}
        for model in self.models:
            if model.stage == "deleted":
                stays = model.id not in models
            else:
                is_live = model.source_run in self.active or model.id in needed
                stays = is_live or model.id in self.protected
            if stays:
                kept.add(model.experiment)
        return kept


def entities(rows: Rows) -> dict[str, Ids]:
    """Name all entities whose rows are there."""
    tables = {
        "runs": "runs",
        "models": "logged_models",
        "experiments": "experiments",
        "traces": "trace_info",
        "jobs": "jobs",
    }
    return {kind: frozenset(str(row[0]) for row in rows[name]) for kind, name in tables.items()}


def left(before: Rows, goes: Goes) -> dict[str, Ids]:
    """Name the entities that are left when some go."""
    return {kind: ids - getattr(goes, kind) for kind, ids in entities(before).items()}


def files(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out directories."""
    return {name: content for name, content in tree.items() if content is not None}


def without(tree: Mapping[str, Any], ids: Iterable[str]) -> dict[str, Any]:
    """Leave out the files of some runs, models and traces, too."""
    gone = set(ids)
    return {name: c for name, c in files(tree).items() if gone.isdisjoint(name.split("/"))}
