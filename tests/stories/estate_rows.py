"""What MLflow's tables say in a story of everything, and by that, who claims which bytes.

A second opinion: written from the rules, knowing nothing of how the program reads tables. Every
change is made to the real database and noted here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tests.kit.tracking_db import TrackingFile


class Sort(str, Enum):
    """What may own a directory."""

    RUN = "run"
    MODEL = "logged model"
    TRACE = "trace"
    COPY = "copy of a model version"


class Standing(Enum):
    """What the tables say of an entity's own directory."""

    LIVE = "it is live"
    SOFT = "it is a live model whose run was deleted"
    LEFT = "it left, and has a row that says so"
    NO_ROW = "no row knows it"


@dataclass(eq=False)
class Experiment:
    """An experiment: several may lie at one place, and ids are used again."""

    id: str
    base: Path
    has_row: bool = True
    is_live: bool = True
    is_pinned: bool = False


@dataclass(eq=False)
class Thing:
    """An entity with a directory of its own, `path`; its bytes stay when its row goes.

    `run` made it. A `version` is what a copy belongs to.
    """

    sort: Sort
    id: str
    path: Path
    experiment: Experiment | None = None
    run: Thing | None = None
    version: Version | None = None
    has_row: bool = True
    is_live: bool = True
    has_ended: bool = True
    is_pinned: bool = False

    def __repr__(self) -> str:
        return f"{self.sort.value} {self.id[-6:]}"


@dataclass(eq=False)
class Version:
    """A registered model version: where its source leads, by whose id, and where it is stored."""

    number: int
    leads_to: Path | None
    by: Thing | None
    stored_at: Path | None
    original: Version | None = None
    has_row: bool = True
    is_live: bool = True

    def __repr__(self) -> str:
        return f"version {self.number}"


@dataclass(frozen=True)
class Claim:
    """Somebody's word that the bytes at `path` stay.

    A `holds_others` claim covers what it equals or lies in, not what lies in it. One with `only`
    can be told by that entity's id alone, as no row says where it is. `softly` is the model whose
    claim yields to an operator's word.
    """

    holder: str
    path: Path
    holds_others: bool = False
    only: Thing | None = None
    softly: Thing | None = None

    def covers(self, place: Path) -> bool:
        """Tell whether it keeps a whole directory."""
        if place == self.path or place in self.path.parents:
            return True
        return not self.holds_others and self.path in place.parents

    def wants(self, file: Path) -> bool:
        """Tell whether a file is among the bytes that it is for."""
        return not self.holds_others and self.path in (file, *file.parents)


