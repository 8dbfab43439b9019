"""`gc`: bytes first, and the row only when they are verifiably gone."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_cleanup.errors import PlanRefused
from mlflow_cleanup.model.location import RESERVED
from tests.kit.collecting import (
    FAILED,
    KEPT,
    REMOVED,
    collect,
    has_row,
    is_gone,
    is_whole,
    model,
    rows,
    seen_world,
    shown,
    trashed_bytes,
)
from tests.kit.faults import before, fail
from tests.kit.world import Run, World, tree

AT_ONCE = timedelta(0)
HOUR = timedelta(hours=1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world with an empty tracking database and no retention, seen once already."""
    yield from seen_world(tmp_path)


class TestUsual:
    """Where nothing stands in the way."""

    def test_nothing_is_left_of_a_deleted_run(self, world: World) -> None:
        """Its files, its empty directory, its row and all that hangs on it; others stay."""
        runs = [world.run({"a": 10, "deep/b": 100}) for _ in range(3)]
        for run in runs:
            world.tag(run, "mlflow.user", "telling")
        world.delete(*runs[:2])

        told = collect(world)

        assert told.fates(*runs) == [REMOVED, REMOVED]
        assert [is_gone(world, run) for run in runs] == [True, True, False]
        assert is_whole(world, runs[2], 110)
        assert (told.tally.freed.files, told.tally.freed.bytes) == (4, 220)

    def test_row_goes_after_the_bytes(self, world: World, deleted: Run) -> None:
        """While files are being removed the row is there; when it goes, they are gone."""
        seen: list[tuple[bool, bool]] = []

        def look() -> None:
            seen.append((has_row(world, deleted), trashed_bytes(world, deleted) > 0))

        world.faults.before("purge", look)
        collect(world, before_rows=look)

        assert seen == [(True, True), (True, False)]
        assert is_gone(world, deleted)

    def test_run_without_files_goes(self, world: World) -> None:
        """Nothing was ever written, or somebody removed it."""
        never, removed = world.run({}), world.run()
        world.delete(never, removed)
        shutil.rmtree(removed.place.parent)

        told = collect(world)

        assert told.fates(never, removed) == [REMOVED, REMOVED]
        assert rows(world, never, removed) == [False, False]

    def test_what_was_deleted_before_the_first_start_goes(self, tmp_path: Path) -> None:
        """A first gc finds a backlog, which is what it was started for."""
        world = World.make(tmp_path / "other", retention=AT_ONCE)
        run = world.run()
        world.delete(run)
        assert collect(world).fates(run) == [REMOVED]
        assert is_gone(world, run)
        world.close()

    @pytest.mark.usefixtures("deleted")
    def test_history_remembers(self, world: World) -> None:
        """What was removed of MLflow's rows is in the ledger; nothing removed is not."""
        collect(world)
        assert world.history()[-1] == "collected"
        assert world.ledger.history.latest(1)[0].detail == "1 run"
        count = len(world.history())
        assert collect(world).one_by_one == []
        assert len(world.history()) == count

    @pytest.mark.usefixtures("deleted")
    def test_next_cycles_see_nothing_odd(self, world: World) -> None:
        """A row that we removed ourselves has not vanished."""
        collect(world)
        world.cycle()
        world.restart()
        world.cycle()
        assert "refused" not in world.told()
        assert (
            world.ledger.vanished_within(timedelta(days=1), world.ledger.now(world.clock.read()))
            == 0
        )

    def test_looking_changes_nothing(self, world: World, deleted: Run) -> None:
        """`--dry-run` says of each row whether it would go."""
        world.tag(pinned := world.run(), "mlflow-cleanup.keep", "true")
        world.delete(pinned)
        before_it = tree(world.home)
        assert shown(world) == {deleted.id: None, pinned.id: "pinned by an operator"}
        assert tree(world.home) == before_it

    def test_many_pages(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """More than are read at once, files and rows of all of them."""
        monkeypatch.setattr("mlflow_cleanup.observe.deleted.PAGE", 7)
        runs = [world.run() for _ in range(30)]
        world.delete(*runs[::2])
        assert collect(world).fates(*runs) == [REMOVED] * 15
        assert rows(world, *runs) == [False, True] * 15


class TestRootThatCannotBeSeen:
    """Not seen is not gone: the rows stay."""

    @pytest.mark.parametrize("how", ["renamed away", "unmounted", "marker missing"])
    def test_row_stays(self, world: World, deleted: Run, how: str) -> None:
        """Until the root is back; the files under it are as they were."""
        away = world.home / "away"
        reserved, kept_marker = world.root / RESERVED, world.home / "marker"
        if how == "marker missing":
            reserved.rename(kept_marker)
        else:
            world.root.rename(away)
        if how == "unmounted":
            world.root.mkdir()

        told = collect(world)

        assert told.fates(deleted) == [FAILED]
        assert has_row(world, deleted)
        if how == "marker missing":
            kept_marker.rename(reserved)
        else:
            with suppress(FileNotFoundError):
                shutil.rmtree(world.root)
            away.rename(world.root)
        assert is_whole(world, deleted)
        assert collect(world).fates(deleted) == [REMOVED]
        assert is_gone(world, deleted)

    @pytest.mark.parametrize("how", ["renamed away", "unmounted", "marker missing"])
    def test_row_without_files_stays(self, world: World, how: str) -> None:
        """Nobody can know that it has none."""
        run = world.run({})
        world.delete(run)
        if how == "marker missing":
            shutil.rmtree(world.root / RESERVED)
        else:
            world.root.rename(world.home / "away")
        if how == "unmounted":
            world.root.mkdir()
        assert collect(world, files=False).fates(run) == [FAILED]
        assert has_row(world, run)

    @pytest.mark.parametrize("is_mounted", [True, False])
    def test_root_lost_in_the_middle(self, world: World, deleted: Run, is_mounted: bool) -> None:
        """Between the files and the row: what is not there may lie somewhere else now."""

        def lose() -> None:
            world.root.rename(world.home / "away")
            if not is_mounted:
                world.root.mkdir()

        assert collect(world, before_rows=lose).fates(deleted) == [FAILED]
        assert has_row(world, deleted)

    def test_root_of_another_owner(self, world: World, deleted: Run, tmp_path: Path) -> None:
        """Everything is refused until an operator says whose it is."""
        other = World.make(tmp_path / "other")
        other.cycle()
        shutil.copy(other.root / RESERVED / "owner.json", world.root / RESERVED / "owner.json")
        other.close()
        with pytest.raises(PlanRefused):
            collect(world)
        assert is_whole(world, deleted)

    def test_root_that_was_never_made(self, tmp_path: Path) -> None:
        """The artifacts may be kept elsewhere, and nobody said where."""
        world = World.make(tmp_path / "home", retention=AT_ONCE)
        world.root.rmdir()
        run = world.run({})
        world.delete(run)
        assert collect(world).fates(run) == [FAILED]
        assert has_row(world, run)
        assert not world.root.exists()
        world.close()

    def test_root_in_which_nothing_of_ours_was_ever_seen(self, tmp_path: Path) -> None:
        """It may be the wrong one, or not mounted: rows wait for an operator's word."""
        world = World.make(tmp_path / "home", retention=AT_ONCE)
        run = world.run({})
        world.delete(run)
        for _ in range(2):  # that we marked it ourselves the first time says nothing
            told = collect(world)
            assert told.fates(run) == [FAILED]
            assert "adopt" in told.why(run)
        world.workplace.adopt(str(world.root), alone=True)
        assert collect(world).fates(run) == [REMOVED]
        world.close()

    def test_root_with_another_run_of_ours_is_believed(self, tmp_path: Path) -> None:
        """A run without artifacts is nothing unusual."""
        world = World.make(tmp_path / "home", retention=AT_ONCE)
        world.run({"a": 1})
        run = world.run({})
        world.delete(run)
        assert collect(world).fates(run) == [REMOVED]
        world.close()

    def test_trash_with_items_that_the_ledger_does_not_know(
        self, world: World, deleted: Run
    ) -> None:
        """As after the ledger was lost: the bytes of any row may be in there."""
        shutil.rmtree(deleted.place)
        (world.root / RESERVED / "trash" / "feedfacecafebeef").mkdir(parents=True)
        told = collect(world)
        assert told.fates(deleted) == [FAILED]
        assert "doctor" in told.why(deleted)
        assert has_row(world, deleted)

    def test_root_that_is_no_directory(self, tmp_path: Path) -> None:
        """Something is there, and nobody knows what it stands for."""
        world = World.make(tmp_path / "home", retention=AT_ONCE)
        world.root.rmdir()
        world.root.write_bytes(b"telling")
        run = world.run({})
        world.delete(run)
        assert collect(world).fates(run) == [FAILED]
        assert has_row(world, run)
        world.close()

    @pytest.mark.parametrize("how", ["missing", "dangling link"])
    def test_missing_root_elsewhere(self, tmp_path: Path, how: str) -> None:
        """It may be a disk that is not mounted, or a link to one; the row stays."""
        home = tmp_path / "home"
        far = tmp_path / "far" / "art" if how == "missing" else home / "mlartifacts"
        world = World.make(
            home, retention=AT_ONCE, roots=(str(far),), artifacts_destination=str(far)
        )
        if how == "dangling link":
            far.rmdir()
            far.symlink_to(tmp_path / "nowhere")
        run = world.run({})
        world.delete(run)
        assert list(shown(world).values()) != [None]
        assert collect(world).fates(run) == [FAILED]
        assert has_row(world, run)
        world.close()


class TestFailing:
    """What cannot be removed keeps its row, and nobody else's."""

    @pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.EIO, errno.EROFS])
    def test_others_go(self, world: World, number: int) -> None:
        """One immutable file in the middle of three runs."""
        runs = [world.run({"a": 10, "stubborn" if one == 1 else "b": 100}) for one in range(3)]
        world.delete(*runs)

        with before("unlink", fail(OSError(number, os.strerror(number)), when="stubborn")):
            told = collect(world)

        assert told.every_fate == {runs[0].id: REMOVED, runs[1].id: FAILED, runs[2].id: REMOVED}
        assert "stubborn" in told.why(runs[1])
        assert rows(world, *runs) == [False, True, False]
        assert trashed_bytes(world, runs[1]) == 100
        world.advance(hours=1)
        assert collect(world).every_fate == {runs[1].id: REMOVED}
        assert is_gone(world, runs[1])

    @pytest.mark.parametrize("method", ["quarantine", "purge", "exists", "mark"])
    def test_store_that_fails_keeps_rows(self, world: World, deleted: Run, method: str) -> None:
        """Whatever it is that fails, before or after the move."""
        world.faults.fail(method)
        with suppress(OSError):
            assert set(collect(world).fates(deleted)) <= {FAILED, KEPT}
        assert has_row(world, deleted)
        assert world.bytes_at(deleted) + trashed_bytes(world, deleted) == 10
        world.faults.heal()
        world.advance(hours=7)
        assert collect(world).fates(deleted) == [REMOVED]
        assert is_gone(world, deleted)

    def test_row_that_the_database_does_not_let_go(self, world: World, deleted: Run) -> None:
        """The metrics of a logged model that is still active name it."""
        model(world, "m-1")
        world.db.insert(
            "logged_model_metrics",
            model_id="m-1",
            metric_name="x",
            metric_timestamp_ms=1,
            metric_step=1,
            metric_value=1,
            experiment_id=0,
            run_id=deleted.id,
        )
        told = collect(world)
        assert told.fates(deleted) == [KEPT]
        assert "logged model" in told.why(deleted)
        assert has_row(world, deleted)


