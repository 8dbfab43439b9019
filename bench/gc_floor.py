"""Removes deleted runs with as little as can be done, a program of its own.

    gc_floor.py DATABASE DIRECTORY

One delete for each table in one transaction, and `rm -rf` for the runs' directories.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing

_TABLES = ("metrics", "latest_metrics", "params", "tags", "runs")


def main(database: str, directory: str) -> None:
    """Remove rows, then files."""
    with closing(sqlite3.connect(database, timeout=20.0)) as connection, connection:
        connection.execute("CREATE TEMP TABLE gone (id VARCHAR PRIMARY KEY)")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "INSERT INTO gone SELECT run_uuid FROM runs WHERE lifecycle_stage = 'deleted'"
        )
        for table in _TABLES:
            connection.execute(f"DELETE FROM {table} WHERE run_uuid IN (SELECT id FROM gone)")
        ids = [row[0] for row in connection.execute("SELECT id FROM gone")]
    subprocess.run(
        ["xargs", "rm", "-rf", "--"],
        input="\n".join(f"{directory}/{id_}" for id_ in ids).encode(),
        check=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
