"""Reading what MLflow calls deleted, from databases of every release."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.deleted import Deleted, Named
from mlflow_cleanup.model.target import Target, TargetKind
from mlflow_cleanup.model.verdict import Gone
from mlflow_cleanup.observe import deleted as reading
from mlflow_cleanup.observe.deleted import Position
from mlflow_cleanup.observe.tracking import TrackingDatabase
from tests.kit.tracking_db import REVISIONS, TrackingFile, run_id

RUN, MODEL, TRACE = TargetKind.RUN, TargetKind.LOGGED_MODEL, TargetKind.TRACE
EXPERIMENT, JOB = TargetKind.EXPERIMENT, TargetKind.JOB


@pytest.fixture
def database(tmp_path: Path) -> TrackingFile:
    """An empty database of today."""
    return TrackingFile.make(tmp_path / "mlflow.db")


def every_run(database: TrackingFile, workspace: str | None = None) -> list[list[Deleted]]:
    """Read the deleted runs, page by page."""
    pages: list[list[Deleted]] = []
    last: Position = None
    while True:
        with TrackingDatabase(Database.of_file(str(database.path))).deleted(workspace) as reader:
            rows, last = reader.runs_after(last)
        if not rows:
            return pages
        pages.append(rows)


def ids(rows: Iterable[Deleted]) -> set[str]:
    """Name what was read."""
    return {row.target.id for row in rows}


class TestEveryRelease:
    """A column or table that is not there yet is no error."""

    @pytest.mark.parametrize("version", list(REVISIONS))
    def test_deleted_run_is_read(self, tmp_path: Path, version: str) -> None:
        """With its time, where this release notes one; NULL where a later one did not know it."""
        file = TrackingFile.make(tmp_path / "mlflow.db", version)
        file.run(run_id(1), stage="deleted", deleted_time=5_000)
        file.run(run_id(2))
        file.run(run_id(3), stage="deleted", deleted_time=None)
        time_ms = 5_000 if "deleted_time" in file.columns("runs") else None

        ((run, undated),) = every_run(file)

        name = "telling name" if "name" in file.columns("runs") else None
        uri = f"mlflow-artifacts:/0/{run_id(1)}/artifacts"
        target = Target(RUN, run_id(1), time_ms)
        assert run == Deleted(target, Gone.DELETED, (uri,), time_ms, name, "0")
        assert undated.target == Target(RUN, run_id(3), None)
        assert undated.since_ms is None

    @pytest.mark.parametrize("version", list(REVISIONS))
    def test_deleted_experiment_is_read(self, tmp_path: Path, version: str) -> None:
        """Its time is that of its last change, as for MLflow."""
        file = TrackingFile.make(tmp_path / "mlflow.db", version)
        file.experiment("7", "/srv/7", stage="deleted", created_ms=9_000)
        time_ms = 9_000 if "last_update_time" in file.columns("experiments") else None

        with TrackingDatabase(Database.of_file(str(file.path))).deleted(None) as reader:
            (found,) = reader.experiments()

        target = Target(EXPERIMENT, "7", time_ms)
        assert found == Deleted(target, None, ("/srv/7",), time_ms, "experiment 7", "7")

    @pytest.mark.parametrize("version", list(REVISIONS))
    def test_what_a_release_does_not_have_is_empty(self, tmp_path: Path, version: str) -> None:
        """Models, traces, jobs and workspaces came one after another."""
        file = TrackingFile.make(tmp_path / "mlflow.db", version)
        with TrackingDatabase(Database.of_file(str(file.path))).deleted(None) as reader:
            assert reader.models() == reader.traces() == reader.jobs(None) == []
            assert reader.active_runs_in(["0"]) == {}
            has_workspaces = "workspace" in file.columns("experiments")
            assert (reader.named([]).workspaces is not None) is has_workspaces


class TestRuns:
    """Deleted runs, a page at a time."""

    def test_every_page_is_read_once(
        self, database: TrackingFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever lies between them, also when the last page is full."""
        monkeypatch.setattr(reading, "PAGE", 3)
        for number in range(1, 10):
            database.run(run_id(number), stage="active" if number % 3 == 0 else "deleted")

        pages = every_run(database)

        assert [len(page) for page in pages] == [3, 3]
        assert [row.target.id for page in pages for row in page] == [
            run_id(number) for number in (1, 2, 4, 5, 7, 8)
        ]

    def test_only_deleted_counts(self, database: TrackingFile) -> None:
        """A stage that nobody knows is a live one."""
        for number, stage in enumerate(["active", "Deleted", "archived", None, ""], start=1):
            database.run(run_id(number), stage=stage)
        assert every_run(database) == []

    @pytest.mark.parametrize("uri", [None, b"\xff"])
    def test_odd_location_is_none(self, database: TrackingFile, uri: bytes | None) -> None:
        """What is no text names no place."""
        database.run(run_id(1), stage="deleted")
        database.execute("UPDATE runs SET artifact_uri = ?", uri)
        ((run,),) = every_run(database)
        assert run.texts == (None,)

    def test_named_ones_are_read_whatever_they_are(self, database: TrackingFile) -> None:
        """Thousands at once; what no run can be called is passed over."""
        for number in (1, 2):
            database.run(run_id(number), stage="deleted")
        database.run(run_id(3))
        names = [*map(run_id, range(1, 2_001)), "\n", "'; DROP TABLE runs; --"]
        with TrackingDatabase(Database.of_file(str(database.path))).deleted(None) as reader:
            assert ids(reader.runs_named(names)) == {run_id(1), run_id(2)}
            assert reader.runs_named([]) == []

    def test_those_of_experiments(self, database: TrackingFile) -> None:
        """Deleted ones only; active ones are named apart."""
        database.experiment("7", "/srv/7", stage="deleted")
        database.run(run_id(1), stage="deleted", experiment_id=7)
        database.run(run_id(2), stage="deleted")
        database.run(run_id(3), experiment_id=7)
        with TrackingDatabase(Database.of_file(str(database.path))).deleted(None) as reader:
            assert ids(reader.runs_of(["7"])) == {run_id(1)}
            assert reader.active_runs_in(["7", "8"]) == {"7": run_id(3)}
            assert reader.active_runs_in(["8", "x", ""]) == {}