Protect = Callable[[World, Run], object]


def claimed_by_a_run(world: World, run: Run) -> None:
    """Let a live run say that its artifacts lie there as well."""
    world.run({}, uri=f"mlflow-artifacts:/0/{run.id}/artifacts")


def nested(world: World, run: Run) -> None:
    """Let a live experiment lie inside."""
    world.db.experiment("7", f"file://{run.place}/inside")


def aliased(world: World, run: Run) -> None:
    """Register a version with an alias."""
    world.register(f"mlflow-artifacts:/0/{run.id}/artifacts", run_id=run.id)
    world.db.insert("registered_model_aliases", name="telling", alias="champion", version=1)


def pinned_here(world: World, run: Run) -> None:
    """Pin by `mlflow-cleanup pin`."""
    world.ledger.pins.add([run.id], world.ledger.now(world.clock.read()).at, "telling")


PROTECTED: dict[str, Protect] = {
    "pinned by a tag": lambda world, run: world.tag(run, "mlflow-cleanup.keep", "yes"),
    "pinned here": pinned_here,
    "pinned experiment": lambda world, _: world.db.tag_experiment(0, "mlflow-cleanup.keep", "yes"),
    "registered": lambda world, run: world.register(f"runs:/{run.id}/model.bin"),
    "registered by its place": lambda world, run: world.register(str(run.place)),
    "aliased": aliased,
    "storage of a version": lambda world, run: world.register(
        "x", storage_location=f"file://{run.place}/model"
    ),
    "model inside": lambda world, run: world.db.logged_model("m-1", str(run.place / "model")),
    "dataset": lambda world, run: world.db.dataset(
        "d", f"runs:/{run.id}/model.bin", world.run({}).id
    ),
    "another run's": claimed_by_a_run,
    "live experiment inside": nested,
}


