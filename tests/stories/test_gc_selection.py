"""`gc`: experiments with what is in them, models, traces, jobs, workspaces, and odd locations."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_cleanup.cycle.roots import with_named_roots
from mlflow_cleanup.errors import BadSelection
from tests.kit.collecting import (
    FAILED,
    KEPT,
    REMOVED,
    collect,
    deleted_experiment,
    has_row,
    is_gone,
    is_whole,
    job,
    model,
    rows,
    seen_world,
    shown,
    trace,
)
from tests.kit.faults import before, fail
from tests.kit.world import Run, World, tree

AT_ONCE = timedelta(0)
DAY = timedelta(days=1)
DEAD = "7"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world with an empty tracking database and no retention, seen once already."""
    yield from seen_world(tmp_path)


@pytest.fixture
def inside(world: World) -> Run:
    """A run of 10 bytes in a deleted experiment, deleted with it."""
    deleted_experiment(world, DEAD)
    world.db.tag_experiment(7, "telling", "tag")
    run = world.run(experiment=DEAD)
    world.delete(run)
    return run


def has_experiment(world: World) -> bool:
    """Tell whether the deleted experiment is there, with its tag."""
    is_there = has_row(world, DEAD, "experiment")
    tags = world.db.execute("SELECT 1 FROM experiment_tags WHERE experiment_id = 7")
    assert bool(tags) is is_there
    return is_there


