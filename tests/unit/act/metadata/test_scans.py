"""However many go: tables without a helpful index are gone through once, memory stays small."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_cleanup.act.metadata import Pace, Result, Target, TargetKind, remove_rows
from mlflow_cleanup.act.metadata.sqlite import writing
from tests.kit.rows import Filled
from tests.kit.tracking_db import run_id

ONE_BY_ONE = Pace(hold_s=1e-6, rest_s=0.0, quiet_hold_s=1e-6)
RUN, EXPERIMENT = TargetKind.RUN, TargetKind.EXPERIMENT
ROWS = 20_000
INSTRUCTIONS_A_STEP = 100


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    """A database of SQLite, whose own way this is."""
    return Filled(tmp_path / "mlflow.db")


class Work:
    """Counts the instructions of SQLite's machine, which are the same whenever it is measured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.instructions = 0
        original = writing.connect

        def counted(path: str) -> sqlite3.Connection:
            connection = original(path)
            connection.set_progress_handler(self._count, INSTRUCTIONS_A_STEP)
            return connection

        monkeypatch.setattr(writing, "connect", counted)

    def _count(self) -> int:
        self.instructions += INSTRUCTIONS_A_STEP
        return 0


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Count what is done in the tracking database."""
    return Work(monkeypatch)


def fill_runs(filled: Filled, count: int) -> list[Target]:
    """Add many deleted runs in experiments of their own, beside a large table without an index."""
    owner = filled.world(1, "active")
    with filled.file.connection() as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO logged_model_metrics (model_id, metric_name, metric_timestamp_ms, "
            "metric_step, metric_value, experiment_id, run_id) SELECT ?, 'm', i, i, 1, ?, ? FROM n",
            (ROWS + 99, owner.model, owner.experiment, owner.run),
        )
        connection.executemany(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage, last_update_time) "
            "VALUES (?, ?, 'deleted', 5)",
            [(1_000 + n, f"e{n}") for n in range(count)],
        )
        connection.executemany(
            "INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage, deleted_time) "
            "VALUES (?, ?, 'deleted', 5)",
            [(run_id(1_000 + n), 1_000 + n) for n in range(count)],
        )
    return [Target(RUN, run_id(1_000 + n), 5) for n in range(count)]


def cost(filled: Filled, work: Work, targets: list[Target]) -> int:
    """Remove one a transaction, and return the instructions that took."""
    before = work.instructions
    outcomes = list(remove_rows(filled.database, targets, pace=ONE_BY_ONE))
    assert {item.result for item in outcomes} == {Result.REMOVED}
    return work.instructions - before


def test_one_more_run_costs_no_scan(filled: Filled, work: Work) -> None:
    """`logged_model_metrics.run_id` has no index: one scan for a job, not for a run."""
    targets = fill_runs(filled, 110)
    few, many = cost(filled, work, targets[:10]), cost(filled, work, targets[10:])
    assert few > ROWS  # it was looked through
    assert (many - few) / 90 < ROWS / 10


def test_one_more_experiment_costs_no_scan(filled: Filled, work: Work) -> None:
    """`runs.experiment_id` and four more have no index either."""
    targets = fill_runs(filled, 110)
    list(remove_rows(filled.database, targets))
    experiments = [Target(EXPERIMENT, str(1_000 + n), 5) for n in range(110)]
    few, many = cost(filled, work, experiments[:10]), cost(filled, work, experiments[10:])
    assert few > ROWS
    assert (many - few) / 90 < ROWS / 10


def test_what_others_write_costs_one_more_look(filled: Filled, work: Work) -> None:
    """In the end, as a change in place shows in no new row; in between only what is new counts."""
    targets = fill_runs(filled, 100)
    alone = cost(filled, work, targets[:50])
    count = iter(range(1_000))

    def write() -> bool:
        # The same words again would change nothing.
        filled.file.execute("UPDATE runs SET name = ? WHERE run_uuid = ?", next(count), run_id(1))
        return True

    before = work.instructions
    list(remove_rows(filled.database, targets[50:], pace=ONE_BY_ONE, keep_going=write))
    assert 1.5 * alone < work.instructions - before < 3 * alone


def test_memory_does_not_grow_with_what_is_named(filled: Filled) -> None:
    """Targets come from a generator and outcomes go to one; neither is gathered."""

    def many(count: int) -> Iterator[Target]:
        return (Target(RUN, run_id(n), n) for n in range(count))

    def peak_bytes(count: int) -> int:
        tracemalloc.start()
        try:
            assert sum(1 for _ in remove_rows(filled.database, many(count))) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_bytes(100)  # what is loaded once
    assert peak_bytes(20_000) - peak_bytes(4_000) < 1_000_000
