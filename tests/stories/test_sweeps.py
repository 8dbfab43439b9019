"""Full cycles: what nobody claims is found, and taken only when that is sure."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mlflow_cleanup.errors import PlanOutdated, PlanRefused, StoreUnreachable, SweepRefused
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.item import ItemState, Size
from mlflow_cleanup.model.plan import SweepPlan, Terms
from mlflow_cleanup.model.verdict import Kept
from tests.kit.faulty import io_error
from tests.kit.trees import look as look_at
from tests.kit.world import Run, World

LOST = "f" * 32
MODEL = "m-" + "e" * 32
TRACE = "tr-" + "d" * 32


@pytest.fixture
def stocked(world: World) -> World:
    """A world with plenty in use, so that no plan takes most of it; its root is adopted."""
    world.run({"large": 10_000})
    world.cycle()
    world.workplace.adopt(str(world.root), alone=True)
    world.cycle()
    return world


def lost(world: World, inside: str = f"0/{LOST}/artifacts", size: int = 100) -> Path:
    """Put files where a run's would be that no database has ever heard of."""
    place = world.root / inside
    world.write(place, "model.bin", size)
    return place


def exported(world: World) -> Path:
    """Put a model where a version's copy could be."""
    place = world.root / "exported" / "model"
    world.write(place, "MLmodel", 100)
    return place


def unclaim(world: World) -> None:
    """Let every trace go, as MLflow does."""
    world.db.execute("DELETE FROM trace_tags")
    world.db.execute("DELETE FROM trace_info")


