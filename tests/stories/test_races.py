"""In the middle of it: MLflow changes its mind between our look, our move and our next look."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta

import pytest

from mlflow_cleanup.act import quarantine
from mlflow_cleanup.act.tools import new_item_id
from mlflow_cleanup.cycle.turn import Scope
from mlflow_cleanup.errors import TrackingUnreadable
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import ItemState, Size
from tests.kit.world import Run, World


@pytest.fixture
def deleted(world: World) -> Run:
    """A run of two files that is deleted, and not cleaned up yet."""
    run = world.run({"model.bin": 10, "log/one.txt": 100})
    world.cycle()
    world.delete(run)
    return run


def half_purge(world: World, run: Run) -> None:
    """Let the purge of a run be called away when its topmost directory is emptied."""
    asked = itertools.count(1)
    world.workplace.is_called = lambda: next(asked) > 3
    world.cycle()
    world.workplace.is_called = lambda: False
    assert world.states(run) == [ItemState.PURGING]
    assert [set(one.files) for one in world.trash(run)] == [{"log/one.txt"}]


@pytest.fixture
def due(world: World, deleted: Run) -> Run:
    """A run of two files whose retention is over in the next cycle."""
    world.cycle()
    world.advance(days=7)
    return deleted


def between_verdict_and_intent(hook: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen when the plan is made and the first look back is still to come."""
    hooks = [hook]

    def make_id() -> str:
        if hooks:
            hooks.pop()()
        return new_item_id()

    monkeypatch.setattr(quarantine, "new_item_id", make_id)


