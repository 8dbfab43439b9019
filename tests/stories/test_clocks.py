"""Clocks that are set, and machines that are off: what nobody claims is not older for that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.kit.world import World

LOST = "f" * 32


@pytest.fixture
def lost(world: World) -> Path:
    """Files ten minutes old that no row claims, in a world that is used for a day already."""
    world.run({"large": 10_000})
    world.cycle()
    world.workplace.adopt(str(world.root), alone=True)
    world.advance(days=1)
    place = world.root / "0" / LOST / "artifacts"
    world.write(place, "model.bin", 100)
    world.advance(minutes=10)
    return place


def set_forward(world: World) -> None:
    """Set the clock five days forward while we run."""
    world.cycle()
    world.set_clock(days=5)


def set_forward_between_two_starts(world: World) -> None:
    """Set it while we do not run."""
    world.set_clock(days=5)
    world.restart()


def set_back_and_forward(world: World) -> None:
    """Have the files written while the clock was wrong."""
    world.set_clock(days=-5)
    world.cycle()
    world.write(world.root / "0" / LOST / "artifacts", "model.bin", 100)
    world.set_clock(days=5)


def switched_off(world: World) -> None:
    """Switch the machine off for five days, or set its clock before it starts."""
    world.reboot(days=5)


def switched_off_every_night(world: World) -> None:
    """Have three gaps, each of which counts as time by itself."""
    for _ in range(3):
        world.reboot(days=1.5)
        world.cycle()


HOW = [
    set_forward,
    set_forward_between_two_starts,
    set_back_and_forward,
    switched_off,
    switched_off_every_night,
]


@pytest.mark.parametrize("happens", HOW)
def test_orphan_is_no_older_for_a_clock(
    world: World, lost: Path, happens: Callable[[World], None]
) -> None:
    """It is taken when three days really passed since it was written, and not before."""
    happens(world)
    for _ in range(3):
        world.sweep()
        world.advance(hours=4)
    assert world.bytes_at(lost) == 100

    world.advance(days=3)
    world.sweep()
    assert not lost.exists()


@pytest.mark.parametrize("days", [0.5, 5])
def test_time_switched_off_does_not_count_between_two_sightings(
    world: World, lost: Path, days: float
) -> None:
    """Nobody could write a row then: four hours in which somebody could are what counts."""
    world.advance(days=4)
    world.sweep()
    world.reboot(days=days)
    assert world.plan().take == ()
    world.sweep()
    world.advance(hours=3.9)
    world.sweep()
    assert world.bytes_at(lost) == 100

    world.advance(hours=0.2)
    world.sweep()
    assert not lost.exists()


def test_running_run_is_not_quiet_for_a_clock_set_forward(world: World) -> None:
    """With retention 0, an hour without a write is one that really passed."""
    world.restart(retention=timedelta(0))
    run = world.run(status="RUNNING")
    world.delete(run)
    world.cycle()
    world.set_clock(hours=2)
    world.cycle()
    assert world.bytes_at(run) == 10

    world.advance(hours=1)
    world.cycle()
    assert not run.place.exists()


def test_retention_goes_by_ledger_time_as_ever(world: World) -> None:
    """What the machine was off for counts there, up to a day and a half."""
    run = world.run()
    world.cycle()
    world.delete(run)
    world.cycle()
    world.advance(days=6)
    world.cycle()
    world.reboot(days=1)
    world.cycle()

    assert world.trash(run) == []