class TestDeletedExperiment:
    """It goes with its runs, models and traces, or stays with what stays."""

    def test_nothing_is_left(self, world: World, inside: Run) -> None:
        """Files and rows of everything in it, though MLflow calls models and traces active."""
        places = [model(world, "m-1", experiment=DEAD), trace(world, "tr-1", experiment=DEAD)]

        told = collect(world)

        assert told.every_fate == dict.fromkeys((inside.id, "m-1", "tr-1", DEAD), REMOVED)
        assert is_gone(world, inside)
        assert not has_row(world, "m-1", "logged model")
        assert not has_row(world, "tr-1", "trace")
        assert not has_experiment(world)
        assert [place.exists() for place in places] == [False, False]
        assert not (world.root / DEAD).exists()

    def test_foreign_files_in_its_directory_stay(self, world: World, inside: Run) -> None:
        """They belong to no row; a sweep tells of them."""
        world.write(world.root / DEAD / "notes", "note", 5)
        assert collect(world).fates(inside, DEAD) == [REMOVED, REMOVED]
        assert world.files_at(world.root / DEAD).keys() == {"notes/note"}

    def test_directory_that_others_use_stays(self, world: World) -> None:
        """Its location is that of another experiment, too."""
        deleted_experiment(world, DEAD, "mlflow-artifacts:/8")
        world.db.experiment("8", "mlflow-artifacts:/8")
        run = world.run(experiment="8")
        assert collect(world).fates(DEAD) == [REMOVED]
        assert is_whole(world, run)

    @pytest.fixture
    def active(self, world: World, inside: Run) -> Callable[[], bool]:
        """A model and a trace that left with it; whether both have their rows and files."""
        assert has_row(world, inside)
        places = [model(world, "m-1", experiment=DEAD), trace(world, "tr-1", experiment=DEAD)]
        return lambda: (
            has_row(world, "m-1", "logged model")
            and has_row(world, "tr-1", "trace")
            and [world.bytes_at(place) for place in places] == [10, 10]
        )

    def test_active_run_keeps_it(
        self, world: World, inside: Run, active: Callable[[], bool]
    ) -> None:
        """One that was restored on its own; MLflow removes its row and leaks its files."""
        restored = world.run(experiment=DEAD)
        told = collect(world)
        assert active()
        assert told.fates("m-1", "tr-1") == [KEPT, KEPT]
        assert "its experiment stays" in told.why("tr-1")
        assert told.fates(DEAD) == [KEPT]
        assert restored.id in told.why(DEAD)
        assert is_whole(world, restored)
        assert has_experiment(world)
        assert is_gone(world, inside)

    def test_younger_run_keeps_it(
        self, world: World, inside: Run, active: Callable[[], bool]
    ) -> None:
        """Where MLflow stops with everything."""
        world.advance(days=1)
        young = world.run(experiment=DEAD)
        world.delete(young)
        told = collect(world, older_than=DAY)
        assert told.fates(young, DEAD) == [KEPT, KEPT]
        assert "later than --older-than" in told.why(young)
        assert young.id in told.why(DEAD)
        assert active()
        assert is_whole(world, young)
        assert has_experiment(world)
        assert is_gone(world, inside)

    def test_younger_experiment_stays_with_its_models(self, world: World, inside: Run) -> None:
        """They left with it; its run goes by its own age."""
        place = model(world, "m-1", experiment=DEAD)
        world.advance(days=1)
        now_ms = int(world.clock.wall_s * 1000)
        world.db.execute("UPDATE experiments SET last_update_time = ?", now_ms)
        assert collect(world, older_than=DAY).every_fate == {inside.id: REMOVED}
        assert has_experiment(world)
        assert has_row(world, "m-1", "logged model")
        assert world.bytes_at(place) == 10

    def test_metrics_of_a_live_model_elsewhere_keep_it(self, world: World, inside: Run) -> None:
        """The run that logged them has to stay, so nothing that left with the experiment goes."""
        model(world, "m-9")
        place = model(world, "m-1", experiment=DEAD)
        world.db.insert(
            "logged_model_metrics",
            model_id="m-9",
            metric_name="x",
            metric_timestamp_ms=1,
            metric_step=1,
            metric_value=1,
            experiment_id=0,
            run_id=inside.id,
        )

        told = collect(world)

        assert told.fates("m-1", DEAD) == [KEPT, KEPT]
        assert inside.id in told.why(DEAD)
        assert world.bytes_at(place) == 10
        assert has_experiment(world)

    def test_protected_model_keeps_it(self, world: World, inside: Run) -> None:
        """What a registered version loads from; `mlflow gc` breaks that."""
        place, other = (model(world, id_, experiment=DEAD) for id_ in ("m-1", "m-0"))
        gone = trace(world, "tr-1", experiment=DEAD)
        world.register("models:/m-1")
        told = collect(world)
        assert told.fates("m-1", "m-0", "tr-1", DEAD) == [KEPT] * 4
        assert [world.bytes_at(place) for place in (other, gone)] == [10, 10]
        assert "m-1" in told.why(DEAD)
        assert has_row(world, "m-1", "logged model")
        assert has_experiment(world)
        assert world.bytes_at(place) == 10
        assert is_gone(world, inside)

    @pytest.mark.parametrize("how", ["by a tag", "here"])
    def test_pinned_it_stays(self, world: World, how: str) -> None:
        """Though nothing is in it; nor does a trace go that has no files."""
        deleted_experiment(world, DEAD)
        world.db.insert(
            "trace_info", request_id="tr-1", experiment_id=7, timestamp_ms=1, status="OK"
        )
        if how == "by a tag":
            world.db.tag_experiment(7, "mlflow-cleanup.keep", "yes")
            assert collect(world).fates(DEAD) == [KEPT]
            assert has_row(world, DEAD, "experiment")
        else:
            world.ledger.pins.add(["tr-1"], world.ledger.now(world.clock.read()).at, "telling")
            assert collect(world).fates("tr-1", DEAD) == [KEPT, KEPT]
        assert has_row(world, "tr-1", "trace")

    def test_failing_run_keeps_it(
        self, world: World, inside: Run, active: Callable[[], bool]
    ) -> None:
        """Bytes that are there keep their row, and so their experiment."""
        world.write(inside, "stubborn", 5)
        with before("unlink", fail(OSError(errno.EPERM, "no"), when="stubborn")):
            told = collect(world)
        assert told.fates(inside, DEAD) == [FAILED, KEPT]
        assert active()
        assert has_row(world, inside)
        assert has_experiment(world)

    def test_run_in_the_trash_keeps_it(self, world: World, inside: Run) -> None:
        """Restoring the experiment in MLflow gives it all of its files back."""
        world.restart(retention=DAY)
        place = model(world, "m-1", experiment=DEAD)
        told = collect(world)
        assert told.fates(DEAD) == [KEPT]
        assert has_experiment(world)
        assert rows(world, inside) == [True]
        assert not place.exists()
        world.db.execute("UPDATE experiments SET lifecycle_stage = 'active'")
        world.undelete(inside)
        world.cycle()
        assert is_whole(world, inside)
        assert world.bytes_at(place) == 10

    def test_restored_in_the_middle(self, world: World, inside: Run) -> None:
        """Its row and those that left with it stay, files that were not moved as well."""
        place = model(world, "m-1", experiment=DEAD)

        def restore() -> None:
            world.db.execute("UPDATE experiments SET lifecycle_stage = 'active'")
            world.undelete(inside)

        world.faults.before("quarantine", restore)
        collect(world)
        assert is_whole(world, inside)
        assert has_experiment(world)
        assert has_row(world, "m-1", "logged model")
        assert world.bytes_at(place) == 10

    def test_restored_between_files_and_rows(self, world: World, inside: Run) -> None:
        """No row goes of what is not deleted any more, nor its files if they were there yet."""
        places = [model(world, "m-1", experiment=DEAD), trace(world, "tr-1", experiment=DEAD)]

        def restore() -> None:
            world.db.execute("UPDATE experiments SET lifecycle_stage = 'active'")
            world.undelete(inside)

        told = collect(world, before_rows=restore, of=inside.id)
        assert REMOVED not in told.every_fate.values()
        assert told.fates(inside) == [FAILED]
        assert rows(world, inside) == [True]
        assert [world.bytes_at(place) for place in places] == [10, 10]
        assert has_row(world, "m-1", "logged model")
        assert has_row(world, "tr-1", "trace")
        assert has_experiment(world)

    @pytest.mark.parametrize("what", ["m-1", "tr-1"])
    def test_restored_when_what_left_with_it_has_no_files(self, world: World, what: str) -> None:
        """What cannot be had back is told as the failure that it is."""
        deleted_experiment(world, DEAD)
        make = model if what == "m-1" else trace
        make(world, what, experiment=DEAD)

        def restore() -> None:
            world.db.execute("UPDATE experiments SET lifecycle_stage = 'active'")

        told = collect(world, before_rows=restore, of=what)
        assert told.fates(what, DEAD) == [FAILED, KEPT]
        assert "after its files were removed" in told.why(what)
        assert has_row(world, what, "logged model" if what == "m-1" else "trace")

    def test_given_up_for_good_it_is_no_other_database(self, world: World, inside: Run) -> None:
        """The oldest experiments are by what a database is recognised; all of them may go."""
        world.db.execute("UPDATE experiments SET lifecycle_stage = 'deleted'")
        world.db.execute("UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = 1")
        world.db.experiment("9", "mlflow-artifacts:/9", created_ms=5_000)
        told = collect(world)
        assert told.fates("0", DEAD, inside) == [REMOVED] * 3
        run = world.run(experiment="9")
        world.restart()
        world.cycle()
        assert "refused" not in world.told()
        world.delete(run)
        world.cycle()
        assert not run.place.exists()


