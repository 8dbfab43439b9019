"""Full cycles: what they take is what their plan shows, neither less nor more."""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_cleanup.act.quarantine import BATCH
from mlflow_cleanup.cycle.sweep import look
from mlflow_cleanup.decide.margins import FAILURES_IN_A_ROW
from mlflow_cleanup.errors import BadUsage, SweepRefused
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.plan import Step, StepResult, SweepPlan, Terms
from mlflow_cleanup.model.verdict import Gone, Kept
from tests.kit.faults import before
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


def taken(plan: SweepPlan) -> dict[str, int | None]:
    """Say whose places a plan takes, with their sizes."""
    return {item.candidate.entity.id: item.size.bytes if item.size else None for item in plan.take}


def results(steps: list[Step]) -> dict[str, str]:
    """Say what became of each entity."""
    return {step.judged.candidate.entity.id: step.result.value for step in steps}


class TestKnownRuns:
    """Runs that the ledger knew as active, which an ordinary cycle would take by itself."""

    def test_deleted_one_is_a_step_of_the_sweep(self, stocked: World) -> None:
        """What a sweep moves it also tells, with its size."""
        run = stocked.run({"a": 30})
        stocked.cycle()
        stocked.delete(run)
        planned = taken(stocked.plan())
        steps = stocked.sweep()

        assert planned == {run.id: 30}
        assert results(steps) == {run.id: "quarantined"}
        assert stocked.known(run) is RunState.GONE
        assert stocked.bytes_in_trash(run) == 30

    def test_brake_holds_for_them_as_well(self, stocked: World) -> None:
        """Most of a root is not taken before somebody has said so, however it left."""
        run = stocked.run({"huge": 90_000})
        stocked.cycle()
        stocked.delete(run)
        with pytest.raises(SweepRefused) as caught:
            stocked.sweep()
        assert stocked.bytes_at(run) == 90_000

        assert stocked.ledger.brakes.confirm(caught.value.plan_id)
        assert results(stocked.sweep()) == {run.id: "quarantined"}

    @pytest.mark.parametrize("is_noticed", [False, True])
    def test_one_without_its_row_is_in_the_plan(self, stocked: World, *, is_noticed: bool) -> None:
        """A known run whose row is gone needs no second look: it is no orphan."""
        run = stocked.run({"a": 30})
        stocked.cycle()
        stocked.hard_delete(run)
        if is_noticed:
            stocked.faults.fail("quarantine")
            stocked.cycle()
            stocked.faults.heal()
        plan = stocked.plan()

        assert taken(plan) == {run.id: 30}
        assert [item.candidate.gone for item in plan.take] == [Gone.VANISHED]
        assert results(stocked.sweep()) == {run.id: "quarantined"}

    def test_one_without_files_is_settled(self, stocked: World) -> None:
        """It has nothing to show in a plan, and is not looked at for ever."""
        run = stocked.run({})
        stocked.cycle()
        stocked.delete(run)

        assert stocked.sweep() == []
        assert stocked.known(run) is RunState.GONE

    def test_saved_plan_takes_nothing_else(self, stocked: World) -> None:
        """What was deleted after the plan was made waits for another one."""
        planned, later = stocked.run({"a": 30}), stocked.run({"b": 40})
        stocked.cycle()
        stocked.delete(planned)
        plan = stocked.plan()
        stocked.delete(later)

        assert results(stocked.carry_out(plan)) == {planned.id: "quarantined"}
        assert stocked.bytes_at(later) == 40


