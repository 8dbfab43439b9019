"""Suspicious means stop: what looks like an accident moves nothing until somebody has said so."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from mlflow_cleanup.errors import TrackingUnreadable
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.item import ItemState
from tests.kit.homes import in_both_homes
from tests.kit.world import Run, World
from tests.stories.refusing import backup, refuses_everything

pytestmark = in_both_homes


@pytest.fixture
def runs(world: World) -> list[Run]:
    """Twenty known active runs of a byte each."""
    made = [world.run({"a": 1}) for _ in range(20)]
    world.cycle()
    return made


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


class TestSlowVanishing:
    """Rows of known active runs that go a few at a time, each time too few to be refused."""

    def lose(self, world: World, runs: list[Run], minutes: float) -> None:
        """Remove the rows of some runs; a cycle sees it, and time passes."""
        world.hard_delete(*runs)
        world.cycle()
        world.advance(minutes=minutes)

    @pytest.mark.parametrize("is_restarted", [False, True])
    def test_within_an_hour_is_refused_in_sum(
        self, world: World, runs: list[Run], *, is_restarted: bool
    ) -> None:
        """Five, five, then one: eleven of twenty within an hour are refused."""
        self.lose(world, runs[:5], minutes=30)
        if is_restarted:
            world.restart()
        self.lose(world, runs[5:10], minutes=29)
        world.hard_delete(runs[10])

        refusal = refuses_everything(world)

        assert "the rows of 11 of 20 known active runs vanished within an hour" in refusal.reason
        assert world.bytes_in_trash() == 10
        assert world.bytes_at(runs[10]) == 1

    def test_half_in_sum_is_not_refused(self, world: World, runs: list[Run]) -> None:
        """The limits are the same as for those that vanish at once."""
        self.lose(world, runs[:5], minutes=10)
        self.lose(world, runs[5:10], minutes=10)

        assert world.bytes_in_trash() == 10

    def test_fewer_than_the_minimum_in_sum_are_not_refused(self, world: World) -> None:
        """Nine are too few to be an accident, whatever share they are."""
        few = [world.run({"a": 1}) for _ in range(10)]
        world.cycle()
        for run in few[:9]:
            self.lose(world, [run], minutes=1)

        assert world.bytes_in_trash() == 9

    def test_spread_over_more_than_an_hour_is_not_refused(
        self, world: World, runs: list[Run]
    ) -> None:
        """Somebody who tidies up for a day is not stopped."""
        for start in range(0, 15, 5):
            self.lose(world, runs[start : start + 5], minutes=61)

        assert world.bytes_in_trash() == 15

    def test_soft_deletes_in_between_do_not_count(self, world: World, runs: list[Run]) -> None:
        """What was deleted in MLflow before its row went was a wish."""
        world.delete(*runs[:8])
        world.cycle()
        self.lose(world, runs[:8], minutes=1)
        self.lose(world, runs[8:13], minutes=1)

        assert world.bytes_in_trash() == 13

    def test_confirmed_the_count_begins_anew(self, world: World, runs: list[Run]) -> None:
        """After a vanishing was meant the next row is not counted on top of it."""
        self.lose(world, runs[:9], minutes=1)
        world.hard_delete(*runs[9:11])
        world.answer(world.refused())
        world.cycle()
        self.lose(world, runs[11:14], minutes=1)

        assert world.bytes_in_trash() == 14
        assert world.told().count("refused") == 1

    def test_refused_cycles_do_not_count_the_same_rows_again(
        self, world: World, runs: list[Run]
    ) -> None:
        """However often it is looked at, the number told stays that of the rows."""
        self.lose(world, runs[:6], minutes=1)
        world.hard_delete(*runs[6:12])
        reasons = {world.refused().reason for _ in range(3)}

        assert len(reasons) == 1
        assert "the rows of 12 of 20" in reasons.pop()


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
