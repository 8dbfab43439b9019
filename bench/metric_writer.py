"""A training script's load on the database, a program of its own: one metric after another.

    metric_writer.py DATABASE SECONDS RUN_ID

Says "ready", waits for a line on stdin, logs for SECONDS as fast as it can, and prints a JSON list:
how many milliseconds each metric took. The statements are those of MLflow's `log_metric`.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from contextlib import closing


def main(database: str, seconds: str, run_id: str) -> None:
    """Log metrics for a while."""
    took_ms: list[float] = []
    with closing(sqlite3.connect(database, timeout=20.0)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        print("ready", flush=True)
        sys.stdin.readline()
        ends = time.perf_counter() + float(seconds)
        begun = time.perf_counter()
        while begun < ends:
            log_metric(connection, run_id, len(took_ms))
            now = time.perf_counter()
            took_ms.append((now - begun) * 1000)
            begun = now
    print(json.dumps(took_ms), flush=True)


def log_metric(connection: sqlite3.Connection, run_id: str, step: int) -> None:
    """Look at the run, add a value, and make it the latest one, in one transaction."""
    at_ms = time.time_ns() // 1_000_000
    connection.execute("SELECT * FROM runs WHERE run_uuid = ?", (run_id,)).fetchone()
    with connection:
        connection.execute(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
            "VALUES ('loss', ?, ?, ?, ?, 0)",
            (1 / (step + 1), at_ms, run_id, step),
        )
        connection.execute(
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
            "VALUES ('loss', ?, ?, ?, 0, ?) ON CONFLICT (key, run_uuid) DO UPDATE SET "
            "value = excluded.value, timestamp = excluded.timestamp, step = excluded.step",
            (1 / (step + 1), at_ms, step, run_id),
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