class TestProtected:
    """What somebody can still reach keeps its files, and its row."""

    @pytest.mark.parametrize("how", PROTECTED)
    def test_files_and_row_stay(self, world: World, deleted: Run, how: str) -> None:
        """They are no failure; another deleted run goes all the same."""
        PROTECTED[how](world, deleted)
        other = world.run()
        if how == "pinned experiment":
            world.db.experiment("8", "mlflow-artifacts:/8")
            other = world.run(experiment="8")
        world.delete(other)

        told = collect(world)

        assert told.fates(deleted) == [KEPT], told.one_by_one
        assert told.why(deleted)
        assert is_whole(world, deleted)
        assert is_gone(world, other)
        assert collect(world, run_ids=(deleted.id,)).fates(deleted) == [KEPT]
        assert collect(world, files=False).fates(deleted) == [KEPT]
        assert is_whole(world, deleted)

    @pytest.mark.parametrize("how", PROTECTED)
    def test_registered_in_the_middle(self, world: World, deleted: Run, how: str) -> None:
        """After everything was selected, and before it was moved."""
        world.faults.before("quarantine", lambda: PROTECTED[how](world, deleted))
        assert collect(world).fates(deleted) == [KEPT]
        assert is_whole(world, deleted)

    @pytest.mark.parametrize("status", ["RUNNING", "SCHEDULED", "odd", None])
    def test_run_that_is_still_writing(self, world: World, status: str | None) -> None:
        """It stays until nothing was written for an hour: nothing could be undone."""
        run = world.run(status=status)
        world.delete(run)
        assert collect(world).fates(run) == [KEPT]
        assert is_whole(world, run)
        world.advance(minutes=59)
        world.write_late(run, "late", 100)
        world.advance(minutes=59)
        assert collect(world).fates(run) == [KEPT]
        assert is_whole(world, run, 110)
        world.advance(minutes=2)
        assert collect(world).fates(run) == [REMOVED]
        assert is_gone(world, run)

    @pytest.mark.parametrize(
        "uri", ["s3://bucket/x", "ftp://host/x", "../../etc", "/etc", "", None, 7]
    )
    def test_location_that_is_not_ours(
        self, world: World, deleted: Run, uri: str | int | None
    ) -> None:
        """The row is the only thing that says where it is; the others go."""
        odd = world.run({}, uri=uri)
        world.delete(odd)
        told = collect(world)
        assert told.every_fate == {odd.id: FAILED, deleted.id: REMOVED}
        assert has_row(world, odd)

    def test_place_that_is_a_link(self, world: World, deleted: Run) -> None:
        """MLflow stops with everything there; what it points to is somebody else's."""
        far = world.home / "far"
        deleted.place.rename(far)
        deleted.place.symlink_to(far)
        assert collect(world).fates(deleted) == [FAILED]
        assert has_row(world, deleted)
        assert world.bytes_at(far) == 10
