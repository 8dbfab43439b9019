from __future__ import annotations

from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import ItemState, Size
from tests.kit.world import World


def test_what_was_too_large_to_be_measured_at_once_is_measured_later(world: World) -> None:
    """The size is missing when it is told, and known after the next full cycle."""
    run = world.run({"a": 10, "b": 100})
    world.cycle()
    world.delete(run)
    world.faults.fail("measure")
    world.cycle()
    assert [item.size for item in world.items(run)] == [None]
    assert world.last(EventKind.QUARANTINED).size is None

    world.faults.heal()
    world.cycle()
    assert [item.size for item in world.items(run)] == [Size(2, 110)]


def test_measuring_waits_for_what_is_more_urgent(world: World) -> None:
    """Called away, the upkeep measures nothing, and does it next time."""
    run = world.run({"a": 10})
    world.cycle()
    world.delete(run)
    world.faults.fail("measure")
    world.cycle()
    world.faults.heal()
    world.workplace.is_called = lambda: True
    world.cycle()
    assert [item.size for item in world.items(run)] == [None]

    world.workplace.is_called = lambda: False
    world.cycle()
    assert [item.size for item in world.items(run)] == [Size(1, 10)]


def test_rest_of_a_conflict_is_measured_anew(world: World) -> None:
    """After a restore in part, what is told of the rest is the size of the rest."""
    run = world.run({"a": 10, "b": 100})
    world.cycle()
    world.delete(run)
    world.cycle()
    world.write_late(run, "a", 1)
    world.undelete(run)
    world.cycle()
    world.delete(run)
    world.cycle()

    assert [item.state for item in world.items(run)] == [ItemState.QUARANTINED] * 2
    assert {item.size for item in world.items(run)} == {Size(1, 10), Size(2, 101)}


def test_place_that_cannot_be_looked_at_stops_no_other(world: World) -> None:
    """Looking for late writes goes on past an error, which the next cycle meets again."""
    first, second = world.run(), world.run()
    world.cycle()
    world.delete(first, second)
    world.cycle()
    world.write_late(first, "late", 1)
    world.write_late(second, "late", 1)
    world.faults.fail("exists")
    world.cycle()
    assert world.bytes_in_trash() == 20

    world.faults.heal()
    world.cycle()
    assert world.bytes_in_trash() == 22
