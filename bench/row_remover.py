"""Removes every deleted run's rows, a program of its own.

    row_remover.py HOW DATABASE

HOW is `ours`, `unpaced` (ours without regard for others), `floor` (plain SQL, one transaction) or
`mlflow` (the method that `mlflow gc` calls for each run). Prints how many seconds the removal took,
without what it takes to start.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing

_CHILDREN = ("metrics", "latest_metrics", "params", "tags")


def ours(database: str) -> float:
    """Remove them with mlflow-cleanup."""
    from mlflow_cleanup.act.metadata import remove_rows  # noqa: PLC0415 - in its own time

    begun = time.perf_counter()
    _expect_all(remove_rows(database, _targets(database)))
    return time.perf_counter() - begun


def unpaced(database: str) -> float:
    """Remove them with mlflow-cleanup, in long batches without pauses."""
    from mlflow_cleanup.act.metadata import UNPACED, remove_rows  # noqa: PLC0415 - in its own time

    begun = time.perf_counter()
    _expect_all(remove_rows(database, _targets(database), pace=UNPACED))
    return time.perf_counter() - begun


def floor(database: str) -> float:
    """Remove them with as little as can be done: no check, no other table, no regard."""
    begun = time.perf_counter()
    with closing(sqlite3.connect(database, timeout=20.0)) as connection, connection:
        connection.execute("CREATE TEMP TABLE gone (id VARCHAR PRIMARY KEY)")
        _begin(connection)
        connection.execute(
            "INSERT INTO gone SELECT run_uuid FROM runs WHERE lifecycle_stage = 'deleted'"
        )
        for table in (*_CHILDREN, "runs"):
            connection.execute(f"DELETE FROM {table} WHERE run_uuid IN (SELECT id FROM gone)")
    return time.perf_counter() - begun


def _begin(connection: sqlite3.Connection) -> None:
    """Ask often: beside a writer without pauses SQLite's own waiting may take minutes."""
    connection.execute("PRAGMA busy_timeout = 0")
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            time.sleep(0.001)
        else:
            break
    connection.execute("PRAGMA busy_timeout = 20000")


def mlflow(database: str) -> float:
    """Remove them as `mlflow gc` does, one by one, without its look at their artifacts."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415 - likewise

    store = SqlAlchemyStore(f"sqlite:///{database}", "mlflow-artifacts:/")
    begun = time.perf_counter()
    for run_id in store._get_deleted_runs():
        store._hard_delete_run(run_id)
    return time.perf_counter() - begun


HOWS: dict[str, Callable[[str], float]] = {
    "ours": ours,
    "unpaced": unpaced,
    "floor": floor,
    "mlflow": mlflow,
}


def _targets(database: str) -> list[object]:
    from mlflow_cleanup.act.metadata import Target, TargetKind  # noqa: PLC0415 - likewise

    with closing(sqlite3.connect(database, timeout=20.0)) as connection:
        rows = connection.execute(
            "SELECT run_uuid, deleted_time FROM runs WHERE lifecycle_stage = 'deleted'"
        ).fetchall()
    return [Target(TargetKind.RUN, run_id, deleted_ms) for run_id, deleted_ms in rows]


def _expect_all(outcomes: object) -> None:
    kept = [outcome for outcome in outcomes if outcome.result.name != "REMOVED"]
    if kept:
        raise SystemExit(f"not removed: {kept[:3]}")


if __name__ == "__main__":
    print(HOWS[sys.argv[1]](sys.argv[2]), flush=True)