class TestStillWriting:
    """With retention 0, where nothing could be undone."""

    def test_deleted_run_that_did_not_end_is_kept(self, stocked: World) -> None:
        """It may still be written to, and is only taken once it was quiet for an hour."""
        run = stocked.run({"a": 30}, status="RUNNING")
        stocked.delete(run)
        stocked.restart(retention=timedelta(0))
        kept = [item.verdict.reason for item in stocked.plan().keep]
        assert stocked.sweep() == []
        assert stocked.bytes_at(run) == 30

        stocked.advance(hours=2)
        assert kept == [Kept.STILL_WRITING]
        assert results(stocked.sweep()) == {run.id: "purged"}

    def test_plan_made_with_another_retention_does_not_change_that(self, stocked: World) -> None:
        """The retention with which it is carried out is what counts."""
        run = stocked.run({"a": 30}, status="RUNNING")
        stocked.delete(run)
        plan = stocked.plan()
        stocked.restart(retention=timedelta(0))

        assert taken(plan) == {run.id: 30}
        assert results(stocked.carry_out(plan)) == {run.id: "skipped"}
        assert stocked.bytes_at(run) == 30


class TestRetention:
    """What lies in the trash already was promised to stay for a while."""

    def test_of_a_verb_shortens_no_earlier_promise(self, stocked: World) -> None:
        """`sweep --apply --retention 0` purges what it takes, and nothing that was held before."""
        held, now = stocked.run({"a": 30}), stocked.run({"b": 40})
        stocked.delete(held)
        stocked.cycle()
        stocked.advance(days=6)
        stocked.delete(now)
        stocked.restart(retention=timedelta(0))

        assert results(stocked.sweep()) == {now.id: "purged"}
        assert (stocked.bytes_in_trash(held), stocked.bytes_in_trash()) == (30, 30)
        stocked.advance(days=1)
        stocked.sweep()
        assert stocked.bytes_in_trash() == 0

    def test_of_the_last_monitor_holds_for_verbs(self, stocked: World) -> None:
        """A verb that is not told of a monitor's longer retention purges nothing early."""
        held = stocked.run({"a": 30})
        stocked.ledger.set_watching({"retention_s": timedelta(days=30).total_seconds()})
        stocked.delete(held)
        stocked.cycle()
        stocked.advance(days=29)
        stocked.sweep()

        assert stocked.bytes_in_trash(held) == 30
        stocked.advance(days=1)
        stocked.sweep()
        assert stocked.bytes_in_trash() == 0


class TestVersions:
    """Model versions that were deleted: their row stays, with the place of their files."""

    def test_own_copy_is_taken_with_its_size(self, stocked: World) -> None:
        """It counts as what it is, and not as foreign."""
        copy = stocked.root / "registry" / "telling" / "1"
        stocked.write(copy, "MLmodel", 50)
        stocked.write(copy.parent / "notes", "a", 7)
        stocked.register("runs:/x/model", storage_location="mlflow-artifacts:/registry/telling/1")
        stocked.unregister()
        plan = stocked.plan()

        assert taken(plan) == {"telling version 1": 50}
        assert {name: size.bytes for name, size in plan.roots[0].foreign.items()} == {
            "registry/telling": 7
        }
        stocked.sweep()
        assert not copy.exists()
        assert stocked.bytes_at(copy.parent) == 7

    def test_large_copy_is_braked(self, stocked: World) -> None:
        """What is most of a root is so whoever it was of."""
        copy = stocked.root / "registry" / "telling" / "1"
        stocked.write(copy, "MLmodel", 90_000)
        stocked.register("runs:/x/model", storage_location="mlflow-artifacts:/registry/telling/1")
        stocked.unregister()
        with pytest.raises(SweepRefused):
            stocked.sweep()

        assert stocked.bytes_at(copy) == 90_000

    @pytest.mark.parametrize("there", ["only-copy.csv", "nested/MLmodel", "link", "directory"])
    def test_directory_that_is_no_model_stays(self, stocked: World, there: str) -> None:
        """Any client can register any directory, and delete the version: it is not ours to take."""
        place = stocked.root / "shared datasets"
        stocked.write(place, "2024/" + there, 50)
        stocked.write(stocked.home / "elsewhere", "MLmodel", 5)
        if there == "link":
            (place / "MLmodel").symlink_to(stocked.home / "elsewhere" / "MLmodel")
        if there == "directory":
            (place / "MLmodel").mkdir()
        stocked.register("gone", storage_location="mlflow-artifacts:/shared datasets")
        stocked.unregister()
        plan = stocked.plan()

        assert [item.verdict.reason for item in plan.keep] == [Kept.NOT_ITS_OWN]
        assert plan.roots[0].foreign["shared datasets/2024"].bytes == 50
        assert (taken(plan), stocked.sweep()) == ({}, [])
        assert stocked.bytes_at(place) == 50

    def test_model_that_was_replaced_meanwhile_stays(self, stocked: World) -> None:
        """Something else lies there by the time the plan is carried out."""
        place = stocked.root / "registry" / "1"
        stocked.write(place, "MLmodel", 50)
        stocked.register("gone", storage_location="mlflow-artifacts:/registry/1")
        stocked.unregister()
        plan = stocked.plan()
        (place / "MLmodel").rename(place / "notes")

        assert taken(plan) == {"telling version 1": 50}
        assert results(stocked.carry_out(plan)) == {"telling version 1": "skipped"}
        assert stocked.bytes_at(place) == 50

    @pytest.mark.parametrize("inside", [f"0/models/{MODEL}/artifacts", f"0/{LOST}/artifacts/model"])
    def test_files_of_others_are_judged_as_theirs(self, stocked: World, inside: str) -> None:
        """A deleted version keeps nobody's files from being found to be unclaimed."""
        place = stocked.root / inside
        stocked.write(place, "MLmodel", 60)
        stocked.register("models:/x", storage_location=f"mlflow-artifacts:/{inside}")
        stocked.unregister()
        stocked.restart(terms=Terms(at_once=True))

        assert stocked.plan().keep == ()
        assert list(results(stocked.sweep()).values()) == ["quarantined"]
        assert not place.exists()


