"""Processes that go on writing into a deleted run, and what a restore makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from mlflow_cleanup.act import quarantine
from mlflow_cleanup.decide.margins import LATE_WRITES_WATCHED
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import ItemState
from tests.kit.homes import in_both_homes
from tests.kit.world import Run, World

pytestmark = in_both_homes


@pytest.fixture
def deleted(world: World) -> Run:
    """A run of two files that is in the trash."""
    run = world.run({"model.bin": 10, "log/one.txt": 100})
    world.cycle()
    world.delete(run)
    world.cycle()
    return run


def test_late_write_becomes_an_item_of_its_own(world: World, deleted: Run) -> None:
    """What is written after the quarantine follows into the trash, beside what is there."""
    world.advance(hours=1)
    late = world.write_late(deleted, "late.txt", 1_000)
    world.cycle()

    first, second = world.trash(deleted)
    assert set(first.files) == {"model.bin", "log/one.txt"}
    assert second.files == {"late.txt": late}
    assert not deleted.place.exists()
    assert world.history(deleted) == ["quarantined", "quarantined"]


def test_each_item_has_a_retention_of_its_own(world: World, deleted: Run) -> None:
    """The late item is purged later, by as much as it came later."""
    world.advance(days=2)
    world.write_late(deleted, "late.txt", 1_000)
    world.cycle()

    world.advance(days=5)
    world.cycle()
    assert world.bytes_in_trash(deleted) == 1_000

    world.advance(days=2)
    world.cycle()
    assert world.trash() == []


def test_late_writes_are_restored_together_with_the_rest(world: World, deleted: Run) -> None:
    """Several items of one run that do not overlap all come back to one place."""
    before = {name: data for one in world.trash(deleted) for name, data in one.files.items()}
    for number in range(3):
        before[f"log/late-{number}.txt"] = world.write_late(deleted, f"log/late-{number}.txt", 1)
        world.advance(hours=1)
        world.cycle()

    world.undelete(deleted)
    world.cycle()

    assert world.files_at(deleted) == before
    assert world.trash() == []
    assert world.states(deleted) == [ItemState.RESTORED] * 4


def test_of_several_versions_of_a_file_the_newest_is_restored(world: World, deleted: Run) -> None:
    """The newest version takes its place; the older ones stay in the trash as a conflict."""
    (oldest,) = [one.files["model.bin"] for one in world.trash(deleted)]
    middle = world.write(deleted, "model.bin", 20, "middle")
    world.advance(hours=1)
    world.cycle()
    newest = world.write(deleted, "model.bin", 30, "newest")
    world.advance(hours=1)
    world.cycle()

    world.undelete(deleted)
    world.cycle()

    assert world.files_at(deleted)["model.bin"] == newest
    assert set(world.files_at(deleted)) == {"model.bin", "log/one.txt"}
    assert [one.files for one in world.trash(deleted)] == [
        {"model.bin": oldest},
        {"model.bin": middle},
    ]
    assert world.states(deleted) == [
        ItemState.CONFLICT,
        ItemState.CONFLICT,
        ItemState.RESTORED,
    ]


def test_restore_overwrites_nothing_that_lies_at_the_origin(world: World, deleted: Run) -> None:
    """Written again before the restore: the origin's file stays, the trash keeps the other one."""
    (old,) = [one.files["model.bin"] for one in world.trash(deleted)]
    new = world.write_late(deleted, "model.bin", 20)
    world.undelete(deleted)
    world.cycle()

    assert world.files_at(deleted)["model.bin"] == new
    assert "log/one.txt" in world.files_at(deleted)
    assert [one.files for one in world.trash(deleted)] == [{"model.bin": old}]
    assert world.history(deleted) == ["quarantined", "conflict"]
    assert "model.bin" in world.last(EventKind.CONFLICT).detail


def test_file_in_the_place_of_a_directory_collides_too(world: World, deleted: Run) -> None:
    """Where a file lies now that was a directory, or the other way round, nothing is lost."""
    (old,) = [one.files for one in world.trash(deleted)]
    file = world.write_late(deleted, "log", 1)
    inner = world.write_late(deleted, "model.bin/part", 2)
    world.undelete(deleted)
    world.cycle()

    assert world.files_at(deleted) == {"log": file, "model.bin/part": inner}
    assert [one.files for one in world.trash(deleted)] == [old]


def test_conflict_is_never_purged_by_itself(world: World, deleted: Run) -> None:
    """The rest of a restore stays in the trash for as long as its run lives, and is told once."""
    world.write_late(deleted, "model.bin", 20)
    world.undelete(deleted)
    for _ in range(10):
        world.advance(days=30)
        world.cycle()

    assert world.bytes_in_trash(deleted) == 10
    assert world.history(deleted) == ["quarantined", "conflict"]


