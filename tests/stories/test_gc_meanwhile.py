"""`gc` while other things happen: restores, late writes, what the trash holds, ages, Ctrl-C."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_cleanup.errors import LeaseLost
from mlflow_cleanup.model.item import ItemState
from tests.kit.collecting import (
    FAILED,
    FILES_REMOVED,
    HELD,
    KEPT,
    REMOVED,
    collect,
    has_row,
    is_gone,
    is_whole,
    rows,
    seen_world,
    shown,
    trashed_bytes,
)
from tests.kit.tracking_db import run_id
from tests.kit.world import Run, World

AT_ONCE = timedelta(0)
HOUR = timedelta(hours=1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world with an empty tracking database and no retention, seen once already."""
    yield from seen_world(tmp_path)


class TestChangedMeanwhile:
    """MLflow changes its mind while we are at work."""

    @pytest.mark.parametrize("when", ["exists", "mark", "quarantine"])
    def test_restored_before_it_is_moved(self, world: World, deleted: Run, when: str) -> None:
        """It has its files and its row."""
        world.faults.before(when, lambda: world.undelete(deleted))
        told = collect(world)
        assert REMOVED not in told.fates(deleted)
        assert is_whole(world, deleted)
        world.cycle()
        assert is_whole(world, deleted)

    def test_restored_right_after_the_move(self, world: World, deleted: Run) -> None:
        """The look after the move gives them back."""
        world.faults.after("quarantine", lambda: world.undelete(deleted))
        assert collect(world).fates(deleted) == [KEPT]
        assert is_whole(world, deleted)

    def test_restored_right_before_the_purge(self, world: World, deleted: Run) -> None:
        """Each item is looked at once more."""
        world.restart(retention=HOUR)
        collect(world)
        world.restart(retention=AT_ONCE)
        world.faults.before("exists", lambda: world.undelete(deleted))
        assert REMOVED not in collect(world).fates(deleted)
        world.cycle()
        assert is_whole(world, deleted)

    def test_restored_between_files_and_row(self, world: World, deleted: Run) -> None:
        """The files are gone by then; the row stays, and that is told as the failure that it is."""
        told = collect(world, before_rows=lambda: world.undelete(deleted))
        assert told.fates(deleted) == [FAILED]
        assert has_row(world, deleted)
        assert told.why(deleted) == "restored in MLflow after its files were removed"

    def test_restored_without_files_is_no_failure(self, world: World) -> None:
        """It has lost nothing."""
        bare = world.run({})
        world.delete(bare)
        told = collect(world, before_rows=lambda: world.undelete(bare))
        assert told.fates(bare) == [KEPT]
        assert "restored" in told.why(bare)
        assert has_row(world, bare)

    def test_rows_go_right_after_the_files_of_their_page(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While later pages are taken, no earlier run can be restored without its files."""
        monkeypatch.setattr("mlflow_cleanup.observe.deleted.PAGE", 3)
        runs = [world.run() for _ in range(9)]
        world.delete(*runs)
        seen: list[tuple[int, int]] = []

        def look() -> None:
            whole = sum(is_whole(world, run) for run in runs)
            seen.append((sum(rows(world, *runs)), whole))

        assert collect(world, before_rows=look).fates(*runs) == [REMOVED] * 9
        assert seen == [(9, 6), (6, 3), (3, 0)]

    def test_restored_and_deleted_again_between_files_and_row(
        self, world: World, deleted: Run
    ) -> None:
        """It is not the delete that this was decided on."""

        def again() -> None:
            world.undelete(deleted)
            world.advance(seconds=1)
            world.write(deleted, "new.bin", 100)
            world.delete(deleted)

        assert collect(world, before_rows=again).fates(deleted) == [KEPT]
        assert is_whole(world, deleted, 100)

    def test_written_late_between_files_and_row(self, world: World, deleted: Run) -> None:
        """What is there when its row is looked at keeps the row."""
        told = collect(world, before_rows=lambda: world.write_late(deleted, "late", 100))
        assert told.fates(deleted) == [KEPT]
        assert is_whole(world, deleted, 100)
        assert collect(world).fates(deleted) == [REMOVED]
        assert is_gone(world, deleted)

    def test_row_removed_by_somebody_else(self, world: World, deleted: Run) -> None:
        """No error, as it is gone."""
        told = collect(world, before_rows=lambda: world.hard_delete(deleted))
        assert [fate.value for fate in told.fates(deleted)] == ["not there"]

    def test_lease_lost_between_files_and_row(self, world: World, deleted: Run) -> None:
        """Whoever holds it now may be restoring: no row goes without it, and none is lost."""

        def lost() -> None:
            raise LeaseLost(str(world.settings.database), is_on_server=True)

        def lose() -> None:
            world.workplace.still_ours = lost

        with pytest.raises(LeaseLost):
            collect(world, before_rows=lose)
        assert has_row(world, deleted)

        world.workplace.still_ours = lambda: None
        assert collect(world).fates(deleted) == [REMOVED]


class TestTrash:
    """Rows stay as long as the trash holds something of theirs."""

    def held(self, world: World, deleted: Run) -> None:
        """Take a run into the trash, as a monitor with a retention of a week does."""
        world.restart(retention=timedelta(days=7))
        world.cycle()
        assert world.states(deleted) == [ItemState.QUARANTINED]

    def test_what_is_due_goes(self, world: World, deleted: Run) -> None:
        """Its own retention is 0 unless told otherwise, and counts for what is held already."""
        self.held(world, deleted)
        world.restart(retention=AT_ONCE)
        told = collect(world)
        assert told.fates(deleted) == [REMOVED]
        assert told.tally.freed.bytes == 10
        assert is_gone(world, deleted)

    def test_what_is_not_due_stays(self, world: World, deleted: Run) -> None:
        """`--retention 1h`: into the trash, and the row waits for the purge."""
        world.restart(retention=HOUR)
        told = collect(world)
        (item,) = world.items(deleted)
        assert told.fates(deleted) == [HELD]
        assert item.id in told.why(deleted)
        assert has_row(world, deleted)
        world.advance(minutes=59)
        assert collect(world).fates(deleted) == [HELD]
        assert trashed_bytes(world, deleted) == 10
        world.advance(minutes=1)
        assert collect(world).fates(deleted) == [REMOVED]
        assert is_gone(world, deleted)

    def test_restored_in_mlflow_it_has_its_files_back(self, world: World, deleted: Run) -> None:
        """By the next gc, where no monitor does it; whatever is selected then."""
        world.restart(retention=HOUR)
        collect(world)
        world.undelete(deleted)
        assert collect(world, older_than=timedelta(days=9)).one_by_one == []
        assert is_whole(world, deleted)

    def test_purged_by_hand_it_goes(self, world: World, deleted: Run) -> None:
        """The next gc finds nothing left of it, whatever its retention is."""
        world.restart(retention=HOUR)
        collect(world)
        world.purge_by_hand(deleted)
        assert collect(world).fates(deleted) == [REMOVED]
        assert is_gone(world, deleted)

    def test_only_rows_leave_the_trash_alone(self, world: World, deleted: Run) -> None:
        """`--metadata-only` purges nothing, though it was due."""
        self.held(world, deleted)
        world.restart(retention=AT_ONCE)
        assert collect(world, files=False).fates(deleted) == [HELD]
        assert trashed_bytes(world, deleted) == 10

    def test_conflict_stays(self, world: World, deleted: Run) -> None:
        """The rest of a restore that met other files is nobody's to purge, so the row stays."""
        self.held(world, deleted)
        world.write(deleted, "model.bin", 100, "other")
        world.restore_by_hand(deleted)
        assert world.states(deleted) == [ItemState.CONFLICT]
        world.restart(retention=AT_ONCE)
        told = collect(world)
        assert told.fates(deleted) != [REMOVED]
        assert has_row(world, deleted)
        assert trashed_bytes(world, deleted) + world.bytes_at(deleted) == 110

    def test_released_by_hand_stays(self, world: World, deleted: Run) -> None:
        """`mlflow-cleanup restore` means: leave it alone; unless it is named."""
        self.held(world, deleted)
        world.restore_by_hand(deleted)
        world.restart(retention=AT_ONCE)
        assert collect(world).fates(deleted) == [KEPT]
        assert is_whole(world, deleted)
        assert collect(world, run_ids=(deleted.id,)).fates(deleted) == [REMOVED]
        assert is_gone(world, deleted)

    @pytest.mark.parametrize("order", [(0xA, 0xF), (0xF, 0xA)], ids=["outer first", "inner first"])
    def test_run_inside_another_ones_trash(self, world: World, order: tuple[int, int]) -> None:
        """What went along into the trash is there still, so both rows stay."""
        outer = world.run(id_=run_id(order[0]))
        id_ = run_id(order[1])
        inner = Run(id_, outer.place / "inside" / id_ / "artifacts")
        world.run({}, id_=id_, uri=str(inner.place))
        world.write(inner, "b", 100)
        world.restart(retention=HOUR)
        world.delete(outer, inner)

        told = collect(world)

        assert told.every_fate == {outer.id: HELD, inner.id: HELD}
        assert world.bytes_in_trash() == 110
        assert collect(world).every_fate == {outer.id: HELD, inner.id: HELD}
        world.undelete(outer, inner)
        world.cycle()
        world.cycle()
        assert is_whole(world, outer, 110)
        assert is_whole(world, inner, 100)


class TestPart:
    """Only files, or only rows."""

    def test_only_files(self, world: World, deleted: Run) -> None:
        """The row stays, and a later gc removes it."""
        told = collect(world, rows=False)
        assert told.fates(deleted) == [FILES_REMOVED]
        assert has_row(world, deleted)
        assert not deleted.place.exists()
        assert world.bytes_in_trash() == 0
        assert collect(world).fates(deleted) == [REMOVED]

    def test_only_rows(self, world: World, deleted: Run) -> None:
        """Of what has no files; the others keep both."""
        bare = world.run({})
        world.delete(bare)
        told = collect(world, files=False)
        assert told.every_fate == {bare.id: REMOVED, deleted.id: KEPT}
        assert is_whole(world, deleted)


class TestUndated:
    """A run deleted before MLflow 1.28 noted no time."""

    @pytest.fixture
    def undated(self, world: World, deleted: Run) -> Run:
        """Take the time away."""
        world.db.execute("UPDATE runs SET deleted_time = NULL WHERE run_uuid = ?", deleted.id)
        return deleted

    def test_it_goes(self, world: World, undated: Run) -> None:
        """Where no age is asked for."""
        assert collect(world).fates(undated) == [REMOVED]
        assert is_gone(world, undated)

    def test_it_ages_from_when_it_was_first_seen(self, world: World, undated: Run) -> None:
        """And stays until then, with the reason; only looking does not start it."""
        day = timedelta(days=1)
        shown(world, older_than=day)
        world.advance(days=3)
        told = collect(world, older_than=day)
        assert told.fates(undated) == [KEPT]
        assert "first seen" in told.why(undated)
        world.advance(hours=23)
        world.set_clock(days=9)
        world.restart()
        assert collect(world, older_than=day).fates(undated) == [KEPT]
        assert is_whole(world, undated)
        world.set_clock(days=-9)
        world.advance(hours=1)
        assert collect(world, older_than=day).fates(undated) == [REMOVED]
        assert is_gone(world, undated)

    def test_failing_does_not_make_it_young(self, world: World, undated: Run) -> None:
        """Old enough once, it is so the next time too."""
        day = timedelta(days=1)
        collect(world, older_than=day)
        world.advance(days=1)
        world.faults.fail("quarantine")
        assert collect(world, older_than=day).fates(undated) == [FAILED]
        world.faults.heal()
        world.advance(hours=7)
        assert collect(world, older_than=day).fates(undated) == [REMOVED]

    def test_restored_meanwhile_it_begins_anew(self, world: World, undated: Run) -> None:
        """It was not deleted at every look."""
        day = timedelta(days=1)
        collect(world, older_than=day)
        world.advance(hours=20)
        world.undelete(undated)
        collect(world, older_than=day)
        world.delete(undated)
        world.db.execute("UPDATE runs SET deleted_time = NULL WHERE run_uuid = ?", undated.id)
        world.advance(hours=20)
        assert collect(world, older_than=day).fates(undated) == [KEPT]
        assert is_whole(world, undated)

    def test_young_one_stays(self, world: World, deleted: Run) -> None:
        """By the time that its row says; not a word about it."""
        day = timedelta(days=1)
        world.advance(hours=23)
        assert collect(world, older_than=day).one_by_one == []
        assert is_whole(world, deleted)
        world.advance(hours=1)
        assert collect(world, older_than=day).fates(deleted) == [REMOVED]


class TestStopped:
    """Ctrl-C finishes the step in hand; the next one goes on."""

    @pytest.mark.parametrize("where", ["quarantine", "purge", "exists", "rows"])
    def test_rest_is_as_it_was(self, world: World, where: str) -> None:
        """No row goes whose files stay, and in the end nothing is left."""
        runs = [world.run() for _ in range(5)]
        world.delete(*runs)

        def stop() -> None:
            world.workplace.stop.set()

        if where != "rows":
            world.faults.after(where, stop)
        told = collect(world, before_rows=stop if where == "rows" else lambda: None)

        assert REMOVED not in told.fates(*runs)
        assert rows(world, *runs) == [True] * 5
        world.restart()
        assert set(collect(world).fates(*runs)) == {REMOVED}
        assert all(is_gone(world, run) for run in runs)