class TestRestoredByHand:
    """What an operator gave back is left alone, also by plans that were made before."""

    def test_run_is_not_taken_by_a_plan_from_before(self, stocked: World) -> None:
        """Two plans name it: what the first one took and somebody wanted, the second one leaves."""
        run = stocked.run({"a": 30})
        stocked.delete(run)
        first = stocked.plan()
        stocked.advance(seconds=5)
        second = stocked.plan()
        stocked.carry_out(first)
        stocked.restore_by_hand(run)
        stocked.restart(retention=timedelta(0))

        assert results(stocked.carry_out(second)) == {run.id: "skipped"}
        assert stocked.bytes_at(run) == 30

    def test_run_is_not_taken_when_its_plan_goes_on(self, stocked: World) -> None:
        """A plan that was interrupted is carried out to its end, but for that."""
        runs = [stocked.run({"a": 30}) for _ in range(60)]
        stocked.delete(*runs)
        plan = stocked.plan()
        stocked.carry_out(plan, lambda _: False)
        back = next(run for run in runs if not run.place.exists())
        stocked.restore_by_hand(back)
        stocked.carry_out(plan)

        assert [run for run in runs if run.place.exists()] == [back]

    def test_run_is_not_taken_by_a_full_cycle_that_had_begun(self, stocked: World) -> None:
        """The monitor took it while storage was listed for the plan, and somebody wants it back."""
        run = stocked.run({"a": 30})
        stocked.cycle()
        stocked.delete(run)
        plan = stocked.plan()
        stocked.cycle()
        stocked.restore_by_hand(run)
        stocked.carry_out(plan)

        assert stocked.bytes_at(run) == 30

    def test_run_is_not_taken_in_the_batches_that_follow(self, stocked: World) -> None:
        """Somebody restores while a plan is carried out: what comes later knows of it."""
        runs = [stocked.run({"a": 30}) for _ in range(60)]
        stocked.delete(*runs)
        first = stocked.plan()
        stocked.advance(seconds=5)
        second = stocked.plan()
        stocked.carry_out(first)
        last = second.take[-1].candidate.entity.id
        (back,) = (run for run in runs if run.id == last)
        for run in runs:
            stocked.write(run, "late", 30)
        waiting = iter([back])

        def follow(_: Step) -> bool:
            for run in waiting:
                stocked.restore_by_hand(run)
            return True

        stocked.carry_out(second, follow)
        assert [run for run in runs if run.place.exists()] == [back]

    @pytest.mark.parametrize("collides", [False, True])
    def test_model_is_not_taken_again(self, stocked: World, *, collides: bool) -> None:
        """MLflow has no word for a model that it does not know, so ours is the only one."""
        place = stocked.root / "0" / "models" / MODEL / "artifacts"
        stocked.write(place, "a", 30)
        stocked.write(place, "b", 40)
        stocked.restart(terms=Terms(at_once=True))
        first = stocked.plan()
        stocked.advance(seconds=5)
        second = stocked.plan()
        stocked.carry_out(first)
        if collides:
            stocked.write(place, "b", 50)
        stocked.restore_by_hand(Run(MODEL, place))

        assert taken(stocked.plan()) == {}
        assert results(stocked.carry_out(second)) == {MODEL: "skipped"}
        assert stocked.bytes_at(place) == (80 if collides else 70)


