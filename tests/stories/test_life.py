"""What happens to a deleted run's artifacts, from the trash to the end or back home."""

from __future__ import annotations

from mlflow_cleanup.cycle.turn import Scope
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import ItemState, Size
from tests.kit.world import World


def test_deleted_run_is_quarantined_and_restored_byte_for_byte(world: World) -> None:
    """A deleted run's files leave the artifact root at once and come back when it is restored."""
    run = world.run({"model.bin": 1_000, "plots/loss.png": 100, "plots/deep/er/acc.png": 10})
    before = world.files_at(run)
    world.cycle()

    world.delete(run)
    world.cycle()

    assert not run.place.parent.exists()
    assert [one.files for one in world.trash()] == [before]

    world.advance(days=3)
    world.undelete(run)
    world.cycle()

    assert world.files_at(run) == before
    assert world.trash() == []
    assert world.history(run) == ["quarantined", "restored"]
    assert world.known(run) is RunState.ACTIVE


def test_deleted_run_is_purged_when_its_retention_has_passed(world: World) -> None:
    """After a week in the trash the bytes are removed for good, and what was freed is measured."""
    run = world.run({"model.bin": 1_000, "plots/loss.png": 100})
    other = world.run({"model.bin": 10})
    world.cycle()
    world.delete(run)
    world.cycle()

    world.advance(days=7)
    world.cycle()

    assert world.trash() == []
    assert world.history(run) == ["quarantined", "purged"]
    assert world.last(EventKind.PURGED).size == Size(2, 1_100)
    assert world.ledger.items.freed() == Size(2, 1_100)
    assert world.bytes_at(other) == 10


def test_only_the_deleted_run_is_touched(world: World) -> None:
    """Beside a deleted run nothing changes: not its siblings, children or other experiments."""
    world.db.experiment("7", "mlflow-artifacts:/7")
    run, sibling = world.run(), world.run({"a": 10})
    child = world.run({"b": 100})
    world.tag(child, "mlflow.parentRunId", run.id)
    elsewhere = world.run({"c": 1_000}, experiment="7")
    world.cycle()

    world.delete(run)
    world.cycle()

    assert [world.bytes_at(one) for one in (run, sibling, child, elsewhere)] == [0, 10, 100, 1_000]
    assert world.told() == ["quarantined"]


def test_run_of_a_restored_item_may_be_deleted_again(world: World) -> None:
    """Deleted, restored and deleted again: each time a new item with a retention of its own."""
    run = world.run()
    world.cycle()
    world.delete(run)
    world.cycle()
    world.advance(days=6)
    world.undelete(run)
    world.cycle()

    world.delete(run)
    world.cycle()
    world.advance(days=6)
    world.cycle()

    assert world.bytes_in_trash(run) == 10
    assert world.states(run) == [ItemState.RESTORED, ItemState.QUARANTINED]


def test_row_that_vanished_takes_its_files_along(world: World) -> None:
    """A run whose row is removed without a delete, one of several, is quarantined as vanished."""
    run, *_ = [world.run() for _ in range(3)]
    world.cycle()

    world.hard_delete(run)
    world.cycle()

    assert world.bytes_in_trash(run) == 10
    (one,) = world.trash(run)
    assert one.note["reason"] == "its run's row is gone from the tracking database"


def test_row_removed_while_quarantined_changes_nothing(world: World) -> None:
    """`mlflow gc` of a run that is in the trash already: its bytes stay for their retention."""
    run = world.run()
    world.cycle()
    world.delete(run)
    world.cycle()

    world.hard_delete(run)
    world.cycle()
    world.advance(days=6)
    world.cycle()
    assert world.bytes_in_trash(run) == 10

    world.advance(days=1)
    world.cycle()
    assert world.history(run) == ["quarantined", "purged"]


def test_run_without_artifacts_is_told_as_empty(world: World) -> None:
    """A deleted run that never wrote anything is done with in one word."""
    run = world.run({})
    world.cycle()

    world.delete(run)
    world.cycle()
    world.cycle()

    assert world.history(run) == ["empty"]
    assert world.states(run) == []


def test_run_deleted_between_two_looks_without_having_been_seen_is_quarantined(
    world: World,
) -> None:
    """A run made and deleted between two cycles was never known, and is cleaned up all the same."""
    run = world.run()
    world.delete(run)

    world.cycle()

    assert world.bytes_in_trash(run) == 10
    assert world.history(run) == ["quarantined"]


def test_run_that_is_restored_before_anybody_looked_stays_where_it_is(world: World) -> None:
    """Deleted and restored between two cycles: nothing happens."""
    run = world.run()
    world.cycle()

    world.delete(run)
    world.undelete(run)
    world.cycle()

    assert world.bytes_at(run) == 10
    assert world.told() == []


def test_deleting_an_experiment_and_restoring_it_works_as_for_its_runs(world: World) -> None:
    """Deleting an experiment deletes its runs; restoring it gives all their files back."""
    world.db.experiment("7", "mlflow-artifacts:/7")
    runs = [world.run({"a": size}, experiment="7") for size in (1, 10, 100)]
    world.cycle()

    world.delete(*runs)
    world.db.execute("UPDATE experiments SET lifecycle_stage = 'deleted' WHERE experiment_id = 7")
    world.cycle()
    assert world.bytes_in_trash() == 111

    world.db.execute("UPDATE experiments SET lifecycle_stage = 'active' WHERE experiment_id = 7")
    world.undelete(*runs)
    world.cycle()
    assert [world.bytes_at(run) for run in runs] == [1, 10, 100]


def test_cycle_of_changes_does_what_is_urgent(world: World) -> None:
    """The quick cycle quarantines what left and restores what came back, and leaves purges."""
    old, run = world.run({"a": 100}), world.run()
    world.cycle()
    world.delete(old)
    world.cycle()
    world.advance(days=8)

    world.delete(run)
    world.cycle(Scope.CHANGES)
    assert world.bytes_in_trash() == 110

    world.undelete(run)
    world.cycle(Scope.CHANGES)
    assert world.bytes_at(run) == 10
    assert world.bytes_in_trash(old) == 100


def test_cycle_of_changes_learns_new_runs(world: World) -> None:
    """A run that the quick cycle saw arrive is known when it vanishes later."""
    runs = [world.run() for _ in range(3)]
    world.cycle(Scope.CHANGES)
    assert {world.known(run) for run in runs} == {RunState.ACTIVE}

    world.hard_delete(runs[0])
    world.cycle(Scope.CHANGES)

    assert world.bytes_in_trash(runs[0]) == 10


def test_hundreds_of_runs_leave_in_one_cycle(world: World) -> None:
    """A plan of several batches is carried out whole, each run told once."""
    runs = [world.run({"a": 1}) for _ in range(120)]
    world.cycle()

    world.delete(*runs)
    world.cycle()

    assert world.bytes_in_trash() == 120
    assert world.told() == ["quarantined"] * 120


def test_failure_of_one_stops_no_other(world: World) -> None:
    """Where one run's files cannot be moved, all others are cleaned up."""
    bad, *good = [world.run({"a": 1}) for _ in range(4)]
    for path in (bad.place / "a", bad.place):
        path.unlink() if path.is_file() else path.rmdir()
    bad.place.write_bytes(b"a file where a directory belongs")
    world.cycle()

    world.delete(bad, *good)
    world.cycle()

    assert world.bytes_in_trash() == 3
    assert bad.place.read_bytes() == b"a file where a directory belongs"
    assert world.told(bad) == ["failed"]
