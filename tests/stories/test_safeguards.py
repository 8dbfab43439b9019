"""Suspicious means stop: what looks like an accident moves nothing until somebody has said so."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mlflow_cleanup.errors import CleanupError, PlanRefused, TrackingUnreadable
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.item import ItemState
from mlflow_cleanup.model.location import RESERVED
from tests.kit.tracking_db import TrackingFile
from tests.kit.world import Run, World, tree


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


def backup(world: World) -> Path:
    """Copy the tracking database aside, as a backup would."""
    copy = world.home / "backup.db"
    copy.write_bytes(world.db.path.read_bytes())
    return copy


def bring_back(world: World, copy: Path) -> None:
    """Put a backup in the place of the tracking database."""
    copy.replace(world.db.path)


def other_database(world: World, created_ms: int) -> TrackingFile:
    """Put another, empty tracking database in the place of ours."""
    world.db.path.unlink()
    made = TrackingFile.make(world.db.path)
    made.execute("UPDATE experiments SET creation_time = ?", created_ms)
    return made


def all_files(world: World) -> dict[str, bytes]:
    """Read everything under the root, the trash too."""
    return tree(world.root)


def refuses_everything(world: World) -> PlanRefused:
    """Check that cycle after cycle, through a restart too, nothing moves and one word is said."""
    before, history = all_files(world), world.history()
    refusals = []
    for _ in range(3):
        refusals.append(world.refused())
        world.restart()
    assert len({refusal.plan_id for refusal in refusals}) == 1
    assert all_files(world) == before
    assert world.history() == [*history, "refused"]
    return refusals[0]


class TestMassVanishing:
    """Rows of known active runs that are gone without having been deleted."""

    @pytest.mark.parametrize("count", [1, 3, 12])
    def test_of_every_one_is_refused(self, world: World, count: int) -> None:
        """However few there are: when all known runs vanish at once, nothing is moved."""
        made = [world.run({"a": 1}) for _ in range(count)]
        world.cycle()
        world.hard_delete(*made)

        refusal = refuses_everything(world)

        assert f"the rows of {count} of {count} known active runs" in refusal.reason

    def test_of_every_one_is_refused_although_others_came(
        self, world: World, runs: list[Run]
    ) -> None:
        """New runs in the same look do not hide that every known one is gone."""
        world.hard_delete(*runs)
        for _ in range(50):
            world.run({"a": 1})

        refuses_everything(world)

    @pytest.mark.parametrize(
        ("vanished", "known", "is_refused"),
        [
            (9, 10, False),
            (9, 17, False),
            (10, 19, True),
            (10, 20, False),
            (11, 20, True),
            (11, 21, True),
            (11, 22, False),
        ],
    )
    def test_at_its_limits(self, world: World, vanished: int, known: int, is_refused: bool) -> None:
        """More than half, and ten or more, are refused; exactly half, or nine, are not."""
        made = [world.run({"a": 1}) for _ in range(known)]
        world.cycle()
        world.hard_delete(*made[:vanished])

        if is_refused:
            refuses_everything(world)
        else:
            world.cycle()
            assert world.bytes_in_trash() == vanished

    def test_limits_can_be_set(self, world: World, runs: list[Run]) -> None:
        """An operator who loses rows on purpose may allow more, or less."""
        world.restart(vanished_minimum=3, vanished_share=0.1)
        world.hard_delete(*runs[:3])
        refuses_everything(world)

        world.restart(vanished_minimum=10, vanished_share=0.9)
        world.hard_delete(*runs[3:18])
        world.cycle()
        assert world.bytes_in_trash() == 18

    def test_soft_deletes_are_a_wish(self, world: World, runs: list[Run]) -> None:
        """All runs deleted in MLflow at once: that is what somebody wanted."""
        world.delete(*runs)
        world.cycle()

        assert world.bytes_in_trash() == 20

    def test_runs_in_the_trash_may_vanish(self, world: World, runs: list[Run]) -> None:
        """`mlflow gc` of everything that was deleted is no accident."""
        world.delete(*runs[:15])
        world.cycle()
        world.hard_delete(*runs[:15])
        world.cycle()

        assert world.bytes_in_trash() == 15

    def test_confirmed_it_is_carried_out(self, world: World, runs: list[Run]) -> None:
        """When it was meant, the plan is carried out, and all can be restored still."""
        world.hard_delete(*runs)
        world.answer(world.refused())
        world.cycle()

        assert world.bytes_in_trash() == 20
        assert world.told()[:2] == ["refused", "confirmed"]

    def test_confirmation_holds_for_what_was_refused_only(
        self, world: World, runs: list[Run]
    ) -> None:
        """Another run vanishes after the operator looked: that is another plan."""
        world.hard_delete(*runs[:15])
        refusal = world.refused()
        world.answer(refusal)
        world.hard_delete(runs[15])

        assert world.refused().plan_id != refusal.plan_id
        assert all(world.bytes_at(run) == 1 for run in runs)

    def test_confirmation_is_used_up(self, world: World, runs: list[Run]) -> None:
        """The same accident a second time is refused a second time."""
        world.hard_delete(*runs)
        world.answer(world.refused())
        world.cycle()
        again = [world.run({"a": 1}) for _ in range(3)]
        world.cycle()
        world.hard_delete(*again)

        world.refused()

        assert all(world.bytes_at(run) == 1 for run in again)

    def test_rows_that_come_back_end_the_refusal(self, world: World, runs: list[Run]) -> None:
        """The database repaired, everything goes on as if nothing had happened."""
        copy = backup(world)
        with closing(sqlite3.connect(world.db.path)) as connection:
            connection.execute("DELETE FROM runs")
            connection.commit()
        refusal = world.refused()
        counter = world.db.path.read_bytes()[24:28]
        repaired = copy.read_bytes()
        world.db.path.write_bytes(repaired[:24] + counter + repaired[28:])

        world.cycle()
        assert all(world.bytes_at(run) == 1 for run in runs)
        assert world.ledger.refusals.current() is None
        assert not world.ledger.refusals.answer(refusal.plan_id, "confirmed")

    def test_refused_runs_are_not_forgotten(self, world: World, runs: list[Run]) -> None:
        """What was refused is compared again and again with what was known before."""
        world.hard_delete(*runs)
        world.refused()
        world.restart()

        assert {world.known(run) for run in runs} == {RunState.ACTIVE}


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
        before = all_files(world)
        other = other_database(world, created_ms=5_000)
        other.run("a" * 32)
        world.answer(world.refused(), "forget")
        world.refused()
        assert all_files(world) == before

        # The root still carries the old database's marker, which is asked about on its own.
        world.answer(world.refused())
        world.cycle()
        for _ in range(3):
            world.advance(days=30)
            world.cycle()

        after = all_files(world)
        assert {k: v for k, v in after.items() if "owner.json" not in k} == {
            k: v for k, v in before.items() if "owner.json" not in k
        }
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


def interrupted(world: World) -> None:
    """Run a cycle that loses sight of the database right after its first move."""
    aside = world.home / "aside.db"
    world.faults.after("quarantine", lambda: world.db.path.rename(aside))
    try:
        world.cycle()
    finally:
        aside.rename(world.db.path)


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


class TestSchema:
    """Tables that this version does not know."""

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE alembic_version SET version_num = 'feedfacecafe'",
            "DELETE FROM alembic_version",
            "DROP TABLE alembic_version",
        ],
    )
    def test_unknown_revision_is_refused_unless_allowed(
        self, world: World, runs: list[Run], change: str
    ) -> None:
        """A later MLflow may have claims we cannot see; the operator may say that it has not."""
        world.delete(runs[0])
        world.db.execute(change)
        refusal = refuses_everything(world)
        assert "--allow-unknown-schema" in refusal.reason

        world.restart(allow_unknown_schema=True)
        world.cycle()
        assert world.bytes_in_trash() == 1

    def test_confirming_it_waves_no_other_safeguard_through(
        self, world: World, runs: list[Run]
    ) -> None:
        """A confirmed revision is no word on rows that vanished at the same time."""
        world.db.execute("UPDATE alembic_version SET version_num = 'feedfacecafe'")
        world.hard_delete(*runs)
        world.answer(world.refused())

        refusal = world.refused()

        assert all(world.bytes_at(run) == 1 for run in runs)
        assert "vanished" in refusal.reason

    def test_confirmed_revision_keeps_no_other_confirmation_alive(
        self, world: World, runs: list[Run]
    ) -> None:
        """While an unknown revision is acted on, the same accident is still asked about twice."""
        world.db.execute("UPDATE alembic_version SET version_num = 'feedfacecafe'")
        world.answer(world.refused())
        rows = world.db.execute("SELECT run_uuid, artifact_uri FROM runs")
        world.hard_delete(*runs)
        world.answer(world.refused())
        world.cycle()
        assert world.bytes_in_trash() == 20

        for id_, uri in rows:
            world.db.run(str(id_), uri)
        world.cycle()
        world.hard_delete(*runs)
        world.refused()

        assert all(world.bytes_at(run) == 1 for run in runs)

    @pytest.mark.parametrize(
        ("name", "column"),
        [
            ("logged_models", "artifact_location"),
            ("model_versions", "source"),
            ("trace_tags", "value"),
            ("experiments", "artifact_location"),
        ],
    )
    def test_claims_that_cannot_be_read_are_refused(
        self, world: World, runs: list[Run], name: str, column: str
    ) -> None:
        """A table is there, and the column that says where its bytes are is not."""
        world.delete(runs[0])
        world.db.execute(f"ALTER TABLE {name} RENAME COLUMN {column} TO telling_{column}")

        refusal = refuses_everything(world)

        assert f"table {name}" in refusal.reason
        assert column in refusal.reason

    @pytest.mark.parametrize("name", ["logged_models", "model_versions", "trace_tags"])
    def test_claims_become_unreadable_in_the_middle(
        self, world: World, runs: list[Run], name: str
    ) -> None:
        """A migration between the move and the second look: the move is settled only later."""
        world.delete(runs[0])
        column = {"logged_models": "artifact_location", "model_versions": "source"}.get(
            name, "value"
        )
        rename = "ALTER TABLE {} RENAME COLUMN {} TO {}"
        world.faults.after(
            "quarantine", lambda: world.db.execute(rename.format(name, column, "telling"))
        )
        with pytest.raises(TrackingUnreadable):
            world.cycle()
        assert world.states(runs[0]) == [ItemState.QUARANTINING]

        world.undelete(runs[0])
        world.db.execute(rename.format(name, "telling", column))
        world.cycle()
        assert world.bytes_at(runs[0]) == 1


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
        copy, before = backup(world), all_files(world)
        harm(world)
        for _ in range(2):
            with pytest.raises(CleanupError):
                world.cycle()
            world.advance(days=7)
        assert all_files(world) == before

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


def test_state_directory_is_where_nothing_else_looks(world: World) -> None:
    """The ledger lies beside the database, the trash inside the root: both in our directory."""
    assert (world.home / RESERVED / "ledger.db").is_file()
    assert (world.root / RESERVED / "owner.json").is_file()