class TestLinks:
    """A registered version whose source is a link, as `current` is to the model in production."""

    def test_repointed_while_a_plan_is_carried_out_it_protects(self, stocked: World) -> None:
        """Nothing was committed then, and yet somebody needs what was still to be taken."""
        runs = [stocked.run({"a": 30}) for _ in range(60)]
        current = stocked.home / "current"
        current.symlink_to(stocked.home / "elsewhere")
        stocked.register(str(current / "0" / "live"))
        stocked.delete(*runs)
        plan = stocked.plan()
        victim = plan.take[-1].place.path
        waiting = iter([victim])

        def follow(_: Step) -> bool:
            for place in waiting:
                current.unlink()
                (stocked.home / "prod" / "0").mkdir(parents=True)
                (stocked.home / "prod" / "0" / "live").symlink_to(place)
                current.symlink_to(stocked.home / "prod")
            return True

        stocked.carry_out(plan, follow)
        assert [run for run in runs if run.place.exists()] == [
            run for run in runs if str(run.place) == victim
        ]


class TestBacklog:
    """What had been deleted before the first start, where it is left alone."""

    def test_stays_though_the_plan_did_not_know_it_for_that(self, tmp_path: Path) -> None:
        """A plan made beside the very first cycle leaves what that one calls the backlog."""
        world = World.make(tmp_path / "home")
        world.run({"large": 10_000})
        run = world.run({"a": 30})
        world.delete(run)
        plan = look(world.workplace, leaves_backlog=True)
        world.cycle()

        assert taken(plan) == {run.id: 30}
        assert results(world.carry_out(plan)) == {run.id: "skipped"}
        assert world.bytes_at(run) == 30
        world.close()


class TestSecondNames:
    """A backup beside the root that gives every file a second name, as `cp -al` does."""

    @pytest.fixture
    def backed_up(self, stocked: World) -> World:
        """Most of a root that nobody wants any more, all of it hard links."""
        place = stocked.root / "registry" / "1"
        stocked.write(place, "MLmodel", 40_000)
        stocked.register("gone", storage_location="mlflow-artifacts:/registry/1")
        stocked.unregister()
        for number in range(4):
            stocked.write(stocked.root / "0" / f"{number + 0xF00:032x}" / "artifacts", "a", 5_000)
        for path in sorted(stocked.root.rglob("*")):
            if path.is_file():
                second = stocked.home / "backup" / path.relative_to(stocked.root)
                second.parent.mkdir(parents=True, exist_ok=True)
                second.hardlink_to(path)
        return stocked

    @pytest.mark.parametrize("terms", [Terms(), Terms(at_once=True)])
    def test_are_braked_as_ever(self, backed_up: World, terms: Terms) -> None:
        """A share of what is there, not of what would be freed, whatever the reason to take it."""
        backed_up.restart(terms=terms)
        plan = backed_up.plan()

        assert sum(size or 0 for size in taken(plan).values()) == 0
        with pytest.raises(SweepRefused, match=r"of the bytes under"):
            backed_up.sweep()