class TestModels:
    """Logged models that are deleted themselves."""

    def test_deleted_one_goes(self, world: World) -> None:
        """An active one, and one whose run was deleted, stays."""
        gone, active = model(world, "m-1", stage="deleted"), model(world, "m-2")
        assert collect(world).every_fate == {"m-1": REMOVED}
        assert not has_row(world, "m-1", "logged model")
        assert not gone.parent.exists()
        assert has_row(world, "m-2", "logged model")
        assert world.bytes_at(active) == 10

    def test_registered_one_stays(self, world: World) -> None:
        """Deleting it is allowed in MLflow, and its version loads from it still."""
        place = model(world, "m-1", stage="deleted")
        world.register("models:/m-1")
        assert collect(world).fates("m-1") == [KEPT]
        assert has_row(world, "m-1", "logged model")
        assert world.bytes_at(place) == 10

    def test_changed_lately_it_stays(self, world: World) -> None:
        """Its age is that of its last change, as for MLflow."""
        place = model(world, "m-1", stage="deleted")
        assert collect(world, older_than=DAY).one_by_one == []
        assert world.bytes_at(place) == 10
        world.advance(days=1)
        assert collect(world, older_than=DAY).fates("m-1") == [REMOVED]


class TestNamed:
    """Ids limit their own kind."""

    def test_only_the_named_run_goes(self, world: World, inside: Run) -> None:
        """With every deleted experiment and model, as in MLflow."""
        named, other = world.run(), world.run()
        world.delete(named, other)
        model(world, "m-1", stage="deleted")
        told = collect(world, run_ids=(named.id,))
        assert told.every_fate == dict.fromkeys((named.id, inside.id, "m-1", DEAD), REMOVED)
        assert is_whole(world, other)

    def test_only_the_named_experiment_goes(self, world: World, inside: Run) -> None:
        """With what is in it; every deleted run goes all the same."""
        deleted_experiment(world, "8")
        told = collect(world, experiment_ids=("8",))
        assert told.every_fate == {inside.id: REMOVED, "8": REMOVED}
        assert has_experiment(world)

    def test_one_bad_id_refuses_everything(self, world: World, inside: Run) -> None:
        """Nothing was touched by then."""
        before = tree(world.root)
        with pytest.raises(BadSelection):
            collect(world, run_ids=(inside.id, "f" * 32))
        assert tree(world.root) == before
        assert rows(world, inside) == [True]
        assert has_experiment(world)


