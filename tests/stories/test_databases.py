"""A tracking database that is another one, went back in time, or cannot be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mlflow_cleanup.errors import CleanupError, TrackingUnreadable
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.item import ItemState
from tests.kit.tracking_db import TrackingFile
from tests.kit.world import Run, World
from tests.stories.refusing import all_artifacts, backup, refuses_everything


@pytest.fixture
def runs(world: World) -> list[Run]:
    """Twenty known active runs of a byte each."""
    made = [world.run({"a": 1}) for _ in range(20)]
    world.cycle()
    return made


@pytest.fixture
def deleted(world: World, runs: list[Run]) -> Run:
    """One of them, in the trash."""
    world.delete(runs[0])
    world.cycle()
    return runs[0]


def bring_back(world: World, copy: Path) -> None:
    """Put a backup in the place of the tracking database."""
    copy.replace(world.db.path)


def other_database(world: World, created_ms: int) -> TrackingFile:
    """Put another, empty tracking database in the place of ours."""
    world.db.path.unlink()
    made = TrackingFile.make(world.db.path)
    made.execute("UPDATE experiments SET creation_time = ?", created_ms)
    return made


def interrupted(world: World) -> None:
    """Run a cycle that loses sight of the database right after its first move."""
    aside = world.home / "aside.db"
    world.faults.after("quarantine", lambda: world.db.path.rename(aside))
    try:
        world.cycle()
    finally:
        aside.rename(world.db.path)


class TestReplacedDatabase:
    """Another tracking database lies where ours was."""

    @pytest.mark.usefixtures("deleted")
    def test_empty_one_is_refused(self, world: World) -> None:
        """A new, empty database: made anew by mistake, or the wrong directory."""
        other_database(world, created_ms=5_000)

        refusal = refuses_everything(world)

        assert "another one than before" in refusal.reason

    @pytest.mark.usefixtures("deleted")
    def test_full_one_is_refused(self, world: World) -> None:
        """Somebody else's database with runs of its own."""
        other = other_database(world, created_ms=5_000)
        for number in range(100, 130):
            other.run(f"{number:032x}")

        refuses_everything(world)

    @pytest.mark.usefixtures("deleted")
    def test_emptied_one_is_refused(self, world: World) -> None:
        """Our own database without any of its rows."""
        for name in ("runs", "experiments"):
            world.db.execute(f"DELETE FROM {name}")

        refuses_everything(world)

    @pytest.mark.usefixtures("deleted")
    def test_forgotten_it_begins_anew_and_touches_nothing(
        self, world: World, runs: list[Run]
    ) -> None:
        """Another database on purpose: its runs are learnt, of the old ones nothing is moved."""
        before = all_artifacts(world)
        other = other_database(world, created_ms=5_000)
        other.run("a" * 32)
        world.answer(world.refused(), "forget")
        world.refused()
        assert all_artifacts(world) == before

        # The root still carries the old database's marker, which is asked about on its own.
        world.answer(world.refused())
        world.cycle()
        for _ in range(3):
            world.advance(days=30)
            world.cycle()

        assert all_artifacts(world) == before
        assert "forgotten" in world.history()
        assert [world.known(run) for run in runs] == [None] * 20

    def test_trash_of_a_forgotten_database_can_be_restored_by_hand(
        self, world: World, deleted: Run
    ) -> None:
        """What the trash held is never purged by itself, and comes back when asked for."""
        other_database(world, created_ms=5_000)
        world.answer(world.refused(), "forget")
        world.refused()
        world.answer(world.refused())
        world.cycle()

        (item,) = world.restore_by_hand(deleted)

        assert item.state is ItemState.RESTORED
        assert world.bytes_at(deleted) == 1

    def test_open_intents_of_a_forgotten_database_are_not_purged_either(
        self, world: World, runs: list[Run]
    ) -> None:
        """A move that a crash interrupted, then forgotten: its bytes stay, wherever they are."""
        world.delete(runs[0])
        with pytest.raises(TrackingUnreadable):
            interrupted(world)
        other_database(world, created_ms=5_000)
        world.answer(world.refused(), "forget")
        world.refused()
        world.answer(world.refused())
        for _ in range(3):
            world.advance(days=30)
            world.cycle()

        assert world.bytes_at(runs[0]) + world.bytes_in_trash() == 1

    @pytest.mark.usefixtures("deleted")
    def test_new_database_with_the_same_runs_is_the_same(
        self, world: World, runs: list[Run]
    ) -> None:
        """Rewritten by a tool (dump and load, VACUUM), the database is recognised."""
        with closing(sqlite3.connect(world.db.path)) as connection:
            connection.execute("VACUUM")
        world.delete(runs[1])
        world.cycle()

        assert world.bytes_in_trash() == 2


