"""Logs metrics as a training script does, a program of its own, until it is told to stop.

    row_writer.py DATABASE RUN_ID [PAUSE_S]

Says "ready", logs with pauses (or as fast as it can) until a line comes on stdin, and prints a JSON
list: how many milliseconds each metric took.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from contextlib import closing

from metric_writer import log_metric


def main(database: str, run_id: str, pause_s: str = "0") -> None:
    """Log metrics."""
    told = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), told.set()), daemon=True).start()
    took_ms: list[float] = []
    with closing(sqlite3.connect(database, timeout=20.0)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        print("ready", flush=True)
        while not told.is_set():
            begun = time.perf_counter()
            log_metric(connection, run_id, len(took_ms))
            took_ms.append((time.perf_counter() - begun) * 1000)
            time.sleep(float(pause_s))
    print(json.dumps(took_ms), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