class TestJobs:
    """Finished jobs, where that was asked for."""

    @pytest.fixture
    def jobs(self, world: World) -> World:
        """One that runs, and two that have ended."""
        for id_, status in (("running", 1), ("done", 2), ("failed", 3)):
            job(world, id_, status)
        return world

    def test_none_goes_unasked(self, jobs: World) -> None:
        """MLflow has a flag for it."""
        assert collect(jobs).one_by_one == []
        assert has_row(jobs, "done", "job")

    def test_finished_ones_go(self, jobs: World) -> None:
        """Never one that runs."""
        assert collect(jobs, takes_jobs=True).every_fate == {"done": REMOVED, "failed": REMOVED}
        assert [has_row(jobs, id_, "job") for id_ in ("running", "done", "failed")] == [
            True,
            False,
            False,
        ]

    def test_named_ones_go(self, jobs: World) -> None:
        """One that is not there, or runs, is passed over, as in MLflow."""
        told = collect(jobs, takes_jobs=True, job_ids=("running", "done", "none"))
        assert told.every_fate == {"done": REMOVED}

    def test_old_ones_go(self, jobs: World) -> None:
        """By when they were made."""
        assert collect(jobs, takes_jobs=True, older_than=DAY).one_by_one == []
        jobs.advance(days=2)
        job(jobs, "young", 2)
        told = collect(jobs, takes_jobs=True, older_than=DAY)
        assert told.every_fate == {"done": REMOVED, "failed": REMOVED}


class TestWorkspaces:
    """Only what is in the one that was named."""

    @pytest.fixture
    def runs(self, world: World) -> dict[str, Run]:
        """A deleted run in each of two workspaces."""
        world.db.insert("workspaces", name="team")
        made = {}
        for id_, name in (("7", "default"), ("8", "team")):
            world.db.experiment(id_, f"mlflow-artifacts:/workspaces/{name}/{id_}")
            world.db.execute(
                "UPDATE experiments SET workspace = ? WHERE experiment_id = ?", name, id_
            )
            place = world.root / "workspaces" / name / id_
            run = world.run({}, experiment=id_)
            uri = f"mlflow-artifacts:/workspaces/{name}/{id_}/{run.id}/artifacts"
            world.db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", uri, run.id)
            made[name] = Run(run.id, place / run.id / "artifacts")
            world.write(made[name], "model.bin", 10)
            world.delete(made[name])
            job(world, f"job-{name}", 2, name)
        return made

    def test_one(self, world: World, runs: dict[str, Run]) -> None:
        """Its runs and its jobs."""
        told = collect(world, workspace="team", takes_jobs=True)
        assert told.every_fate == {runs["team"].id: REMOVED, "job-team": REMOVED}
        assert is_gone(world, runs["team"])
        assert is_whole(world, runs["default"])
        assert has_row(world, "job-default", "job")

    def test_all(self, world: World, runs: dict[str, Run]) -> None:
        """Where that was said; MLflow refuses such a database, too, as long as nobody does."""
        with pytest.raises(BadSelection, match="other workspaces than the default one: team;"):
            collect(world)
        assert [is_whole(world, run) for run in runs.values()] == [True, True]
        told = collect(world, tolerates_missing=True)
        assert told.fates(*runs.values()) == [REMOVED, REMOVED]

    def test_named_run_of_another_one(self, world: World, runs: dict[str, Run]) -> None:
        """It is not there, as in MLflow; everything stays."""
        with pytest.raises(BadSelection):
            collect(world, workspace="team", run_ids=(runs["default"].id,))
        assert is_whole(world, runs["team"])

    def test_unknown_one(self, world: World, runs: dict[str, Run]) -> None:
        """A word that was mistyped removes nothing, and says so."""
        with pytest.raises(BadSelection, match="no workspace 'taem'"):
            collect(world, workspace="taem")
        assert is_whole(world, runs["team"])