def scandir_without(name: str) -> Callable[[int | str], object]:
    """Make a directory of this name unreadable, for whoever would be allowed to as well."""
    real = os.scandir

    def scandir(path: int | str) -> object:
        where = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else path
        if where.endswith(f"/{name}"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    return scandir


def crash() -> None:
    """End the process, as far as a story can."""
    raise KeyboardInterrupt


def reasons(plan: SweepPlan) -> list[Kept]:
    """Say why what left is kept."""
    return [item.verdict.reason for item in plan.keep if isinstance(item.verdict.reason, Kept)]


def wait_and_sweep(world: World) -> None:
    """Let everything become old enough, and do the two full cycles that an orphan needs."""
    world.advance(days=4)
    world.sweep()
    world.advance(hours=4)
    world.sweep()


class TestOrphans:
    """What has the shape of a run's directory, and no row."""

    def test_is_taken_when_seen_twice_and_old(self, stocked: World) -> None:
        """Unclaimed in two full cycles four hours apart, and untouched for three days."""
        place = lost(stocked)
        wait_and_sweep(stocked)

        assert not place.exists()
        assert stocked.bytes_in_trash() == 100

    def test_quick_full_cycles_do_not_count_for_two(self, stocked: World) -> None:
        """However often it is looked at within four hours, it was seen once."""
        place = lost(stocked)
        stocked.advance(days=4)
        for _ in range(5):
            stocked.sweep()
            stocked.advance(minutes=59)

        assert stocked.bytes_at(place) == 100

    def test_young_files_are_left_alone(self, stocked: World) -> None:
        """A client may write first and commit its row much later."""
        place = lost(stocked)
        for _ in range(3):
            stocked.advance(hours=20)
            stocked.sweep()

        assert reasons(stocked.plan()) == [Kept.TOO_YOUNG]
        assert stocked.bytes_at(place) == 100

    def test_claimed_in_between_begins_anew(self, stocked: World) -> None:
        """What had a row between two full cycles was not unclaimed all the time."""
        place = lost(stocked)
        stocked.advance(days=4)
        stocked.sweep()
        stocked.run({}, id_=LOST)
        stocked.advance(hours=2)
        stocked.sweep()
        stocked.db.execute("DELETE FROM runs WHERE run_uuid = ?", LOST)
        stocked.ledger.known.forget_all()
        stocked.advance(hours=3)
        stocked.sweep()

        assert stocked.bytes_at(place) == 100

    def test_plan_from_before_its_claim_does_not_count(self, stocked: World) -> None:
        """Carried out late, it says of then that nobody claimed it, and nothing of since."""
        place = lost(stocked, f"0/traces/{TRACE}/artifacts")
        stocked.advance(days=4)
        stocked.sweep()
        stocked.advance(seconds=5)
        plan = stocked.plan()
        stocked.db.trace(TRACE, f"mlflow-artifacts:/0/traces/{TRACE}/artifacts")
        stocked.advance(hours=2)
        stocked.sweep()
        stocked.carry_out(plan)
        stocked.advance(hours=4.5)
        unclaim(stocked)
        stocked.sweep()

        assert stocked.bytes_at(place) == 100

    @pytest.mark.parametrize("table", ["trace_info", "trace_tags", "logged_models", "datasets"])
    def test_nothing_is_unclaimed_while_a_table_is_missing(
        self, stocked: World, table: str
    ) -> None:
        """As in the middle of a migration, which makes tables anew and is seen half done."""
        trace = lost(stocked, f"0/traces/{TRACE}/artifacts")
        model = lost(stocked, f"0/models/{MODEL}/artifacts")
        left = lost(stocked)
        stocked.db.trace(TRACE, f"mlflow-artifacts:/0/traces/{TRACE}/artifacts")
        stocked.db.logged_model(MODEL, f"mlflow-artifacts:/0/models/{MODEL}/artifacts")
        stocked.advance(days=4)
        stocked.sweep()
        stocked.advance(hours=4)
        with stocked.db.connection() as connection:
            connection.execute("PRAGMA legacy_alter_table = ON")
            connection.execute(f"ALTER TABLE {table} RENAME TO _alembic_tmp_{table}")
        assert stocked.plan().take == ()
        for _ in range(2):
            with pytest.raises(PlanRefused, match=f"table {table} is missing"):
                stocked.sweep()
            stocked.advance(hours=5)
        assert {stocked.bytes_at(place) for place in (trace, model, left)} == {100}

        stocked.db.execute(f"ALTER TABLE _alembic_tmp_{table} RENAME TO {table}")
        wait_and_sweep(stocked)
        assert [place.exists() for place in (trace, model, left)] == [True, True, False]

    def test_claimed_while_not_everything_was_seen_begins_anew(
        self, stocked: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What a full cycle could not judge was not seen unclaimed by it, nor by the one before."""
        place = lost(stocked, f"0/traces/{TRACE}/artifacts")
        stocked.advance(days=4)
        stocked.sweep()
        stocked.db.trace(TRACE, f"mlflow-artifacts:/0/traces/{TRACE}/artifacts")
        (stocked.root / "odd").mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", scandir_without("odd"))
            stocked.advance(hours=5)
            stocked.sweep()
        unclaim(stocked)
        stocked.advance(hours=5)
        stocked.sweep()
        assert stocked.bytes_at(place) == 100

        stocked.advance(hours=4)
        stocked.sweep()
        assert not place.exists()

    def test_claimed_while_everything_was_refused_begins_anew(self, stocked: World) -> None:
        """No full cycle could look then, so none saw that it was claimed."""
        place = lost(stocked, f"0/traces/{TRACE}/artifacts")
        stocked.advance(days=4)
        stocked.sweep()
        stocked.db.trace(TRACE, f"mlflow-artifacts:/0/traces/{TRACE}/artifacts")
        (known,) = stocked.db.execute("SELECT version_num FROM alembic_version")[0]
        stocked.db.execute("UPDATE alembic_version SET version_num = 'feedfacecafe'")
        with pytest.raises(PlanRefused):
            stocked.sweep()
        stocked.db.execute("UPDATE alembic_version SET version_num = ?", known)
        unclaim(stocked)
        stocked.advance(hours=5)
        stocked.sweep()
        assert stocked.bytes_at(place) == 100

        stocked.advance(hours=4)
        stocked.sweep()
        assert not place.exists()

    def test_root_that_was_not_adopted_is_only_reported(self, world: World) -> None:
        """Another database may use the root as well: an operator has to say that none does."""
        world.run({"large": 10_000})
        place = lost(world)
        wait_and_sweep(world)

        assert reasons(world.plan()) == [Kept.NOT_ADOPTED]
        assert world.bytes_at(place) == 100

    def test_copy_kept_elsewhere_is_foreign(self, stocked: World) -> None:
        """A backup of runs that somebody keeps under the root is nobody's garbage."""
        place = lost(stocked, f"backup of 2024/0/{LOST}/artifacts")
        wait_and_sweep(stocked)

        assert stocked.bytes_at(place) == 100
        assert [set(root.foreign) for root in stocked.plan().roots] == [{"backup of 2024/0"}]

    @pytest.mark.parametrize("is_seen", [False, True])
    def test_unreadable_directory_makes_the_root_report_only(
        self, stocked: World, monkeypatch: pytest.MonkeyPatch, *, is_seen: bool
    ) -> None:
        """Not everything was seen, so nothing counts as unclaimed."""
        place = lost(stocked)
        (stocked.root / "odd").mkdir()
        if not is_seen:
            monkeypatch.setattr(os, "scandir", scandir_without("odd"))
        wait_and_sweep(stocked)

        assert place.exists() is not is_seen

    def test_unknown_place_column_makes_every_root_report_only(self, stocked: World) -> None:
        """A later MLflow may claim places in a column that is not known here."""
        stocked.db.execute("ALTER TABLE runs ADD COLUMN archive_uri TEXT")
        place = lost(stocked)
        wait_and_sweep(stocked)

        assert reasons(stocked.plan()) == [Kept.REPORT_ONLY]
        assert stocked.bytes_at(place) == 100

    def test_written_to_since_the_plan_is_left_alone(self, stocked: World) -> None:
        """What a plan takes is looked at again right before."""
        place = lost(stocked)
        stocked.advance(days=4)
        stocked.sweep()
        stocked.advance(hours=5)
        plan = stocked.plan()
        assert len(plan.take) == 1
        stocked.write(place, "late", 5)

        assert [step.result.value for step in stocked.carry_out(plan)] == ["skipped"]
        assert stocked.bytes_at(place) == 105

    @pytest.mark.parametrize("happens", ["overwritten", "added", "times set"])
    def test_changed_since_the_plan_is_left_alone_whatever_its_times_say(
        self, stocked: World, happens: str
    ) -> None:
        """MLflow's own clients copy files into place with the times of their originals."""
        place = lost(stocked)
        stocked.advance(days=4)
        stocked.sweep()
        stocked.advance(hours=5)
        plan = stocked.plan()
        file = place / ("model.bin" if happens != "added" else "new")
        before = {path: os.stat(path) for path in (place, place / "model.bin")}
        (judged,) = plan.take
        while not file.exists() or os.stat(file).st_ctime <= (judged.changed or 0.0):
            if happens != "times set":
                file.write_bytes(b"new" * 50)
            os.utime(file, (10, 10))
            for path, status in before.items():
                os.utime(path, (status.st_atime, status.st_mtime))

        (step,) = stocked.carry_out(plan)
        assert (step.result.value, "since the plan was made" in step.detail) == ("skipped", True)
        assert file.exists()

    def test_one_that_became_a_link_stops_no_other(self, stocked: World) -> None:
        """Each failure by itself: it is kept, and the rest of the plan is carried out."""
        plan = self.planned(stocked)
        place = stocked.root / "0" / ("b" * 32) / "artifacts"
        place.rename(stocked.home / "aside")
        place.symlink_to(stocked.home / "aside")

        results = [step.result.value for step in stocked.carry_out(plan)]

        assert sorted(results) == ["quarantined", "quarantined", "skipped"]
        assert stocked.bytes_at(stocked.home / "aside") == 10

    @pytest.mark.parametrize("error", [io_error, lambda: StoreUnreachable("/art", "gone")])
    def test_what_cannot_be_looked_at_again_is_kept(
        self, stocked: World, error: Callable[[], Exception]
    ) -> None:
        """It may have been written to since: that it was not is not known."""
        plan = self.planned(stocked)
        stocked.faults.fail("newest_times", error)

        steps = stocked.carry_out(plan)

        assert [step.result.value for step in steps] == ["skipped"] * 3
        assert all(str(error()) in step.detail for step in steps)
        assert stocked.trash() == []

    def planned(self, world: World) -> SweepPlan:
        """Return a plan that takes three orphans of 10 bytes."""
        for letter in "abc":
            lost(world, f"0/{letter * 32}/artifacts", 10)
        world.advance(days=4)
        world.sweep()
        world.advance(hours=5)
        plan = world.plan()
        assert len(plan.take) == 3
        return plan

    def test_pinned_is_kept(self, stocked: World) -> None:
        """A pin in the ledger beats every reason to delete."""
        place = lost(stocked)
        stocked.ledger.pins.add([LOST], stocked.ledger.now(stocked.clock.read()).at, "for Ada")
        wait_and_sweep(stocked)

        assert stocked.bytes_at(place) == 100

    def test_reused_experiment_directory_is_judged_by_entity(self, stocked: World) -> None:
        """An experiment's id, and directory, can be a dead one's: its new runs stay."""
        dead = lost(stocked, f"0/models/{MODEL}/artifacts")
        alive = stocked.run({"new": 50})
        wait_and_sweep(stocked)

        assert not dead.exists()
        assert stocked.bytes_at(alive) == 50


class TestVersions:
    """Copies of deleted model versions, which have no shape of their own."""

    def deleted(self, world: World, place: str, *versions: int) -> None:
        """Delete versions of a model that were copied to a place."""
        for version in versions:
            world.register("gone", version=version, storage_location=place)
            world.unregister(version)

    def test_place_of_two_is_taken_once(self, stocked: World) -> None:
        """Both are gone, and so is the one directory that they had; others are taken as ever."""
        place = exported(stocked)
        self.deleted(stocked, f"file://{place}", 1)
        self.deleted(stocked, "mlflow-artifacts:/exported/model", 2)
        other = stocked.run({"a": 7})
        stocked.delete(other)

        steps = stocked.sweep()

        assert [step.result.value for step in steps] == ["quarantined"] * 2
        assert stocked.bytes_in_trash() == 107

    def test_restored_by_hand_it_is_left_alone_for_both(self, stocked: World) -> None:
        """An operator's word holds for the place, whichever version is asked for next."""
        place = exported(stocked)
        self.deleted(stocked, str(place), 1)
        stocked.sweep()
        (item,) = (item for item in stocked.items() if item.location.path == str(place))
        assert stocked.bytes_at(place) == 0
        stocked.restore_by_hand(Run(item.entity.id, place))
        assert stocked.bytes_at(place) == 100

        self.deleted(stocked, str(place), 2)
        stocked.sweep()

        assert stocked.bytes_at(place) == 100

    @pytest.mark.parametrize("around", ["0/models", "0/traces", "workspaces/team", "workspaces"])
    def test_place_around_other_entities_is_kept(self, stocked: World, around: str) -> None:
        """What lies in it is judged by itself: too young, pinned, or live, it stays."""
        inside = f"models/{MODEL}" if around.startswith("workspaces") else MODEL
        if around == "0/traces":
            inside = f"tr-{'e' * 32}"
        team = "/team/0" if around == "workspaces" else "/0" if "team" in around else ""
        place = lost(stocked, f"{around}{team}/{inside}/artifacts")
        self.deleted(stocked, f"mlflow-artifacts:/{around}", 1)
        stocked.sweep()

        assert stocked.bytes_at(place) == 100
        assert reasons(stocked.plan()) == [Kept.NOT_ITS_OWN, Kept.TOO_YOUNG]

    def test_place_around_an_artifact_root_is_kept(self, stocked: World) -> None:
        """A root of its own inside another one, with a trash of its own."""
        inner = stocked.root / "shared" / "inner"
        inner.mkdir(parents=True)
        stocked.restart(roots=(str(stocked.root), str(inner)))
        stocked.cycle()
        run = stocked.run({}, uri=f"{inner}/0/{LOST}/artifacts", id_=LOST)
        stocked.write(inner / "0" / LOST / "artifacts", "a", 10)
        stocked.cycle()
        stocked.delete(run)
        stocked.cycle()
        assert stocked.bytes_in_trash(run) == 10
        self.deleted(stocked, f"file://{stocked.root}/shared", 1)
        stocked.sweep()

        stocked.undelete(run)
        stocked.cycle()
        assert stocked.bytes_at(inner / "0" / LOST / "artifacts") == 10


class TestRootsInRoots:
    """What an inner root holds is judged there, and nowhere else."""

    def test_inner_root_of_another_database_is_left_alone(self, stocked: World) -> None:
        """Adopting the outer one says nothing about it."""
        inner = stocked.root / "workspaces" / "team"
        place = lost(stocked, f"workspaces/team/0/{LOST}/artifacts")
        stocked.restart(roots=(str(stocked.root), str(inner)))
        stocked.cycle()
        marker = inner / ".mlflow-cleanup" / "owner.json"
        told = json.loads(marker.read_text(encoding="utf-8"))
        marker.write_text(json.dumps({**told, "ledger": "theirs"}), encoding="utf-8")
        stocked.restart()
        for _ in range(2):
            plan = stocked.plan()
            now = stocked.ledger.now(stocked.clock.read())
            stocked.ledger.sightings.note(plan.unclaimed, now, plan.made_at)
            stocked.advance(days=4)

        assert [root.unseen != () for root in stocked.plan().roots] == [False, True]
        assert stocked.plan().take == ()
        assert stocked.bytes_at(place) == 100

    def test_bytes_are_counted_once(self, stocked: World) -> None:
        """In the innermost root, where they are taken too."""
        inner = stocked.root / "workspaces" / "team"
        place = lost(stocked, f"workspaces/team/0/{LOST}/artifacts")
        stocked.restart(roots=(str(stocked.root), str(inner)))
        stocked.cycle()
        stocked.workplace.adopt(str(inner), alone=True)
        stocked.restart(terms=Terms(most_share=1.0))
        assert [root.total.bytes for root in stocked.plan().roots] == [10_000, 100]
        wait_and_sweep(stocked)

        assert not place.exists()
        assert [item.location.root for item in stocked.items()] == [str(inner)]


class TestShells:
    """Empty directories that MLflow's own gc leaves behind."""

    @pytest.mark.parametrize("inside", [f"0/{LOST}", f"0/models/{MODEL}"])
    def test_is_removed_when_old(self, stocked: World, inside: str) -> None:
        """They hold nothing, and go once they are three days old."""
        shell = stocked.root / inside
        shell.mkdir(parents=True)
        os.utime(shell, (stocked.clock.wall_s, stocked.clock.wall_s))
        stocked.sweep()
        assert shell.exists()

        stocked.advance(days=4)
        stocked.sweep()
        assert not shell.exists()
        assert shell.parent.exists()

    def test_stopped_it_removes_no_more(self, stocked: World) -> None:
        """The step in hand is finished, the others are left for the next time."""
        shells = [stocked.root / "0" / (letter * 32) for letter in "abc"]
        for shell in shells:
            shell.mkdir(parents=True)
            os.utime(shell, (stocked.clock.wall_s, stocked.clock.wall_s))
        stocked.advance(days=4)
        plan = stocked.plan()
        stocked.faults.after("remove_empty", stocked.workplace.stop.set)
        assert len(stocked.carry_out(plan)) == 1
        assert sum(shell.exists() for shell in shells) == 2

        stocked.workplace.stop.clear()
        results = [step.result.value for step in stocked.carry_out(plan)]
        assert sorted(results) == ["removed", "removed", "skipped"]
        assert not any(shell.exists() for shell in shells)


class TestPlans:
    """Plans as values."""

    def test_making_one_changes_nothing(self, stocked: World) -> None:
        """Neither artifacts nor ledger nor database are written to."""
        lost(stocked)
        before = look_at(stocked.home)
        stocked.plan()

        assert look_at(stocked.home) == before

    def test_deleted_run_of_the_backlog_is_found(self, world: World) -> None:
        """Deleted before the first start, and without a time of deletion: MLflow skips it."""
        world.run({"large": 10_000})
        old = world.run({"old": 70}, lifecycle_stage="deleted")
        world.db.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", old.id)
        world.ledger.known.forget_all()
        world.ledger.set_identity(None)
        world.cycle()
        world.sweep()

        assert world.bytes_at(old) == 0
        assert world.bytes_in_trash(old) == 70

    def test_most_of_a_root_needs_a_confirmation(self, world: World) -> None:
        """More than half of the bytes at once is believed only when somebody says so."""
        run = world.run({"large": 10_000})
        world.cycle()
        world.db.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", run.id)
        plan = world.plan()
        with pytest.raises(SweepRefused) as caught:
            world.carry_out(plan)
        assert world.bytes_at(run) == 10_000

        assert world.ledger.brakes.confirm(caught.value.plan_id)
        world.carry_out(plan)
        assert world.bytes_in_trash(run) == 10_000

    def test_confirmation_holds_for_once(self, world: World) -> None:
        """The same runs restored and lost again: somebody is asked again."""
        run = world.run({"large": 10_000})
        world.cycle()
        for _ in range(2):
            world.db.execute("UPDATE runs SET lifecycle_stage = 'deleted'")
            plan = world.plan()
            with pytest.raises(SweepRefused) as caught:
                world.carry_out(plan)
            assert world.bytes_at(run) == 10_000
            assert world.ledger.brakes.confirm(caught.value.plan_id)
            world.carry_out(plan)
            assert world.bytes_in_trash(run) == 10_000
            world.undelete(run)
            world.cycle()
            world.advance(seconds=1)

    def test_confirmed_plan_that_was_stopped_goes_on(self, world: World) -> None:
        """It was not done, so nobody has to be asked once more."""
        runs = [world.run({"large": 10_000}) for _ in range(2)]
        world.cycle()
        world.db.execute("UPDATE runs SET lifecycle_stage = 'deleted'")
        plan = world.plan()
        with pytest.raises(SweepRefused) as caught:
            world.carry_out(plan)
        assert world.ledger.brakes.confirm(caught.value.plan_id)
        world.workplace.stop.set()
        assert world.carry_out(plan) == []

        world.workplace.stop.clear()
        world.carry_out(plan)
        assert [world.bytes_in_trash(run) for run in runs] == [10_000] * 2

    @pytest.mark.parametrize("why", ["old", "done", "elsewhere"])
    def test_outdated_one_is_refused(self, stocked: World, why: str) -> None:
        """A plan is carried out once, within a day, on its own database."""
        lost(stocked)
        plan = stocked.plan()
        if why == "old":
            stocked.advance(hours=25)
        elif why == "done":
            stocked.carry_out(plan)
        else:
            other = stocked.home.with_name("other")
            shutil.copytree(stocked.home, other)
            stocked.restart(database=Database.of_file(str(other / "mlflow.db")))

        with pytest.raises(PlanOutdated):
            stocked.carry_out(plan)

    def test_takes_exactly_what_was_shown(self, stocked: World) -> None:
        """Not what was deleted later; what fell due is purged as it would have been anyway."""
        due, shown, later = (stocked.run({"a": size}) for size in (1, 10, 100))
        stocked.cycle()
        stocked.delete(due)
        stocked.cycle()
        stocked.delete(shown)
        stocked.advance(days=7)
        plan = stocked.plan()
        stocked.delete(later)

        steps = stocked.carry_out(plan)

        assert [(step.result.value, step.size) for step in steps] == [("quarantined", Size(1, 10))]
        assert stocked.bytes_in_trash(due) == 0
        assert stocked.bytes_in_trash(shown) == 10
        assert stocked.bytes_at(later) == 100

    def test_full_cycle_tells_of_each_run_once(self, stocked: World) -> None:
        """What it takes is its own; the ordinary cycle after it has the rest to do."""
        due, known = (stocked.run({"a": size}) for size in (1, 10))
        stocked.cycle()
        stocked.delete(due)
        stocked.cycle()
        stocked.advance(days=7)
        unseen = stocked.run({"a": 100})
        stocked.delete(known, unseen)

        steps = stocked.sweep()

        assert sorted(step.judged.candidate.entity.id for step in steps) == [known.id, unseen.id]
        assert [stocked.history(run) for run in (known, unseen)] == [["quarantined"]] * 2
        assert stocked.history(due) == ["quarantined", "purged"]
        stocked.undelete(unseen)
        stocked.cycle()
        assert stocked.bytes_at(unseen) == 100

    def test_move_that_was_interrupted_is_settled_first(self, stocked: World) -> None:
        """What a crash left half-way is finished before the plan is carried out."""
        run = stocked.run({"a": 10})
        stocked.cycle()
        stocked.delete(run)
        plan = stocked.plan()
        stocked.faults.after("quarantine", crash)
        with pytest.raises(KeyboardInterrupt):
            stocked.carry_out(plan)
        stocked.restart()

        assert [step.result.value for step in stocked.carry_out(plan)] == ["skipped"]
        assert stocked.states(run) == [ItemState.QUARANTINED]
        assert stocked.bytes_in_trash(run) == 10

    def test_run_restored_since_is_skipped(self, stocked: World) -> None:
        """A decision may be stale, a deletion may not."""
        run: Run = stocked.run({"a": 30})
        stocked.cycle()
        stocked.restart()
        stocked.delete(run)
        plan = stocked.plan()
        stocked.undelete(run)

        assert [step.result.value for step in stocked.carry_out(plan)] == ["skipped"]
        assert stocked.bytes_at(run) == 30

    def test_at_once_takes_what_was_seen_once(self, stocked: World) -> None:
        """An operator who knows that nobody writes may say so, in plain words."""
        place = lost(stocked)
        stocked.restart(terms=Terms(at_once=True))
        stocked.sweep()

        assert not place.exists()
