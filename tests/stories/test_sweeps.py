"""Full cycles: what nobody claims is found, and taken only when that is sure."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mlflow_cleanup.errors import PlanOutdated, SweepRefused
from mlflow_cleanup.model.plan import SweepPlan, Terms
from mlflow_cleanup.model.verdict import Kept
from tests.kit.trees import look as look_at
from tests.kit.world import Run, World

LOST = "f" * 32
MODEL = "m-" + "e" * 32


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
        real = os.scandir

        def scandir(path: int | str) -> object:
            name = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else path
            if name.endswith("/odd") and not is_seen:
                raise PermissionError(13, "Permission denied")
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)
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
            stocked.restart(database=str(other / "mlflow.db"))

        with pytest.raises(PlanOutdated):
            stocked.carry_out(plan)

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