class TestModels:
    """Logged models that are deleted, or whose experiment is."""

    def test_how_each_left(self, database: TrackingFile) -> None:
        """One whose run was deleted has not left: MLflow does not remove it."""
        database.experiment("7", "/srv/7", stage="deleted")
        database.run(run_id(1), stage="deleted")
        for id_, stage in (("m-1", "deleted"), ("m-2", "active"), ("m-3", "active")):
            database.logged_model(id_, f"/srv/{id_}", stage=stage)
        database.execute("UPDATE logged_models SET experiment_id = 7 WHERE model_id = 'm-2'")
        database.execute(
            "UPDATE logged_models SET source_run_id = ? WHERE model_id = 'm-3'", run_id(1)
        )

        with TrackingDatabase(Database.of_file(str(database.path))).deleted(None) as reader:
            found = {row.target.id: row for row in reader.models()}

        assert {id_: row.gone for id_, row in found.items()} == {
            "m-1": Gone.MODEL_DELETED,
            "m-2": Gone.EXPERIMENT_DELETED,
        }
        assert found["m-1"].target == Target(MODEL, "m-1", 1)
        assert found["m-1"].texts == ("/srv/m-1",)
        assert found["m-2"].experiment_id == "7"


class TestTraces:
    """Traces that left with their experiment."""

    def test_all_of_its_places_are_read(self, database: TrackingFile) -> None:
        """One that was archived has two, one that only has spans none; a live one is not read."""
        database.experiment("7", "/srv/7", stage="deleted")
        for id_ in ("tr-1", "tr-2", "tr-3"):
            database.trace(id_, f"/srv/{id_}")
        database.execute("UPDATE trace_info SET experiment_id = 7 WHERE request_id != 'tr-3'")
        database.execute("DELETE FROM trace_tags WHERE request_id = 'tr-2'")
        database.insert(
            "trace_tags", request_id="tr-1", key="mlflow.trace.archiveLocation", value="/old/tr-1"
        )

        with TrackingDatabase(Database.of_file(str(database.path))).deleted(None) as reader:
            found = {row.target: set(row.texts) for row in reader.traces()}

        assert found == {
            Target(TRACE, "tr-1"): {"/srv/tr-1", "/old/tr-1"},
            Target(TRACE, "tr-2"): set(),
        }