class Rows:
    """Every row, as this story wrote it."""

    def __init__(self, db: TrackingFile, root: Path) -> None:
        self._db, self._numbers = db, itertools.count(1)
        self.experiments = [Experiment("0", root / "0")]
        self.things: list[Thing] = []
        self.versions: list[Version] = []
        self.datasets: list[tuple[Path, Thing]] = []
        self.uses: list[tuple[Thing, Thing]] = []
        self.pinned_things: list[Thing] = []
        self.pinned_paths: list[Path] = []

    # What comes.

    def add_experiment(self, base: Path, text: str) -> Experiment:
        """Add an experiment."""
        id_ = self.next_experiment_id()
        made = Experiment(id_, base)
        self.experiments.append(made)
        self._db.experiment(id_, text, created_ms=2_000 + next(self._numbers))
        return made

    def next_experiment_id(self) -> str:
        """Say which id SQLite gives to the next experiment: the highest one's can come again."""
        return str(max(int(one.id) for one in self.experiments if one.has_row) + 1)

    def add(self, thing: Thing, text: str) -> Thing:
        """Add an entity with its row; `text` is its location as MLflow stores it."""
        self.things.append(thing)
        self.add_row(thing, text)
        return thing

    def add_row(self, thing: Thing, text: str) -> None:
        """Give an entity its row: as a client that wrote first does at last."""
        assert thing.experiment is not None
        match thing.sort:
            case Sort.RUN:
                status = "FINISHED" if thing.has_ended else "RUNNING"
                number = int(thing.experiment.id)
                self._db.run(thing.id, text, experiment_id=number, status=status)
            case Sort.MODEL:
                self._add_model(thing, text)
            case Sort.TRACE:
                self._add_trace(thing, text)
            case Sort.COPY:
                raise AssertionError("a copy's row is its version's")
        thing.has_row = thing.is_live = True

    def register(self, version: Version, source: str) -> None:
        """Register a model version."""
        self.versions.append(version)
        stored = f"file://{version.stored_at}" if version.stored_at else None
        self._db.version("telling", version.number, source, storage_location=stored)

    def use_model(self, model: Thing, run: Thing) -> None:
        """Let a run have a model as its input."""
        if (model, run) not in self.uses:
            self.uses.append((model, run))
            self._db.insert(
                "inputs",
                input_uuid=f"input {next(self._numbers)}",
                source_type="RUN_INPUT",
                source_id=run.id,
                destination_type="MODEL_INPUT",
                destination_id=model.id,
            )

    def use_data(self, path: Path, run: Thing) -> None:
        """Let a run log a dataset as its input."""
        self.datasets.append((path, run))
        self._db.dataset(f"data {next(self._numbers)}", f'{{"uri": "file://{path}"}}', run.id)

    # What changes, and goes.

    def set_experiment(self, one: Experiment, at_ms: int, *, is_live: bool) -> None:
        """Delete or restore an experiment, and with it all of its runs, as MLflow does."""
        one.is_live = is_live
        stage = "active" if is_live else "deleted"
        query = "UPDATE experiments SET lifecycle_stage = ? WHERE experiment_id = ?"
        self._db.execute(query, stage, int(one.id))
        for thing in self.of(one):
            if thing.sort is Sort.RUN:
                self.set_run(thing, at_ms, is_live=is_live)

    def set_run(self, run: Thing, at_ms: int, *, is_live: bool) -> None:
        """Delete or restore a run."""
        run.is_live = is_live
        query = "UPDATE runs SET lifecycle_stage = ?, deleted_time = ? WHERE run_uuid = ?"
        stage, when = ("active", None) if is_live else ("deleted", at_ms)
        self._db.execute(query, stage, when, run.id)

    def delete_model(self, model: Thing) -> None:
        """Delete a logged model: it keeps its row."""
        model.is_live = False
        query = "UPDATE logged_models SET lifecycle_stage = 'deleted' WHERE model_id = ?"
        self._db.execute(query, model.id)

    def unregister(self, version: Version) -> None:
        """Delete a version: its row stays, and forgets its source."""
        version.is_live, version.leads_to, version.by, version.original = False, None, None, None
        self._db.execute(
            "UPDATE model_versions SET current_stage = 'Deleted_Internal', "
            "source = 'REDACTED-SOURCE-PATH', run_id = 'REDACTED-RUN-ID' WHERE version = ?",
            version.number,
        )

    def drop_version(self, version: Version) -> None:
        """Remove a version's row, as deleting the whole registered model does."""
        version.has_row = version.is_live = False
        self._db.execute("DELETE FROM model_versions WHERE version = ?", version.number)

    def drop(self, thing: Thing) -> None:
        """Remove an entity's rows, as `mlflow gc`, deleting a trace, or somebody's script does."""
        thing.has_row = thing.is_pinned = False
        tables = {
            Sort.RUN: ("run_uuid", "tags", "runs"),
            Sort.MODEL: ("model_id", "logged_models"),
            Sort.TRACE: ("request_id", "trace_tags", "trace_request_metadata", "trace_info"),
        }
        key, *names = tables[thing.sort]
        for name in names:
            self._db.execute(f"DELETE FROM {name} WHERE {key} = ?", thing.id)

    def drop_experiment(self, one: Experiment) -> None:
        """Remove an experiment's row and all that go with it."""
        for thing in self.of(one):
            self.drop(thing)
        one.has_row = one.is_live = one.is_pinned = False
        for name in ("experiment_tags", "experiments"):
            self._db.execute(f"DELETE FROM {name} WHERE experiment_id = ?", int(one.id))

    def tag(self, one: Thing | Experiment) -> None:
        """Pin a run or an experiment by its tag, or take the pin back."""
        one.is_pinned = not one.is_pinned
        name, key = ("tags", "run_uuid")
        id_: str | int = one.id
        if isinstance(one, Experiment):
            name, key, id_ = "experiment_tags", "experiment_id", int(one.id)
        if one.is_pinned:
            self._db.insert(name, **{key: id_, "key": "mlflow-cleanup.keep", "value": "yes"})
        else:
            self._db.execute(f"DELETE FROM {name} WHERE {key} = ?", id_)

    # What follows from all of it.

    def of(self, one: Experiment) -> list[Thing]:
        """List the entities in an experiment that have rows."""
        return [thing for thing in self.things if thing.experiment is one and thing.has_row]

    def standing(self, thing: Thing) -> Standing:
        """Say what the tables say of an entity."""
        if thing.sort is Sort.COPY:
            assert thing.version is not None
            if not thing.version.has_row:
                return Standing.NO_ROW
            return Standing.LIVE if thing.version.is_live else Standing.LEFT
        if not thing.has_row:
            return Standing.NO_ROW
        if not thing.is_live:
            return Standing.LEFT
        if thing.sort is Sort.RUN or _is_active(thing.run) or self._is_used(thing):
            return Standing.LIVE
        if thing.experiment is not None and not thing.experiment.is_live:
            return Standing.LEFT
        is_soft = thing.sort is Sort.MODEL and thing.run is not None
        return Standing.SOFT if is_soft else Standing.LIVE

    def claims(self) -> list[Claim]:
        """List every claim."""
        found = [*self._own_claims(), *self._pins()]
        for version in self.versions:
            if version.is_live:
                found += self._claims_of(version)
        for path, run in self.datasets:
            if _is_active(run):
                found.append(Claim(f"dataset of {run}", path, holds_others=True))
        for one in self.experiments:
            if one.has_row and one.is_live:
                found.append(Claim(f"experiment {one.id}", one.base, holds_others=True))
        return found

    def _own_claims(self) -> Iterator[Claim]:
        for thing in self.things:
            if thing.sort is not Sort.COPY:
                match self.standing(thing):
                    case Standing.LIVE:
                        yield Claim(f"{thing}", thing.path)
                    case Standing.SOFT:
                        yield Claim(f"{thing}", thing.path, softly=thing)

    def _claims_of(self, version: Version) -> Iterator[Claim]:
        followed: Version | None = version
        while followed is not None and followed.has_row:
            if followed.leads_to is not None:
                by = followed.by
                is_by_id = by is not None and not by.has_row
                yield Claim(f"{version}", followed.leads_to, only=by if is_by_id else None)
            if followed.stored_at is not None:
                yield Claim(f"{version}", followed.stored_at)
            followed = followed.original

    def _pins(self) -> Iterator[Claim]:
        for thing in self.things:
            made_by = thing.run if thing.sort is Sort.MODEL else None
            home = thing.experiment
            is_kept = thing.is_pinned or (made_by is not None and made_by.is_pinned)
            if thing.has_row and (is_kept or (home is not None and home.is_pinned)):
                yield Claim(f"pin on {thing}", thing.path)
        for one in self.experiments:
            if one.is_pinned:
                yield Claim(f"pin on experiment {one.id}", one.base)
        for thing in self.pinned_things:
            yield Claim(f"pin on {thing}", thing.path)
        for path in self.pinned_paths:
            yield Claim(f"pin on {path}", path)

    def _is_used(self, model: Thing) -> bool:
        return any(used is model and _is_active(run) for used, run in self.uses)

    def _add_model(self, model: Thing, text: str) -> None:
        assert model.experiment is not None
        self._db.insert(
            "logged_models",
            model_id=model.id,
            experiment_id=int(model.experiment.id),
            name="telling model",
            artifact_location=text,
            creation_timestamp_ms=1,
            last_updated_timestamp_ms=1,
            status=2,
            lifecycle_stage="active",
            source_run_id=model.run.id if model.run else None,
        )

    def _add_trace(self, trace: Thing, text: str) -> None:
        assert trace.experiment is not None
        number = int(trace.experiment.id)
        self._db.insert(
            "trace_info", request_id=trace.id, experiment_id=number, timestamp_ms=1, status="OK"
        )
        place = {"key": "mlflow.artifactLocation", "value": text}
        self._db.insert("trace_tags", request_id=trace.id, **place)
        if trace.run is not None:
            by = {"key": "mlflow.sourceRun", "value": trace.run.id}
            self._db.insert("trace_request_metadata", request_id=trace.id, **by)


def _is_active(run: Thing | None) -> bool:
    return run is not None and run.has_row and run.is_live
