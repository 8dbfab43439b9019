"""The last look belongs to the delete: what is not as it was decided on stays, untouched."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_cleanup.act.metadata import Outcome, Result, Target, TargetKind, remove_rows
from mlflow_cleanup.act.metadata.targets import CHANGED
from tests.kit.rows import DELETED_MS, Filled, World, difference

RESTORED = {
    TargetKind.RUN: "UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL",
    TargetKind.LOGGED_MODEL: "UPDATE logged_models SET lifecycle_stage = 'active'",
    TargetKind.TRACE: "UPDATE experiments SET lifecycle_stage = 'active'",
    TargetKind.EXPERIMENT: "UPDATE experiments SET lifecycle_stage = 'active'",
    TargetKind.JOB: "UPDATE jobs SET status = 1",
}
LATER = {
    TargetKind.RUN: "UPDATE runs SET deleted_time = deleted_time + 1",
    TargetKind.LOGGED_MODEL: "UPDATE logged_models SET last_updated_timestamp_ms = 5001",
    TargetKind.EXPERIMENT: "UPDATE experiments SET last_update_time = 5001",
}


def filled_alone(filled: Filled, kind: TargetKind) -> World:
    """Fill a world of which `kind` can go; for an experiment, nothing else is left in it."""
    without: tuple[str, ...] = ("guardrails", "guardrail_configs")
    if kind is TargetKind.EXPERIMENT:
        without = (*without, "runs", "logged_models", "trace_info")
    world = filled.world(2, "deleted", without=without)
    if kind is TargetKind.LOGGED_MODEL:  # else it may go along with its experiment
        filled.file.execute("UPDATE experiments SET lifecycle_stage = 'active'")
    return world


def expect_kept(filled: Filled, target: Target) -> None:
    """Try to remove it, and see that nothing at all is another one."""
    before = filled.content()
    assert list(remove_rows(filled.database, [target])) == [Outcome(target, Result.KEPT, CHANGED)]
    assert filled.content() == before


@pytest.mark.parametrize("kind", TargetKind)
def test_what_was_restored_meanwhile_stays(filled: Filled, kind: TargetKind) -> None:
    """Whatever was decided, a live entity keeps every row."""
    target = filled.target(kind, filled_alone(filled, kind))
    filled.file.execute(RESTORED[kind])
    expect_kept(filled, target)


@pytest.mark.parametrize("kind", [TargetKind.LOGGED_MODEL, TargetKind.TRACE])
def test_what_is_active_goes_with_its_deleted_experiment_only(
    filled: Filled, kind: TargetKind
) -> None:
    """A model or trace is not deleted itself then."""
    world = filled_alone(filled, kind)
    target = filled.target(kind, world)
    filled.file.execute("UPDATE logged_models SET lifecycle_stage = 'active'")
    filled.file.execute("UPDATE experiments SET lifecycle_stage = 'active'")
    expect_kept(filled, target)
    filled.file.execute("UPDATE experiments SET lifecycle_stage = 'deleted'")
    assert list(remove_rows(filled.database, [target])) == [Outcome(target, Result.REMOVED)]


@pytest.mark.parametrize("kind", LATER)
def test_what_was_deleted_again_later_stays(filled: Filled, kind: TargetKind) -> None:
    """Restored and deleted once more: that is another delete, and nobody decided on it."""
    target = filled.target(kind, filled_alone(filled, kind))
    filled.file.execute(LATER[kind])
    expect_kept(filled, target)


@pytest.mark.parametrize("stage", [None, "", "Deleted", "deleted ", b"deleted"])
@pytest.mark.parametrize("kind", [TargetKind.RUN, TargetKind.LOGGED_MODEL, TargetKind.EXPERIMENT])
def test_a_stage_that_only_looks_like_deleted_stays(
    filled: Filled, kind: TargetKind, stage: str | bytes | None
) -> None:
    """A row without a stage, or with one that nobody knows, is not a deleted one."""
    if isinstance(stage, bytes) and filled.database.is_on_server:
        pytest.skip("bytes are no text of their own there")
    target = filled.target(kind, filled_alone(filled, kind))
    table = {TargetKind.RUN: "runs", TargetKind.LOGGED_MODEL: "logged_models"}.get(
        kind, "experiments"
    )
    filled.file.execute(f"UPDATE {table} SET lifecycle_stage = ?", stage)
    expect_kept(filled, target)


@pytest.mark.parametrize("state", [0, 1, 6, "SUCCEEDED"])
def test_a_job_that_is_not_known_to_be_finished_stays(filled: Filled, state: int | str) -> None:
    """Pending, running, and states of later releases."""
    if isinstance(state, str) and filled.database.is_on_server:
        pytest.skip("only a number can stand there")
    target = filled.target(TargetKind.JOB, filled.world(2, "deleted"))
    filled.file.execute("UPDATE jobs SET status = ?", state)
    expect_kept(filled, target)


def test_a_run_deleted_at_an_unknown_time_goes_as_such(filled: Filled) -> None:
    """NULL is a state like any other: it matches NULL, and no time matches it."""
    world = filled.world(2, "deleted")
    filled.file.execute("UPDATE runs SET deleted_time = NULL")
    expect_kept(filled, Target(TargetKind.RUN, world.run, DELETED_MS))
    target = Target(TargetKind.RUN, world.run, None)
    assert list(remove_rows(filled.database, [target])) == [Outcome(target, Result.REMOVED)]


def test_a_run_that_has_a_time_by_now_is_not_one_without(filled: Filled) -> None:
    """A target decided on without a time does not stand for any."""
    world = filled.world(2, "deleted")
    expect_kept(filled, Target(TargetKind.RUN, world.run, None))


def test_a_schema_without_times_goes_by_the_stage(tmp_path: Path) -> None:
    """MLflow 1.27 does not say when a run was deleted."""
    filled = Filled(tmp_path / "old.db", "1.27")
    world = filled.world(2, "deleted")
    target = Target(TargetKind.RUN, world.run, None)
    assert list(remove_rows(filled.database, [target])) == [Outcome(target, Result.REMOVED)]
    filled.world(4, "active")
    expect_kept(filled, Target(TargetKind.RUN, f"{4:032x}", None))


def test_one_that_stays_keeps_nobody_else(filled: Filled) -> None:
    """In one batch some stay and some go, and each outcome says which."""
    worlds = [filled.world(number, "deleted") for number in range(2, 8)]
    targets = [filled.target(TargetKind.RUN, world) for world in worlds]
    before = filled.content()
    filled.file.execute("UPDATE runs SET deleted_time = 7 WHERE run_uuid = ?", worlds[2].run)
    outcomes = {item.target.id: item.result for item in remove_rows(filled.database, targets)}
    stays = {world.run: world is worlds[2] for world in worlds}
    assert outcomes == {run: Result.KEPT if kept else Result.REMOVED for run, kept in stays.items()}
    assert filled.file.execute("SELECT run_uuid FROM metrics") == [(worlds[2].run,)]
    assert len(difference(before, filled.content())["runs"]) == len(worlds)
    assert filled.broken_keys() == []


def test_one_named_twice_has_one_outcome(filled: Filled) -> None:
    """The first word counts."""
    world = filled.world(2, "deleted")
    right = filled.target(TargetKind.RUN, world)
    wrong = Target(TargetKind.RUN, world.run, 1)
    assert [item.result for item in remove_rows(filled.database, [wrong, right])] == [Result.KEPT]
    assert [item.result for item in remove_rows(filled.database, [right, wrong])] == [
        Result.REMOVED
    ]
    assert [item.result for item in remove_rows(filled.database, [right])] == [Result.ABSENT]
