"""The competitor, a program of its own: what anyone would write first.

    simple_loop.py DATABASE ARTIFACT_ROOT READY_FILE

Every two seconds: has the database file's modification time changed? Then read all active runs and
remove the artifact directories of those that left.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

INTERVAL_S = 2.0


def main(database: str, root: str, ready_file: str) -> None:
    """Watch for ever."""
    seen = os.path.getmtime(database)
    known = active_runs(database)
    Path(ready_file).touch()
    while True:
        time.sleep(INTERVAL_S)
        modified = os.path.getmtime(database)
        if modified == seen:
            continue
        seen = modified
        active = active_runs(database)
        for run_id in known.keys() - active.keys():
            place = known[run_id].removeprefix("mlflow-artifacts:/")
            shutil.rmtree(os.path.join(root, place), ignore_errors=True)
        known = active


def active_runs(database: str) -> dict[str, str]:
    """Read every active run and its artifact URI."""
    with closing(sqlite3.connect(database, timeout=20.0)) as connection:
        query = "SELECT run_uuid, artifact_uri FROM runs WHERE lifecycle_stage = 'active'"
        return dict(connection.execute(query).fetchall())


if __name__ == "__main__":
    main(*sys.argv[1:])
