"""Works on the rows of a database on a server, a program of its own.

    server_row_worker.py ours|floor|mlflow URL
    server_row_worker.py write URL
    server_row_worker.py sleep SECONDS

The first three remove every deleted run and print how many seconds that took: with mlflow-cleanup,
with plain SQL in one transaction, or one by one as `mlflow gc` does. `write` logs metrics to run 0
as MLflow does until a line comes on stdin, and prints a JSON list: milliseconds a metric.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, text

_CHILDREN = ("metrics", "latest_metrics", "params", "tags")
_RUN = "0" * 32
_PAUSE_S = 0.005


def ours(url: str) -> float:
    """Remove them with mlflow-cleanup."""
    from mlflow_cleanup.act.metadata import (  # noqa: PLC0415 - in its own time
        Target,
        TargetKind,
        remove_rows,
    )

    with _engine(url).connect() as connection:
        rows = connection.execute(
            text("SELECT run_uuid, deleted_time FROM runs WHERE lifecycle_stage = 'deleted'")
        ).all()
    targets = [Target(TargetKind.RUN, run_id, deleted_ms) for run_id, deleted_ms in rows]
    begun = time.perf_counter()
    kept = [one for one in remove_rows(_database(url), targets) if one.result.name != "REMOVED"]
    if kept:
        raise SystemExit(f"not removed: {kept[:3]}")
    return time.perf_counter() - begun


def floor(url: str) -> float:
    """Remove them with as little as can be done: no check, no other table, no regard."""
    begun = time.perf_counter()
    with _engine(url).begin() as connection:
        gone = "(SELECT run_uuid FROM runs WHERE lifecycle_stage = 'deleted')"
        for table in _CHILDREN:
            connection.execute(text(f"DELETE FROM {table} WHERE run_uuid IN {gone}"))
        connection.execute(text("DELETE FROM runs WHERE lifecycle_stage = 'deleted'"))
    return time.perf_counter() - begun


def mlflow(url: str) -> float:
    """Remove them one by one, without a look at their artifacts."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415 - likewise

    store = SqlAlchemyStore(url.replace("postgresql:", "postgresql+psycopg:"), "/nowhere")
    begun = time.perf_counter()
    for run_id in store._get_deleted_runs():
        store._hard_delete_run(run_id)
    return time.perf_counter() - begun


def write(url: str) -> str:
    """Log metrics: look at the run, add a value, and make it the latest one, in one transaction."""
    told = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), told.set()), daemon=True).start()
    is_mysql = url.startswith("mysql")
    key, no = ("`key`", "0") if is_mysql else ('"key"', "false")
    took_ms: list[float] = []
    with _engine(url).connect() as connection:
        print("ready", flush=True)
        while not told.is_set():
            step, begun = len(took_ms), time.perf_counter()
            values = {"run": _RUN, "step": step, "at": time.time_ns() // 1_000_000}
            _execute(connection, "SELECT * FROM runs WHERE run_uuid = :run", values)
            _execute(
                connection,
                f"INSERT INTO metrics ({key}, value, timestamp, run_uuid, step, is_nan) "
                f"VALUES ('loss', 0.5, :at, :run, :step, {no})",
                values,
            )
            _execute(
                connection,
                "UPDATE latest_metrics SET timestamp = :at, step = :step WHERE run_uuid = :run "
                f"AND {key} = 'loss'",
                values,
            )
            connection.commit()
            took_ms.append((time.perf_counter() - begun) * 1000)
            time.sleep(_PAUSE_S)
    return json.dumps(took_ms)


def sleep(seconds: str) -> str:
    """Do nothing for a while."""
    time.sleep(float(seconds))
    return ""


def _execute(connection: Any, statement: str, values: dict[str, Any]) -> None:  # noqa: ANN401
    connection.execute(text(statement), values)


def _database(url: str) -> Any:  # noqa: ANN401 - imported when it is needed
    from mlflow_cleanup.config import database_of  # noqa: PLC0415 - in its own time

    return database_of(url, "/")


def _engine(url: str) -> Engine:
    from mlflow_cleanup.backends.servers import engine_of  # noqa: PLC0415 - in its own time

    return engine_of(_database(url))


VERBS: dict[str, Callable[[str], object]] = {
    "ours": ours,
    "floor": floor,
    "mlflow": mlflow,
    "write": write,
    "sleep": sleep,
}

if __name__ == "__main__":
    print(VERBS[sys.argv[1]](sys.argv[2]), flush=True)