class TestNamedRoots:
    """Experiments that lie outside of the configured roots, at locations that clients gave."""

    def lying_at(self, world: World, location: Path, place: Path) -> Run:
        """Add a deleted run of an experiment that lies at a location; its files are at `place`."""
        world.db.experiment(DEAD, f"file://{location}")
        run = world.run({}, experiment=DEAD)
        uri = f"file://{location}/{run.id}/artifacts"
        world.db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", uri, run.id)
        run = Run(run.id, place / run.id / "artifacts")
        world.write(run, "model.bin", 10)
        world.delete(run)
        return run

    def roots(self, world: World) -> list[str]:
        """Name the roots that the database names by itself."""
        return list(with_named_roots(world.settings).roots[len(world.settings.roots) :])

    def reopened(self, world: World) -> None:
        """Start again with the roots that the database names, as the verb does."""
        world.restart(roots=with_named_roots(world.settings).roots)

    @pytest.mark.parametrize("own", [False, True], ids=["root/id", "own location"])
    def test_they_count_as_roots(self, world: World, own: bool) -> None:
        """`<root>/<its id>`, or a location that somebody gave it."""
        top = world.home / "elsewhere"
        location = top if own else top / DEAD
        run = self.lying_at(world, location, location)
        assert self.roots(world) == [str(top)]
        self.reopened(world)
        assert collect(world).fates(run) == [REMOVED]
        assert is_gone(world, run)

    def test_configured_ones_stay_as_they_are(self, world: World, inside: Run) -> None:
        """Nothing that lies in one of them is one of its own."""
        assert self.roots(world) == []
        assert collect(world).fates(inside) == [REMOVED]

    @pytest.mark.parametrize("location", ["/", "//", "/7", "/../7"])
    def test_whole_file_system_is_none(self, world: World, location: str) -> None:
        """Whatever a client says."""
        world.db.experiment(DEAD, f"file://{location}")
        assert self.roots(world) == []

    @pytest.mark.parametrize("location", ["s3://bucket/x", "hdfs://h/x", "", "file:\x00", "~/x"])
    def test_other_places_are_none(self, world: World, location: str) -> None:
        """Only what lies on this file system can be."""
        world.db.experiment(DEAD, location)
        assert self.roots(world) == []

    def test_what_is_not_there_is_none(self, world: World) -> None:
        """It may not be mounted, so rows there stay."""
        run = self.lying_at(world, world.home / "far" / DEAD, world.home / "near" / DEAD)
        assert self.roots(world) == []
        self.reopened(world)
        assert collect(world).fates(run) == [FAILED]
        assert has_row(world, run)

    def test_directory_without_any_run_of_ours_is_none(self, world: World) -> None:
        """Any client can name any directory; nothing is left in it."""
        home = world.home / "user"
        world.write(home, "letter", 10)
        world.db.experiment(DEAD, f"file://{home}")
        assert self.roots(world) == []

    def test_root_of_another_database_is_none(self, world: World, tmp_path: Path) -> None:
        """What a client says of it refuses nothing, and adopts nothing."""
        other = World.make(tmp_path / "other")
        other.cycle()
        place = other.root / DEAD
        run = self.lying_at(world, place, place)
        mine = world.run()
        world.delete(mine)
        assert self.roots(world) == []
        self.reopened(world)
        assert collect(world).every_fate == {run.id: FAILED, mine.id: REMOVED}
        assert is_whole(world, run)
        other.close()

    def test_experiment_that_is_a_link(self, world: World) -> None:
        """What it leads to is somebody else's."""
        top, real = world.home / "elsewhere", world.home / "real"
        run = self.lying_at(world, top / DEAD, real)
        top.mkdir()
        (top / DEAD).symlink_to(real)
        self.reopened(world)
        assert collect(world).fates(run) == [FAILED]
        assert is_whole(world, run)

    def test_root_that_is_a_link(self, world: World) -> None:
        """As a configured root may be one: the same directory under another name."""
        top, real = world.home / "elsewhere", world.home / "real"
        run = self.lying_at(world, top / DEAD, real / DEAD)
        top.symlink_to(real)
        self.reopened(world)
        assert collect(world).fates(run) == [REMOVED]
        assert is_gone(world, run)

    def test_settings_are_otherwise_the_same(self, world: World) -> None:
        """Only roots are added."""
        self.lying_at(world, world.home / "elsewhere" / DEAD, world.home / "elsewhere" / DEAD)
        named = with_named_roots(world.settings)
        assert replace(named, roots=world.settings.roots) == world.settings

    def test_looking_does_not_mark_them(self, world: World) -> None:
        """`--dry-run` leaves no owner marker behind."""
        place = world.home / "elsewhere" / DEAD
        run = self.lying_at(world, place, place)
        self.reopened(world)
        before = sorted(world.home.rglob("elsewhere/**/*"))
        assert shown(world) == {run.id: None}
        assert sorted(world.home.rglob("elsewhere/**/*")) == before
