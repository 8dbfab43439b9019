"""How long quarantined bytes stay restorable: what counts, and what must never shorten it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mlflow_cleanup.cycle.turn import Scope
from mlflow_cleanup.ledger.ageing import LONGEST_GAP_S
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import ItemState
from tests.kit.homes import in_both_homes
from tests.kit.world import Run, World

pytestmark = in_both_homes


def quarantined(world: World) -> Run:
    """Add a run of 10 bytes, and have it deleted and quarantined now."""
    run = world.run()
    world.cycle()
    world.delete(run)
    world.cycle()
    assert world.bytes_in_trash(run) == 10
    return run


def test_retention_counts_from_the_quarantine_not_from_the_delete(world: World) -> None:
    """A run deleted a month ago, seen only now, still gets its whole retention."""
    run = world.run()
    world.cycle()
    world.delete(run)
    world.advance(days=30)
    world.cycle()

    world.advance(days=6, hours=23)
    world.cycle()
    assert world.bytes_in_trash(run) == 10

    world.advance(hours=1)
    world.cycle()
    assert world.trash() == []


def test_retention_ends_to_the_second(world: World) -> None:
    """One second before the end nothing is purged; at the end it is."""
    run = quarantined(world)

    world.advance(days=7, seconds=-1)
    world.cycle()
    assert world.bytes_in_trash(run) == 10

    world.advance(seconds=1)
    world.cycle()
    assert world.trash() == []


def test_the_told_time_of_the_purge_is_when_it_happens(world: World) -> None:
    """What is told of a quarantine names the moment at which the bytes really go."""
    run = quarantined(world)
    due_at = world.last(EventKind.QUARANTINED).due_at
    assert due_at is not None

    world.advance(seconds=due_at.timestamp() - world.clock.wall_s)
    world.cycle()

    assert world.history(run) == ["quarantined", "purged"]


def test_many_quick_cycles_age_nothing(world: World) -> None:
    """Hundreds of cycles a second apart count as the minutes they took."""
    run = quarantined(world)

    for number in range(300):
        world.advance(seconds=1)
        world.cycle(Scope.EVERYTHING if number % 2 else Scope.CHANGES)

    assert world.bytes_in_trash(run) == 10
    world.advance(days=7, seconds=-301)
    world.cycle()
    assert world.bytes_in_trash(run) == 10


def test_restarts_age_nothing(world: World) -> None:
    """Starting and stopping our process over and over counts as the time it took."""
    run = quarantined(world)

    for _ in range(30):
        world.advance(minutes=1)
        world.restart()
        world.cycle()
    world.advance(days=7, minutes=-31)
    world.cycle()

    assert world.bytes_in_trash(run) == 10


def test_time_counts_while_our_process_is_down(world: World) -> None:
    """A machine that stays up counts for us: retention passes also while nothing watches."""
    quarantined(world)

    world.workplace.close()
    world.advance(days=7)
    world.restart()
    world.cycle()

    assert world.trash() == []


@pytest.mark.parametrize("jump", [-4_000, -7, -1, 1, 7, 4_000], ids="{} days".format)
def test_clock_set_while_the_machine_is_up_changes_nothing(world: World, jump: int) -> None:
    """The wall clock jumps, forward or back, and retention passes as if it had not."""
    run = quarantined(world)

    world.set_clock(days=jump)
    world.cycle()
    world.restart()
    world.cycle()
    assert world.bytes_in_trash(run) == 10

    world.advance(days=7, seconds=-1)
    world.cycle()
    assert world.bytes_in_trash(run) == 10

    world.advance(seconds=1)
    world.cycle()
    assert world.trash() == []


def test_clock_that_swings_to_and_fro_ages_nothing(world: World) -> None:
    """A clock set forward and back a hundred times adds nothing up."""
    run = quarantined(world)

    for _ in range(100):
        world.set_clock(days=5)
        world.cycle()
        world.set_clock(days=-5)
        world.cycle()

    assert world.bytes_in_trash(run) == 10


@pytest.mark.parametrize("jump", [-4_000, -1])
def test_clock_set_back_over_a_reboot_counts_nothing(world: World, jump: int) -> None:
    """A machine that comes up with its clock in the past: neither is time lost nor gained."""
    run = quarantined(world)
    world.advance(days=3)
    world.cycle()

    world.reboot(days=jump)
    world.cycle()
    world.advance(days=3, hours=23)
    world.cycle()
    assert world.bytes_in_trash(run) == 10

    world.advance(hours=1)
    world.cycle()
    assert world.trash() == []


def test_clock_set_forward_over_a_reboot_counts_as_one_gap_at_most(world: World) -> None:
    """A machine that comes up years later may have been set wrong: a day and a half counts."""
    run = quarantined(world)

    world.reboot(days=4_000)
    world.cycle()
    assert world.bytes_in_trash(run) == 10

    world.advance(days=7, seconds=-LONGEST_GAP_S - 1)
    world.cycle()
    assert world.bytes_in_trash(run) == 10

    world.advance(seconds=1)
    world.cycle()
    assert world.trash() == []


def test_machine_that_is_off_every_night_keeps_counting(world: World) -> None:
    """Twelve hours on and twelve hours off, for a week: the whole week counts."""
    run = quarantined(world)

    for _ in range(6):
        world.advance(hours=12)
        world.cycle()
        world.reboot(hours=12)
        world.cycle()
    assert world.bytes_in_trash(run) == 10

    world.advance(hours=12)
    world.cycle()
    world.reboot(hours=12)
    world.cycle()
    assert world.trash() == []


def test_reboot_in_which_no_time_passed_ages_nothing(world: World) -> None:
    """A machine that starts fifty times in a row counts only the time on its clock."""
    run = quarantined(world)

    for _ in range(50):
        world.reboot(minutes=2)
        world.cycle()
    world.advance(days=7, minutes=-101)
    world.cycle()

    assert world.bytes_in_trash(run) == 10


def test_retention_of_zero_purges_in_the_next_cycle(world: World) -> None:
    """With retention 0 nothing waits: quarantined, and gone by the very next cycle."""
    world.restart(retention=timedelta(0))
    run = world.run()
    world.cycle()
    world.delete(run)

    world.cycle()
    world.cycle()

    assert world.trash() == []
    assert world.bytes_at(run) == 0
    assert world.history(run) == ["quarantined", "purged"]


def test_a_longer_retention_holds_for_what_is_in_the_trash_already(world: World) -> None:
    """Retention raised while something waits: it waits for the new length."""
    run = quarantined(world)

    world.advance(days=6)
    world.restart(retention=timedelta(days=30))
    world.advance(days=23)
    world.cycle()
    assert world.bytes_in_trash(run) == 10

    world.advance(days=1)
    world.cycle()
    assert world.trash() == []


def test_next_purge_is_announced_to_who_waits_for_it(world: World) -> None:
    """The loop is told in how many seconds the next purge falls due."""
    assert world.next_due_s() is None
    quarantined(world)
    world.advance(days=2)

    assert world.next_due_s() == timedelta(days=5).total_seconds()


def test_retention_counts_from_the_move_not_from_the_cycles_beginning(world: World) -> None:
    """In a cycle that takes hours, what is moved last stays restorable just as long."""
    run = world.run()
    world.cycle()
    world.delete(run)
    world.faults.before("quarantine", lambda: world.advance(hours=5))
    world.cycle()
    due_at = world.last(EventKind.QUARANTINED).due_at
    assert due_at is not None
    assert due_at.timestamp() == world.clock.wall_s + timedelta(days=7).total_seconds()

    world.advance(days=7, seconds=-1)
    world.cycle()
    assert world.bytes_in_trash(run) == 10

    world.advance(seconds=1)
    world.cycle()
    assert world.trash() == []


def test_run_deleted_anew_between_two_looks_waits_anew(world: World) -> None:
    """Restored and deleted again unseen: purged a whole retention after it would have been."""
    run, other = quarantined(world), quarantined(world)
    world.advance(days=6)
    world.undelete(run)
    world.delete(run)
    world.advance(days=1)
    world.cycle()
    assert world.bytes_in_trash(run) == 10
    assert world.bytes_in_trash(other) == 0

    world.restart()
    world.advance(days=7, seconds=-1)
    world.cycle()
    assert world.bytes_in_trash(run) == 10

    world.advance(seconds=1)
    world.cycle()
    assert world.trash() == []
    assert world.history(run) == ["quarantined", "purged"]


def test_run_deleted_anew_often_is_kept_as_long_as_somebody_does_so(world: World) -> None:
    """Each deletion counts from when it was noticed, however many there were before."""
    run = quarantined(world)
    for _ in range(3):
        world.advance(days=1)
        world.undelete(run)
        world.delete(run)
        world.advance(days=6)
        world.cycle()
        assert world.bytes_in_trash(run) == 10

    world.advance(days=7)
    world.cycle()
    assert world.trash() == []


def test_time_of_a_deletion_that_is_lost_is_no_new_one(world: World) -> None:
    """A row that says no time any more, or is no more, holds no purge up."""
    runs = [quarantined(world) for _ in range(2)]
    world.db.execute("UPDATE runs SET deleted_time = NULL WHERE run_uuid = ?", runs[0].id)
    world.hard_delete(runs[1])
    world.advance(days=7)
    world.cycle()

    assert world.trash() == []


class TestRunningRunWithoutRetention:
    """A deleted run that may still be writing, where nothing could give back what is purged."""

    @pytest.fixture
    def running(self, world: World) -> Run:
        """A run that is RUNNING when it is deleted, with retention 0."""
        world.restart(retention=timedelta(0))
        run = world.run(status="RUNNING")
        world.cycle()
        world.delete(run)
        world.cycle()
        assert world.bytes_at(run) == 10
        return run

    def test_waits_and_says_why_once(self, world: World, running: Run) -> None:
        """It stays where it is, and is told once however many cycles pass."""
        for _ in range(5):
            world.advance(minutes=5)
            world.cycle()

        assert world.bytes_at(running) == 10
        assert world.history(running) == ["kept"]
        assert world.kept_because(running) == "its run has not ended and may still be writing"

    @pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
    def test_goes_when_the_run_has_ended(self, world: World, running: Run, status: str) -> None:
        """As soon as the run has ended there is nothing to wait for."""
        world.end(running, status)
        world.cycle()
        world.cycle()

        assert world.bytes_at(running) == 0
        assert world.states(running) == [ItemState.PURGED]

    def test_goes_after_an_hour_without_writes(self, world: World, running: Run) -> None:
        """A process that was killed never ends its run: an hour of silence is an end too."""
        world.advance(minutes=59, seconds=59)
        world.cycle()
        assert world.bytes_at(running) == 10

        world.advance(seconds=1)
        world.cycle()
        world.cycle()
        assert world.states(running) == [ItemState.PURGED]

    def test_each_write_begins_the_hour_anew(self, world: World, running: Run) -> None:
        """A run that writes every forty minutes is never taken for silent."""
        for number in range(6):
            world.advance(minutes=40)
            world.write(running, f"deep/er/checkpoint-{number}", 1)
            world.cycle()

        assert world.bytes_at(running) == 16

    def test_with_a_retention_is_quarantined_at_once(self, world: World) -> None:
        """Where it can be given back, a run that is still RUNNING is moved like any other."""
        run = world.run(status="RUNNING")
        world.cycle()
        world.delete(run)
        world.cycle()

        assert world.bytes_in_trash(run) == 10
