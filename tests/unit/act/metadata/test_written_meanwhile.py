"""Others go on writing while rows are removed; nothing of theirs is lost, nothing dangles."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlflow_cleanup.act.metadata import Pace, Result, Target, TargetKind, remove_rows
from tests.kit.rows import Filled, World

ONE_BY_ONE = Pace(hold_s=1e-6, rest_s=0.0, quiet_hold_s=1e-6)
RUN, EXPERIMENT = TargetKind.RUN, TargetKind.EXPERIMENT
GUARDS = ("guardrails", "guardrail_configs")


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    """A database of SQLite, whose own way this is."""
    return Filled(tmp_path / "mlflow.db")


def worlds_of(filled: Filled, count: int) -> tuple[list[World], list[Target]]:
    """Fill deleted worlds; returns them with their runs."""
    worlds = [filled.world(number, "deleted", without=GUARDS) for number in range(2, 2 + count)]
    return worlds, [filled.target(RUN, world) for world in worlds]


def at_turn(turn: int, act: Callable[[], object]) -> Callable[[], bool]:
    """Do something once, between two transactions; the first ones look, the others remove."""
    turns = iter(range(1_000_000))

    def keep_going() -> bool:
        if next(turns) == turn:
            act()
        return True

    return keep_going


def model_metric(run: str, model: World, step: int) -> dict[str, str | int | None]:
    """Return one more metric of a logged model, logged by some run."""
    return {
        "run_id": run,
        "model_id": model.model,
        "metric_step": step,
        "metric_timestamp_ms": step,
    }


def test_metrics_logged_before_its_turn_go_along(filled: Filled) -> None:
    """MLflow lets a client log to a deleted run."""
    worlds, targets = worlds_of(filled, 4)
    outcomes = remove_rows(filled.database, targets, pace=ONE_BY_ONE)
    next(outcomes)
    last = worlds[-1]
    for name in ("metrics", "params", "tags"):
        filled.add(name, {"key": "late", "run_uuid": last.run}, last)
    assert {item.result for item in outcomes} == {Result.REMOVED}
    assert filled.content()["metrics"] == set()
    assert filled.broken_keys() == []


@pytest.mark.parametrize("turn", range(12))
def test_a_deleted_models_metric_logged_at_any_moment_goes_along(filled: Filled, turn: int) -> None:
    """By a key without an index, that was looked through before."""
    worlds, targets = worlds_of(filled, 4)

    def log() -> None:
        with closing(sqlite3.connect(filled.path)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = ON")
            # As MLflow does: to a run that is not there any more nothing can be logged.
            if connection.execute("SELECT 1 FROM runs WHERE run_uuid = ?", (last.run,)).fetchone():
                filled.add("logged_model_metrics", model_metric(last.run, worlds[0], 7), worlds[0])

    last = worlds[-1]
    outcomes = remove_rows(filled.database, targets, pace=ONE_BY_ONE, keep_going=at_turn(turn, log))
    assert {item.result for item in outcomes} == {Result.REMOVED}
    assert filled.content()["logged_model_metrics"] == set()
    assert filled.broken_keys() == []


@pytest.mark.parametrize("turn", range(12))
def test_a_living_models_metric_logged_at_any_moment_keeps_its_run(
    filled: Filled, turn: int
) -> None:
    """Or else it was too late, and the run is gone."""
    worlds, targets = worlds_of(filled, 4)
    living, last = filled.world(90, "active"), worlds[-1]
    logged: list[str] = []

    def log() -> None:
        if filled.file.execute("SELECT 1 FROM runs WHERE run_uuid = ?", last.run):
            filled.add("logged_model_metrics", model_metric(last.run, living, 7), living)
            logged.append(last.run)

    outcomes = remove_rows(filled.database, targets, pace=ONE_BY_ONE, keep_going=at_turn(turn, log))
    assert [item.target.id for item in outcomes if item.result is Result.KEPT] == logged
    kept = filled.file.execute("SELECT DISTINCT run_id FROM logged_model_metrics ORDER BY run_id")
    assert kept == [(run,) for run in sorted([*logged, living.run])]
    assert filled.broken_keys() == []


def test_a_last_row_that_gave_its_number_to_another_hides_nothing(filled: Filled) -> None:
    """SQLite gives the number of a last row that was deleted to the next one."""
    worlds, targets = worlds_of(filled, 4)
    extra = filled.world(90, "deleted")
    outcomes = remove_rows(filled.database, targets, pace=ONE_BY_ONE)
    next(outcomes)
    filled.file.execute("DELETE FROM logged_model_metrics WHERE run_id = ?", extra.run)
    filled.add("logged_model_metrics", model_metric(worlds[-1].run, extra, 7), extra)
    assert {item.result for item in outcomes} == {Result.REMOVED}
    assert filled.content()["logged_model_metrics"] == set()
    assert filled.broken_keys() == []


def test_a_last_row_that_gave_its_number_to_a_living_one_hides_nothing(filled: Filled) -> None:
    """That one keeps its run as any other does."""
    _, targets = worlds_of(filled, 4)
    living, extra = filled.world(89, "active"), filled.world(90, "deleted")
    outcomes = remove_rows(filled.database, targets, pace=ONE_BY_ONE)
    next(outcomes)
    filled.file.execute("DELETE FROM logged_model_metrics WHERE run_id = ?", extra.run)
    filled.add("logged_model_metrics", model_metric(targets[-1].id, living, 7), living)
    kept = [item.target for item in outcomes if item.result is Result.KEPT]
    assert kept == [targets[-1]]


def test_an_older_row_that_was_given_away_is_the_others(filled: Filled) -> None:
    """What was noted of a row is true no more."""
    _, targets = worlds_of(filled, 4)
    other = filled.world(89, "deleted")
    outcomes = remove_rows(filled.database, targets, pace=ONE_BY_ONE)
    next(outcomes)
    filled.file.execute(
        "UPDATE logged_model_metrics SET run_id = ? WHERE run_id = ?", other.run, targets[-1].id
    )
    assert {item.result for item in outcomes} == {Result.REMOVED}
    left = filled.file.execute("SELECT run_id FROM logged_model_metrics")
    assert left == [(other.run,)] * 2


def test_a_run_restored_meanwhile_keeps_its_rows_in_the_end(filled: Filled) -> None:
    """The last look is for what is gone only."""
    worlds, targets = worlds_of(filled, 4)
    outcomes = remove_rows(filled.database, targets, pace=ONE_BY_ONE)
    next(outcomes)
    last = worlds[-1]
    filled.file.execute("UPDATE runs SET lifecycle_stage = 'active' WHERE run_uuid = ?", last.run)
    assert [item.target for item in outcomes if item.result is Result.KEPT] == [targets[-1]]
    assert filled.file.execute("SELECT run_id FROM logged_model_metrics") == [(last.run,)]


def test_an_older_row_that_was_given_to_a_run_goes_in_the_end(filled: Filled) -> None:
    """A change in place shows in no new row."""
    worlds, targets = worlds_of(filled, 4)
    extra = filled.world(90, "deleted")
    filled.world(91, "deleted")
    outcomes = remove_rows(filled.database, targets, pace=ONE_BY_ONE)
    next(outcomes)
    filled.file.execute(
        "UPDATE logged_model_metrics SET run_id = ? WHERE run_id = ?", worlds[-1].run, extra.run
    )
    assert {item.result for item in outcomes} == {Result.REMOVED}
    assert len(filled.content()["logged_model_metrics"]) == 1
    assert filled.broken_keys() == []


def test_an_endpoint_that_was_given_to_an_experiment_loses_it_in_the_end(filled: Filled) -> None:
    """It stays, with no experiment."""
    worlds, _ = worlds_of(filled, 3)
    living = filled.world(90, "active")
    rest = [target for world in worlds for target in filled.targets(world)]
    first = [target for target in rest if target.kind is not EXPERIMENT]
    list(remove_rows(filled.database, first))
    experiments = [target for target in rest if target.kind is EXPERIMENT]
    outcomes = remove_rows(filled.database, experiments, pace=ONE_BY_ONE)
    next(outcomes)
    query = "UPDATE endpoints SET experiment_id = ? WHERE experiment_id = ?"
    filled.file.execute(query, worlds[-1].experiment, living.experiment)
    assert {item.result for item in outcomes} == {Result.REMOVED}
    assert filled.file.execute("SELECT DISTINCT experiment_id FROM endpoints") == [(None,)]
    assert filled.broken_keys() == []


@pytest.mark.parametrize("name", ["runs", "logged_models", "trace_info"])
@pytest.mark.parametrize("turn", range(0, 40, 6))
def test_what_came_into_an_experiment_meanwhile_keeps_it(
    filled: Filled, name: str, turn: int
) -> None:
    """At any moment before its turn."""
    worlds, _ = worlds_of(filled, 2)
    rest = [target for world in worlds for target in filled.targets(world)]
    list(remove_rows(filled.database, [item for item in rest if item.kind is not EXPERIMENT]))
    last = worlds[-1]
    came: list[str] = []

    def come() -> None:
        if filled.content()["experiments"] >= before:
            key = {"runs": "run_uuid", "logged_models": "model_id", "trace_info": "request_id"}
            filled.add(
                name,
                {key[name]: "new", "lifecycle_stage": "active"}
                if name != "trace_info"
                else {key[name]: "new"},
                last,
            )
            came.append(name)

    before = {row for row in filled.content()["experiments"] if last.experiment in row}
    experiments = [item for item in rest if item.kind is EXPERIMENT]
    outcomes = list(
        remove_rows(filled.database, experiments, pace=ONE_BY_ONE, keep_going=at_turn(turn, come))
    )
    assert sum(item.result is Result.KEPT for item in outcomes) == len(came)
    assert len(filled.content()[name]) == len(came)
    assert filled.broken_keys() == []


@pytest.mark.parametrize("seed", range(8))
def test_whatever_others_write_nothing_dangles(filled: Filled, seed: int) -> None:
    """A client with checked keys inserts, moves and deletes between any two transactions."""
    worlds, _ = worlds_of(filled, 5)
    living = filled.world(90, "active")
    targets = [target for world in worlds for target in filled.targets(world)]
    chance = random.Random(seed)
    with closing(sqlite3.connect(filled.path, timeout=30)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        writes = _writes(connection, [*worlds, living], chance)
        outcomes = list(
            remove_rows(
                filled.database,
                targets,
                pace=ONE_BY_ONE,
                keep_going=lambda: next(writes) is not None,
            )
        )
    assert filled.broken_keys() == []
    for item in outcomes:
        assert item.result is not Result.KEPT or item.reason
    runs = {run for (run,) in filled.file.execute("SELECT run_uuid FROM runs")}
    for (run,) in filled.file.execute("SELECT run_id FROM logged_model_metrics"):
        assert run in runs


def _writes(
    connection: sqlite3.Connection, worlds: list[World], chance: random.Random
) -> Iterator[int]:
    statements = (
        "INSERT OR IGNORE INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
        "VALUES ('m', 1, {n}, '{run}', 0, 0)",
        "INSERT OR IGNORE INTO logged_model_metrics (model_id, metric_name, metric_timestamp_ms, "
        "metric_step, metric_value, experiment_id, run_id) "
        "VALUES ('{model}', 'm', {n}, {n}, 1, {experiment}, '{run}')",
        "UPDATE OR IGNORE logged_model_metrics SET run_id = '{run}' WHERE rowid = {small}",
        "DELETE FROM logged_model_metrics WHERE rowid = (SELECT max(rowid) FROM "
        "logged_model_metrics)",
        "UPDATE endpoints SET experiment_id = {experiment} WHERE rowid = {small}",
        "UPDATE issues SET source_run_id = '{run}' WHERE rowid = {small}",
    )
    for n in range(1_000_000):
        one, other = chance.choice(worlds), chance.choice(worlds)
        values = {
            "n": n,
            "run": one.run,
            "model": other.model,
            "experiment": other.experiment,
            "small": chance.randrange(8),
        }
        try:
            with connection:
                connection.execute(chance.choice(statements).format(**values))
        except sqlite3.IntegrityError:
            pass  # what it names is gone
        yield n
