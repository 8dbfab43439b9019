"""Many items purged together: each is settled by what became of it, and the rest is as it was."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from mlflow_cleanup.act.purge import BATCH
from mlflow_cleanup.act.workers import Workers
from mlflow_cleanup.errors import TrackingUnreadable
from mlflow_cleanup.model.item import Item, ItemState
from mlflow_cleanup.stores.base import KeepGoing, Purged
from mlflow_cleanup.stores.local.store import LocalStore
from tests.kit.homes import in_both_homes
from tests.kit.world import Run, World

pytestmark = in_both_homes

MANY = BATCH + 10


@pytest.fixture
def due(world: World) -> list[Run]:
    """More runs than are purged together, all of them due."""
    runs = [world.run({"a": 10}) for _ in range(MANY)]
    world.cycle()
    world.delete(*runs)
    world.cycle()
    world.advance(days=7)
    return runs


def states(world: World) -> Counter[ItemState]:
    """Count the items by state."""
    return Counter(item.state for item in world.items())


def test_all_are_purged_with_exact_accounts(world: World, due: list[Run]) -> None:
    """Every item is purged once, and what was freed is what there was."""
    world.cycle()

    assert states(world) == {ItemState.PURGED: MANY}
    assert world.ledger.items.freed().bytes == 10 * MANY
    assert world.told().count("purged") == MANY
    assert all(world.ledger.items.freed_of(world.items(run)[0].id).bytes == 10 for run in due)


def test_what_was_not_reached_is_as_it_was(world: World, due: list[Run]) -> None:
    """Called away after the first, the others are quarantined still: no half purge is suspected."""
    world.faults.after("purge", lambda: setattr(world.workplace, "is_called", lambda: True))
    world.cycle()
    world.workplace.is_called = lambda: False

    assert states(world) == {ItemState.PURGED: 1, ItemState.QUARANTINED: MANY - 1}

    world.undelete(*due)
    world.cycle()
    assert world.told().count("restored") == MANY - 1
    assert world.told().count("lost") == 0


def test_database_that_cannot_be_read_stops_it_in_between(world: World, due: list[Run]) -> None:
    """Nothing is purged without a look; what was purged before is accounted for."""
    hidden = world.db.path.with_suffix(".away")
    world.faults.after("purge", lambda: world.db.path.rename(hidden))
    with pytest.raises(TrackingUnreadable):
        world.cycle()
    hidden.rename(world.db.path)

    assert states(world) == {ItemState.PURGED: 1, ItemState.QUARANTINED: MANY - 1}
    assert world.ledger.items.freed().bytes == 10
    assert len(due) == MANY


def test_one_that_is_wanted_again_goes_back_among_the_others(world: World, due: list[Run]) -> None:
    """A run restored while the others are being purged gets its files back whole."""
    world.faults.after("purge", lambda: world.undelete(due[7]))
    world.cycle()

    assert states(world) == {ItemState.PURGED: MANY - 1, ItemState.RESTORED: 1}
    assert world.bytes_at(due[7]) == 10
    assert world.history(due[7]) == ["quarantined", "restored"]


def test_no_item_waits_between_its_last_look_and_its_purge(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restored while four others are removed, the fifth goes back: it was not looked at yet."""
    runs = [world.run({"a": 10}) for _ in range(12)]
    world.cycle()
    world.delete(*runs)
    world.cycle()
    world.advance(days=8)
    begun, may_go_on = threading.Semaphore(0), threading.Event()
    purge = LocalStore.purge

    def slow(store: LocalStore, item: Item, keep_going: KeepGoing) -> Purged:
        begun.release()
        assert may_go_on.wait(30)
        return purge(store, item, keep_going)

    def restore_the_fifth() -> None:
        for _ in range(4):
            assert begun.acquire(timeout=30)
        world.undelete(runs[4])
        may_go_on.set()

    monkeypatch.setattr(LocalStore, "purge", slow)
    monkeypatch.setattr(Workers, "_is_shared", True)
    user = threading.Thread(target=restore_the_fifth)
    user.start()
    world.cycle()
    user.join()

    assert world.bytes_at(runs[4]) == 10
    assert [world.bytes_at(run) for run in runs if run is not runs[4]] == [0] * 11
