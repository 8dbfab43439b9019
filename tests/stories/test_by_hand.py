"""What an operator does with `restore` and `trash purge`."""

from __future__ import annotations

import pytest

from mlflow_cleanup.errors import PlanRefused, StoreUnreachable, TrackingUnreadable
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.item import ItemState, Size
from tests.kit.world import Run, World


@pytest.fixture
def deleted(world: World) -> Run:
    """A run of 10 bytes that is in the trash."""
    run = world.run()
    world.cycle()
    world.delete(run)
    world.cycle()
    return run


def test_restore_by_hand_leaves_the_run_alone_from_then_on(world: World, deleted: Run) -> None:
    """Files restored by hand stay, although MLflow still calls their run deleted."""
    (item,) = world.restore_by_hand(deleted)
    assert item.state is ItemState.RESTORED

    for _ in range(5):
        world.advance(days=30)
        world.write_late(deleted, "more.txt", 1)
        world.restart()
        world.cycle()

    assert world.bytes_at(deleted) == 11
    assert world.known(deleted) is RunState.RELEASED
    assert world.history(deleted) == ["quarantined", "restored"]


def test_released_run_is_watched_again_once_it_was_active(world: World, deleted: Run) -> None:
    """Restored by hand, then in MLflow, then deleted there: cleaned up like any other run."""
    world.restore_by_hand(deleted)
    world.undelete(deleted)
    world.cycle()
    assert world.known(deleted) is RunState.ACTIVE

    world.delete(deleted)
    world.cycle()

    assert world.bytes_in_trash(deleted) == 10


def test_restore_by_hand_of_a_run_that_is_active_again(world: World, deleted: Run) -> None:
    """By hand or by the next cycle: the bytes come back once, and the run counts as active."""
    world.undelete(deleted)
    world.restore_by_hand(deleted)
    world.cycle()

    assert world.bytes_at(deleted) == 10
    assert world.known(deleted) is RunState.ACTIVE
    assert world.history(deleted) == ["quarantined", "restored"]


def test_restore_by_hand_brings_every_item_of_a_run_and_no_other(
    world: World, deleted: Run
) -> None:
    """All that the trash has of the named run comes back; of others nothing does."""
    other = world.run({"b": 100})
    world.write_late(deleted, "late.txt", 1)
    world.cycle()
    world.delete(other)
    world.cycle()

    items = world.restore_by_hand(deleted)

    assert [item.state for item in items] == [ItemState.RESTORED] * 2
    assert world.bytes_at(deleted) == 11
    assert world.bytes_in_trash() == 100


def test_restore_by_hand_of_what_is_not_there_restores_nothing(world: World, deleted: Run) -> None:
    """Named runs without anything in the trash give an empty answer."""
    assert world.restore_by_hand(Run("f" * 32, world.home)) == []
    assert world.bytes_in_trash(deleted) == 10


def test_collision_of_a_restore_by_hand_is_not_held_again(world: World, deleted: Run) -> None:
    """What collided when restored by hand stays in the trash until told otherwise by hand."""
    new = world.write_late(deleted, "model.bin", 20)
    (item,) = world.restore_by_hand(deleted)
    assert item.state is ItemState.CONFLICT

    for _ in range(3):
        world.advance(days=30)
        world.cycle()

    assert world.files_at(deleted) == {"model.bin": new}
    assert world.bytes_in_trash(deleted) == 10
    assert world.history(deleted) == ["quarantined", "conflict"]


def test_conflict_can_be_restored_by_hand_when_its_way_is_free(world: World, deleted: Run) -> None:
    """With the newer file out of the way, the rest of a restore comes back too."""
    (old,) = [one.files["model.bin"] for one in world.trash(deleted)]
    world.write_late(deleted, "model.bin", 20)
    world.undelete(deleted)
    world.cycle()
    (deleted.place / "model.bin").unlink()

    (item,) = world.restore_by_hand(deleted)

    assert item.state is ItemState.RESTORED
    assert world.files_at(deleted) == {"model.bin": old}
    assert world.trash() == []