def test_conflict_is_held_again_when_its_run_is_deleted_again(world: World, deleted: Run) -> None:
    """With its run deleted again the rest waits once more, for a whole retention from then on."""
    world.write_late(deleted, "model.bin", 20)
    world.undelete(deleted)
    world.cycle()
    world.advance(days=30)

    world.delete(deleted)
    world.cycle()
    assert world.states(deleted) == [ItemState.QUARANTINED, ItemState.QUARANTINED]

    world.advance(days=6, hours=23)
    world.cycle()
    assert world.bytes_in_trash(deleted) == 130

    world.advance(hours=1)
    world.cycle()
    assert world.trash() == []
    assert world.ledger.items.freed().bytes == 130


@pytest.mark.parametrize("ids", [range(9), range(9, 0, -1)], ids=["rising", "falling"])
def test_conflict_held_again_is_still_the_older_version(
    world: World, monkeypatch: pytest.MonkeyPatch, ids: Sequence[int]
) -> None:
    """Deleted and restored once more, the newest version wins again, whatever the items' ids."""
    made = iter(ids)
    monkeypatch.setattr(quarantine, "new_item_id", lambda: f"{next(made):016x}")
    run = world.run()
    world.cycle()
    world.delete(run)
    world.cycle()
    newest = world.write_late(run, "model.bin", 20)
    world.undelete(run)
    world.cycle()
    world.delete(run)
    world.advance(hours=1)
    world.cycle()

    world.undelete(run)
    world.cycle()

    assert world.files_at(run) == {"model.bin": newest}
    assert world.bytes_in_trash(run) == 10


def test_late_write_into_the_trash_by_an_open_file_is_purged_with_it(
    world: World, deleted: Run
) -> None:
    """A file that was open when it was moved goes on growing in the trash; all of it is freed."""
    (one,) = world.trash(deleted)
    trash = world.root / ".mlflow-cleanup/trash" / one.item_id / "content"
    with (trash / "log/one.txt").open("ab") as file:
        file.write(b"x" * 900)

    world.advance(days=7)
    world.cycle()

    assert world.ledger.items.freed().bytes == 1_010


def test_late_write_after_the_purge_is_found(world: World, deleted: Run) -> None:
    """For a week after the purge the place is looked at again, and cleaned up like any other."""
    world.advance(days=7)
    world.cycle()
    world.advance(days=6)
    world.write_late(deleted, "late.txt", 1_000)
    world.cycle()

    assert world.bytes_in_trash(deleted) == 1_000
    world.advance(days=7)
    world.cycle()
    assert world.ledger.items.freed().bytes == 1_110


def test_late_write_long_after_the_purge_is_left_to_the_sweep(world: World, deleted: Run) -> None:
    """Later than that nobody looks: the files stay until storage is compared with the database."""
    world.advance(days=7)
    world.cycle()
    world.advance(seconds=LATE_WRITES_WATCHED.total_seconds() + 1)
    world.write_late(deleted, "late.txt", 1_000)
    world.cycle()

    assert world.bytes_at(deleted) == 1_000


def test_first_write_into_an_empty_run_after_its_delete_is_found(world: World) -> None:
    """A run deleted before it wrote anything is looked at again as well."""
    run = world.run({})
    world.cycle()
    world.delete(run)
    world.cycle()

    world.write_late(run, "late.txt", 1_000)
    world.cycle()

    assert world.bytes_in_trash(run) == 1_000
    assert world.history(run) == ["empty", "quarantined"]


def test_writer_that_never_stops_is_followed(world: World) -> None:
    """A RUNNING run that is deleted and writes on: all of it ends in the trash, none is lost."""
    run = world.run({"step-0": 1}, status="RUNNING")
    world.cycle()
    world.delete(run)
    for step in range(1, 6):
        world.advance(minutes=10)
        world.cycle()
        world.write_late(run, f"step-{step}", 1)
    world.undelete(run)
    world.cycle()

    assert set(world.files_at(run)) == {f"step-{step}" for step in range(6)}
    assert world.trash() == []
    assert world.known(run) is RunState.ACTIVE


def test_late_write_waits_for_its_end_where_nothing_could_be_undone(world: World) -> None:
    """With retention 0, late writes of a run still RUNNING wait for an hour of silence."""
    world.restart(retention=timedelta(0))
    run = world.run(status="RUNNING")
    world.cycle()
    world.advance(hours=1)
    world.delete(run)
    world.cycle()
    world.cycle()
    assert world.states(run) == [ItemState.PURGED]

    world.write_late(run, "late.txt", 1_000)
    world.cycle()
    world.cycle()
    assert world.bytes_at(run) == 1_000

    world.advance(hours=1)
    world.cycle()
    world.cycle()
    assert world.bytes_at(run) == 0