class TestRolledBackDatabase:
    """The tracking database went back in time."""

    @pytest.mark.usefixtures("runs")
    def test_older_copy_is_refused(self, world: World) -> None:
        """A backup is brought back: what it does not know of was never deleted."""
        copy = backup(world)
        newer = world.run({"a": 1})
        world.cycle()
        bring_back(world, copy)

        refusal = refuses_everything(world)

        assert "went back in time" in refusal.reason
        assert world.bytes_at(newer) == 1

    def test_vanished_beside_returned_is_refused(self, world: World, deleted: Run) -> None:
        """Some runs vanish and others that were deleted are active again: a dump was loaded."""
        newer = world.run({"a": 1})
        world.cycle()
        world.hard_delete(newer)
        world.undelete(deleted)

        refusal = refuses_everything(world)

        assert "1 active run(s) vanished and 1 that had left are active again" in refusal.reason
        assert world.bytes_at(newer) == 1

    def test_confirmed_it_is_carried_out(self, world: World, deleted: Run) -> None:
        """When it was meant, what returned is restored and what vanished is quarantined."""
        newer = world.run({"a": 10})
        world.cycle()
        world.hard_delete(newer)
        world.undelete(deleted)
        world.answer(world.refused())
        world.cycle()

        assert world.bytes_at(deleted) == 1
        assert world.bytes_in_trash(newer) == 10

    @pytest.mark.usefixtures("runs")
    def test_older_copy_confirmed_is_the_new_beginning(self, world: World) -> None:
        """The backup confirmed, it counts from then on, and is not refused in every cycle."""
        copy = backup(world)
        newer = [world.run({"a": 10}) for _ in range(3)]
        world.cycle()
        bring_back(world, copy)
        world.answer(world.refused())
        world.cycle()
        world.cycle()

        assert world.bytes_in_trash() == 30
        assert {world.known(run) for run in newer} == {RunState.GONE}


def nothing(world: World) -> None:
    """Lose the file."""
    world.db.path.unlink()


def garbage(world: World) -> None:
    """Overwrite the file with something else."""
    world.db.path.write_bytes(b"no database at all" * 1_000)


def truncated(world: World) -> None:
    """Lose all but the beginning of the file."""
    world.db.path.write_bytes(world.db.path.read_bytes()[:8_192])


def no_tables(world: World) -> None:
    """Empty the file, which is how SQLite begins a database."""
    world.db.path.write_bytes(b"")


def other_tables(world: World) -> None:
    """Put a database of something else in its place."""
    world.db.path.unlink()
    with closing(sqlite3.connect(world.db.path)) as connection:
        connection.execute("CREATE TABLE runs (run_uuid TEXT)")


class TestUnreadableDatabase:
    """A tracking database that cannot be read."""

    @pytest.mark.parametrize("harm", [nothing, garbage, truncated, no_tables, other_tables])
    def test_moves_nothing_and_recovers(
        self, world: World, runs: list[Run], deleted: Run, harm: Callable[[World], None]
    ) -> None:
        """While it cannot be read nothing is judged; when it is back everything goes on."""
        world.delete(runs[1])
        copy, before = backup(world), all_artifacts(world)
        harm(world)
        for _ in range(2):
            with pytest.raises(CleanupError):
                world.cycle()
            world.advance(days=7)
        assert all_artifacts(world) == before

        bring_back(world, copy)
        world.cycle()
        assert world.bytes_at(runs[1]) == 0
        assert world.history(deleted) == ["quarantined", "purged"]

    def test_lost_between_move_and_second_look(self, world: World, runs: list[Run]) -> None:
        """Seen no more right after the move: whether it was right is settled by the next cycle."""
        world.delete(runs[0], runs[1])
        with pytest.raises(TrackingUnreadable):
            interrupted(world)
        world.undelete(runs[0])

        world.cycle()

        assert world.bytes_at(runs[0]) == 1
        assert world.bytes_in_trash(runs[1]) == 1
        assert ItemState.QUARANTINING not in {item.state for item in world.items()}