class TestRootsOfExperiments:
    """Artifact roots that an experiment has for its own artifact location."""

    @pytest.fixture
    def shared(self, stocked: World) -> Path:
        """An experiment's own location, named as a root as well."""
        shared = stocked.home / "shared"
        shared.mkdir()
        stocked.db.experiment("7", f"file://{shared}")
        stocked.restart(
            roots=(*stocked.settings.roots, str(shared)), terms=Terms(at_once=True, most_share=1)
        )
        stocked.cycle()
        stocked.workplace.adopt(str(shared), alone=True)
        return shared

    def test_unclaimed_directory_there_is_an_orphan(self, stocked: World, shared: Path) -> None:
        """MLflow puts runs and models right into it, so nothing there is foreign."""
        lost, alive = shared / LOST / "artifacts", shared / ("a" * 32) / "artifacts"
        stocked.write(lost, "a", 30)
        stocked.write(alive, "b", 40)
        stocked.run({}, id_="a" * 32, uri=f"{shared}/{'a' * 32}/artifacts")
        plan = stocked.plan()
        (root,) = (root for root in plan.roots if root.root == str(shared))

        assert taken(plan) == {LOST: 30}
        assert (root.foreign, root.live_places, root.live.bytes) == ({}, 1, 40)
        stocked.sweep()
        assert (lost.exists(), stocked.bytes_at(alive)) == (False, 40)

    def test_dead_run_inside_anothers_place_is_in_the_plan(
        self, stocked: World, shared: Path
    ) -> None:
        """A place within another's has no listing of its own, and is looked at by itself."""
        outer = stocked.run({}, id_=LOST, uri=f"{shared}/{LOST}/artifacts")
        place = shared / LOST / "artifacts" / "inner" / ("b" * 32) / "artifacts"
        stocked.write(place, "a", 30)
        stocked.db.experiment("8", str(place.parents[1]))
        inner = stocked.run({}, id_="b" * 32, uri=str(place))
        stocked.delete(inner)
        kept = {item.candidate.entity.id: item.verdict.reason for item in stocked.plan().keep}
        stocked.delete(outer)

        # The outer one is kept still: an active experiment lies in it.
        assert kept == {inner.id: Kept.LIVE_CLAIM}
        assert taken(stocked.plan()) == {inner.id: 30}
        assert results(stocked.sweep()) == {inner.id: "quarantined"}
        assert not place.exists()


def test_plan_that_names_a_place_twice_is_not_begun(world: World) -> None:
    """None that was made does: nothing of it is believed."""
    world.run({"large": 10_000})
    run = world.run({"a": 10})
    world.cycle()
    world.delete(run)
    plan = world.plan()

    with pytest.raises(BadUsage, match="names a place more than once"):
        world.carry_out(replace(plan, take=plan.take * 2))

    assert world.bytes_at(run) == 10
    assert len(world.carry_out(plan)) == 1


def test_root_where_ten_fail_in_a_row_is_left(stocked: World) -> None:
    """Whatever works after them: the batch in hand is settled, the rest waits for the next time."""
    runs = [stocked.run({"a": 10}) for _ in range(BATCH + 5)]
    stocked.cycle()
    stocked.delete(*runs)
    tried: list[object] = []

    def fail_at_first(*what: object, **_: object) -> None:
        tried.append(what)
        if len(tried) <= FAILURES_IN_A_ROW:
            raise OSError(errno.EIO, "telling")

    with before("rename", fail_at_first):
        steps = stocked.sweep()

    assert Counter(step.result for step in steps) == {
        StepResult.FAILED: FAILURES_IN_A_ROW + 5,
        StepResult.QUARANTINED: BATCH - FAILURES_IN_A_ROW,
    }
    assert [step.detail for step in steps[-5:]] == [Kept.FAILING.value] * 5
    assert stocked.bytes_at(runs[-1]) == 10