def test_purge_by_hand_does_not_wait(world: World, deleted: Run) -> None:
    """The named run's items are gone at once, whatever their retention."""
    other = world.run({"b": 100})
    world.cycle()
    world.delete(other)
    world.cycle()

    (item,) = world.purge_by_hand(deleted)

    assert item.state is ItemState.PURGED
    assert world.bytes_in_trash() == 100
    assert world.ledger.items.freed() == Size(1, 10)
    assert world.history(deleted) == ["quarantined", "purged"]


def test_purge_by_hand_of_everything(world: World, deleted: Run) -> None:
    """Without names the whole trash goes, the rests of collisions too."""
    collided = world.run({"b": 100})
    world.cycle()
    world.delete(collided)
    world.cycle()
    world.write_late(collided, "b", 1)
    world.undelete(collided)
    world.cycle()

    world.purge_by_hand()

    assert world.trash() == []
    assert world.bytes_at(collided) == 1
    assert world.ledger.items.freed().bytes == 110
    assert world.states(deleted) == [ItemState.PURGED]


def test_purge_by_hand_gives_back_what_is_wanted_again(world: World, deleted: Run) -> None:
    """A run restored in MLflow a moment ago is not purged but restored."""
    world.undelete(deleted)

    (item,) = world.purge_by_hand(deleted)

    assert item.state is ItemState.RESTORED
    assert world.bytes_at(deleted) == 10


def test_safeguards_hold_for_a_purge_by_hand(world: World, deleted: Run) -> None:
    """While something suspicious stands, nothing is purged by hand either."""
    others = [world.run() for _ in range(10)]
    world.cycle()
    world.hard_delete(*others)

    with pytest.raises(PlanRefused):
        world.purge_by_hand(deleted)

    assert world.bytes_in_trash(deleted) == 10


def test_restore_by_hand_is_not_stopped_by_a_safeguard(world: World, deleted: Run) -> None:
    """Giving back is right however suspicious the tracking database looks."""
    others = [world.run() for _ in range(10)]
    world.cycle()
    world.hard_delete(*others)
    world.refused()

    world.restore_by_hand(deleted)

    assert world.bytes_at(deleted) == 10


@pytest.mark.parametrize("loss", ["missing", "not a database"])
def test_restore_by_hand_needs_no_tracking_database(world: World, deleted: Run, loss: str) -> None:
    """Files come back also when the tracking database is what was lost."""
    kept = world.db.path.read_bytes()
    world.db.path.unlink()
    if loss == "not a database":
        world.db.path.write_bytes(b"x" * 4_096)

    world.restore_by_hand(deleted)
    assert world.bytes_at(deleted) == 10

    world.db.path.write_bytes(kept)
    world.cycle()
    assert world.bytes_at(deleted) == 10
    assert world.known(deleted) is RunState.RELEASED


def test_restore_by_hand_without_its_root_is_taken_up_when_the_root_is_back(
    world: World, deleted: Run
) -> None:
    """Asked for while the root cannot be seen: restored as soon as it can."""
    world.faults.fail("restore", lambda: StoreUnreachable(str(world.root), "not mounted"))
    (item,) = world.restore_by_hand(deleted)
    assert item.state is ItemState.RESTORING

    world.faults.heal()
    world.cycle()

    assert world.bytes_at(deleted) == 10
    assert world.known(deleted) is RunState.RELEASED


def test_restore_by_hand_of_a_move_that_was_interrupted(world: World) -> None:
    """Moved, but never recorded as moved: found in the trash all the same, and given back."""
    run = world.run({"a": 1_000})
    world.cycle()
    world.delete(run)
    world.faults.after("quarantine", lambda: world.db.path.rename(world.home / "aside.db"))
    with pytest.raises(TrackingUnreadable):
        world.cycle()
    assert world.states(run) == [ItemState.QUARANTINING]
    assert world.bytes_at(run) == 0

    (item,) = world.restore_by_hand(run)

    assert item.state is ItemState.RESTORED
    assert world.bytes_at(run) == 1_000
    assert world.trash() == []


def test_purge_by_hand_is_not_cut_short_by_what_comes_in(world: World) -> None:
    """New deletes interrupt the purges of a cycle; who asked for one gets the whole of it."""
    runs = [world.run({"a": 1}) for _ in range(5)]
    world.cycle()
    world.delete(*runs)
    world.cycle()
    world.workplace.is_called = lambda: True

    items = world.purge_by_hand()

    assert [item.state for item in items] == [ItemState.PURGED] * 5
    assert world.trash() == []