class TestJobs:
    """Finished jobs."""

    @pytest.fixture
    def jobs(self, database: TrackingFile) -> TrackingFile:
        """A job of every status: pending, running, and four ways to have ended, and a later one."""
        for status in range(7):
            database.insert(
                "jobs",
                id=f"j-{status}",
                creation_time=status,
                job_name="telling job",
                params="{}",
                status=status,
                retry_count=0,
                last_update_time=0,
                workspace="default" if status != 3 else "team",
            )
        return database

    def test_only_what_has_ended(self, jobs: TrackingFile) -> None:
        """A status of a later release is none of those."""
        with TrackingDatabase(Database.of_file(str(jobs.path))).deleted(None) as reader:
            found = reader.jobs(None)
            assert ids(found) == {"j-2", "j-3", "j-4", "j-5"}
            assert found[0] == Deleted(Target(JOB, "j-2"), since_ms=2, name="telling job")
            assert ids(reader.jobs(["j-1", "j-4", "j-9"])) == {"j-4"}
            assert reader.jobs([]) == []

    def test_of_one_workspace(self, jobs: TrackingFile) -> None:
        """By a column of its own."""
        with TrackingDatabase(Database.of_file(str(jobs.path))).deleted("team") as reader:
            assert ids(reader.jobs(None)) == {"j-3"}


class TestWorkspaces:
    """What belongs to a workspace does so by its experiment."""

    @pytest.fixture
    def shared(self, database: TrackingFile) -> TrackingFile:
        """Two workspaces with the same things deleted in each."""
        database.insert("workspaces", name="team")
        for number, workspace in ((7, "default"), (8, "team")):
            database.experiment(str(number), f"/srv/{number}", stage="deleted")
            database.execute(
                "UPDATE experiments SET workspace = ? WHERE experiment_id = ?", workspace, number
            )
            database.run(run_id(number), stage="deleted", experiment_id=number)
            database.logged_model(f"m-{number}", "/x", stage="deleted")
            database.execute(
                "UPDATE logged_models SET experiment_id = ? WHERE model_id = ?",
                number,
                f"m-{number}",
            )
        return database

    def test_only_its_own_is_read(self, shared: TrackingFile) -> None:
        """Runs, models and experiments."""
        with TrackingDatabase(Database.of_file(str(shared.path))).deleted("team") as reader:
            assert ids(reader.experiments()) == {"8"}
            assert ids(reader.models()) == {"m-8"}
            assert ids(reader.runs_named([run_id(7), run_id(8)])) == {run_id(8)}
        assert [ids(page) for page in every_run(shared, "team")] == [{run_id(8)}]
        assert [ids(page) for page in every_run(shared)] == [{run_id(7), run_id(8)}]

    def test_named_ids_of_another_one_are_not_there(self, shared: TrackingFile) -> None:
        """As MLflow has it; all workspaces are named with what uses them."""
        asked = [Target(RUN, run_id(7)), Target(EXPERIMENT, "8"), Target(MODEL, "m-7")]
        with TrackingDatabase(Database.of_file(str(shared.path))).deleted("team") as reader:
            named = reader.named(asked)
        assert named.stages == {Target(EXPERIMENT, "8"): "deleted"}
        assert named.workspaces == frozenset({"default", "team"})
        assert named.used == frozenset({"default", "team"})


def test_stages_of_named_ids(database: TrackingFile) -> None:
    """Missing ones are missing; an experiment is a number, and nothing else can be one."""
    database.run(run_id(1))
    database.run(run_id(2), stage="deleted")
    database.logged_model("m-1", "/x", stage="deleted")
    asked = [
        *(Target(RUN, run_id(number)) for number in (1, 2, 3)),
        *(Target(EXPERIMENT, id_) for id_ in ("0", "1", "x", "", "9" * 30, "-1", "0.0", "٣")),
        Target(MODEL, "m-1"),
    ]
    with TrackingDatabase(Database.of_file(str(database.path))).deleted(None) as reader:
        named = reader.named(asked)
    assert isinstance(named, Named)
    assert named.stages == {
        Target(RUN, run_id(1)): "active",
        Target(RUN, run_id(2)): "deleted",
        Target(EXPERIMENT, "0"): "active",
        Target(MODEL, "m-1"): "deleted",
    }