def test_run_restored_after_the_verdict_is_not_moved(
    world: World, deleted: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restored in MLflow between the verdict and the move: the move does not happen."""
    between_verdict_and_intent(lambda: world.undelete(deleted), monkeypatch)

    world.cycle()

    assert world.bytes_at(deleted) == 110
    assert world.faults.calls["quarantine"] == 0
    assert world.told() == []
    assert world.known(deleted) is RunState.ORPHANED
    world.cycle()
    assert world.known(deleted) is RunState.ACTIVE


@pytest.mark.parametrize("moment", ["before", "after"])
def test_run_restored_in_the_middle_of_its_quarantine_gets_its_bytes_back(
    world: World, deleted: Run, moment: str
) -> None:
    """Restored in MLflow around the very move: the second look gives everything back at once."""
    before = world.files_at(deleted)
    getattr(world.faults, moment)("quarantine", lambda: world.undelete(deleted))

    world.cycle()

    assert world.files_at(deleted) == before
    assert world.trash() == []
    assert world.history(deleted) == ["restored"]
    assert world.known(deleted) is RunState.ACTIVE


@pytest.mark.parametrize("scope", list(Scope))
def test_claim_made_in_the_middle_of_a_quarantine_protects(
    world: World, deleted: Run, scope: Scope
) -> None:
    """A model version registered while its run's files are moved finds them where they were."""
    world.faults.after("quarantine", lambda: world.register(f"runs:/{deleted.id}/model.bin"))

    world.cycle(scope)

    assert world.bytes_at(deleted) == 110
    assert world.trash() == []
    assert world.known(deleted) is RunState.ORPHANED
    world.cycle()
    assert world.kept_because(deleted) == (
        "a live entity still claims it (model version telling version 1)"
    )


def test_only_the_one_that_was_restored_comes_back(world: World, deleted: Run) -> None:
    """Of many runs moved together, the one restored meanwhile is given back and no other."""
    others = [world.run({"a": 1}) for _ in range(3)]
    world.cycle(Scope.CHANGES)
    world.undelete(deleted)
    world.cycle()
    world.delete(deleted, *others)
    world.faults.after("quarantine", lambda: world.undelete(others[1]))

    world.cycle()

    assert [world.bytes_at(run) for run in (deleted, *others)] == [0, 0, 1, 0]
    assert world.bytes_in_trash() == 112


def test_bytes_that_cannot_be_given_back_at_once_are_given_back_later(
    world: World, deleted: Run
) -> None:
    """Restored mid-move while the store fails: told, and made good by the next cycle."""
    before = world.files_at(deleted)
    world.faults.after("quarantine", lambda: world.undelete(deleted))
    world.faults.fail("restore")
    world.cycle()
    world.cycle()
    assert world.states(deleted) == [ItemState.RESTORING]
    assert world.history(deleted) == ["failed"]

    world.faults.heal()
    world.cycle()

    assert world.files_at(deleted) == before
    assert world.trash() == []
    assert world.history(deleted) == ["failed", "restored"]


def test_write_between_move_and_restore_is_not_overwritten(world: World, deleted: Run) -> None:
    """A file that appears at the origin in the middle of it stays; the trash keeps the other."""

    def restored_and_written() -> None:
        world.undelete(deleted)
        world.write_late(deleted, "model.bin", 20)

    world.faults.after("quarantine", restored_and_written)
    world.cycle()

    assert world.bytes_at(deleted) == 120
    assert world.bytes_in_trash(deleted) == 10
    assert world.states(deleted) == [ItemState.CONFLICT]


def test_run_restored_right_before_its_purge_is_not_purged(world: World, due: Run) -> None:
    """The retention is over, and MLflow's Restore comes first: everything is given back."""
    world.undelete(due)

    world.cycle()

    assert world.bytes_at(due) == 110
    assert world.history(due) == ["quarantined", "restored"]


def test_run_restored_while_others_are_purged_is_not_purged(world: World) -> None:
    """Each purge looks again: what is restored while the first is removed survives."""
    first, second = world.run({"a": 1}), world.run({"b": 10})
    world.cycle()
    world.delete(first, second)
    world.cycle()
    world.advance(days=7)
    purged = {item.entity.id: item for item in world.items()}
    world.faults.after("purge", lambda: world.undelete(first, second))

    world.cycle()
    world.cycle()

    survivors = [run for run in (first, second) if world.bytes_at(run)]
    assert len(survivors) == 1
    assert world.history(survivors[0]) == ["quarantined", "restored"]
    assert len(purged) == 2


def test_run_restored_while_its_purge_is_half_done_gets_the_rest_back(
    world: World, due: Run
) -> None:
    """A purge that was called away half-way, then Restore: the rest is back, the loss is told."""
    half_purge(world, due)

    world.undelete(due)
    world.cycle()

    assert set(world.files_at(due)) == {"log/one.txt"}
    assert world.trash() == []
    assert world.history(due) == ["quarantined", "lost"]
    assert "purged" in world.last(EventKind.LOST).detail


def test_loss_is_told_also_when_the_restore_fails_at_first(world: World, due: Run) -> None:
    """A half-purged run whose restore needs two attempts: its loss is not forgotten on the way."""
    half_purge(world, due)
    world.undelete(due)
    world.faults.fail("restore")
    world.cycle()
    world.faults.heal()
    world.cycle()

    assert set(world.files_at(due)) == {"log/one.txt"}
    assert world.history(due)[-1] == "lost"


def test_trash_emptied_by_somebody_else_is_told_as_a_loss(world: World, deleted: Run) -> None:
    """Restored after somebody removed the trash's content: nothing is there, and that is said."""
    world.cycle()
    (one,) = world.trash(deleted)
    content = world.root / ".mlflow-cleanup/trash" / one.item_id / "content"
    for path in sorted(content.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    content.rmdir()

    world.undelete(deleted)
    world.cycle()

    assert world.history(deleted) == ["quarantined", "lost"]
    assert "no longer holds" in world.last(EventKind.LOST).detail
    assert world.known(deleted) is RunState.ACTIVE


def test_more_urgent_work_interrupts_purges(world: World) -> None:
    """Called away, a cycle leaves the remaining purges for the next one."""
    runs = [world.run({"a": 1}) for _ in range(5)]
    world.cycle()
    world.delete(*runs)
    world.cycle()
    world.advance(days=7)
    world.faults.after("purge", lambda: setattr(world.workplace, "is_called", lambda: True))
    world.cycle()
    assert world.bytes_in_trash() == 4

    world.workplace.is_called = lambda: False
    world.cycle()
    assert world.bytes_in_trash() == 0
    assert world.ledger.items.freed() == Size(5, 5)


def test_purge_that_was_called_away_goes_on_in_the_next_cycle(world: World, due: Run) -> None:
    """Interrupted within one tree, the rest goes next time; each byte is counted once."""
    half_purge(world, due)
    assert world.ledger.items.freed() == Size(1, 10)

    world.cycle()

    assert world.trash() == []
    assert world.history(due) == ["quarantined", "purged"]
    assert world.ledger.items.freed() == Size(2, 110)


def test_half_purged_item_is_finished_whatever_the_retention_is_now(world: World, due: Run) -> None:
    """What is partly gone cannot be restored any more: raising the retention does not keep it."""
    half_purge(world, due)
    world.restart(retention=timedelta(days=365))
    world.cycle()

    assert world.trash() == []


def test_stop_ends_a_large_quarantine_between_two_batches(world: World) -> None:
    """Asked to stop, the batch in hand is settled and the rest is left for the next start."""
    runs = [world.run({"a": 1}) for _ in range(120)]
    world.cycle()
    world.delete(*runs)
    world.faults.after("quarantine", world.workplace.stop.set)
    world.cycle()
    assert world.bytes_in_trash() == quarantine.BATCH

    world.restart()
    world.cycle()
    assert world.bytes_in_trash() == 120
    assert world.history() == ["quarantined"] * 120


@pytest.mark.parametrize("state", [ItemState.QUARANTINING, ItemState.RESTORING])
def test_open_intent_that_cannot_be_settled_stops_no_other(
    world: World, deleted: Run, state: ItemState
) -> None:
    """An interrupted move of which a failing disk does not tell: everything else goes on."""
    if state is ItemState.QUARANTINING:
        lost = world.home / "lost.db"
        world.faults.after("quarantine", lambda: world.db.path.rename(lost))
        with pytest.raises(TrackingUnreadable):
            world.cycle()
        lost.rename(world.db.path)
    else:
        world.cycle()
        world.undelete(deleted)
        world.faults.fail("restore")
        world.cycle()
    assert world.states(deleted) == [state]
    other = world.run({"b": 1})
    world.cycle(Scope.CHANGES)
    world.delete(other)
    world.faults.fail("find")
    world.cycle()
    assert world.bytes_in_trash(other) == 1

    world.faults.heal()
    world.cycle()
    assert world.bytes_at(deleted) + world.bytes_in_trash(deleted) == 110
    assert state not in world.states(deleted)


class TestFailingPurge:
    """A purge that fails is told, counted, and tried again with growing pauses."""

    def test_is_tried_again_with_growing_pauses(self, world: World, due: Run) -> None:
        """One minute, two, four, and so on, up to six hours between two attempts."""
        world.faults.fail("purge")
        world.cycle()
        for attempt, minutes in enumerate([1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360], 1):
            world.advance(minutes=minutes, seconds=-1)
            world.cycle()
            assert world.faults.calls["purge"] == attempt
            world.advance(seconds=1)
            world.cycle()
            assert world.faults.calls["purge"] == attempt + 1

        assert world.bytes_in_trash(due) == 110

    def test_succeeds_when_what_stood_in_the_way_is_gone(self, world: World, due: Run) -> None:
        """The bytes go with the first attempt that can, and are counted once."""
        world.faults.fail("purge")
        world.cycle()
        world.faults.heal()
        world.cycle()
        assert world.bytes_in_trash(due) == 110

        world.advance(minutes=1)
        world.cycle()

        assert world.trash() == []
        assert world.history(due) == ["quarantined", "failed", "purged"]
        assert world.ledger.items.freed() == Size(2, 110)

    def test_is_no_loss_when_nothing_was_removed(self, world: World, due: Run) -> None:
        """Wanted again after a purge that got nowhere: all of it is back, and nobody is alarmed."""
        world.faults.fail("purge")
        world.cycle()
        world.faults.heal()
        world.undelete(due)
        world.cycle()

        assert world.bytes_at(due) == 110
        assert world.history(due) == ["quarantined", "failed", "restored"]

    def test_pauses_survive_a_restart(self, world: World, due: Run) -> None:
        """Restarting does not hammer what would not go."""
        world.faults.fail("purge")
        for _ in range(5):
            world.cycle()
            world.restart()

        assert world.faults.calls["purge"] == 1
        assert world.bytes_in_trash(due) == 110
