"""Removes deleted runs with as little as can be done, a program of its own.

    gc_floor.py DATABASE DIRECTORY

The floor of `row_remover.py`, and `rm -rf` for the runs' directories.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing

from row_remover import floor


def main(database: str, directory: str) -> None:
    """Remove rows, then files."""
    with closing(sqlite3.connect(database, timeout=20.0)) as connection:
        rows = connection.execute("SELECT run_uuid FROM runs WHERE lifecycle_stage = 'deleted'")
        ids = [row[0] for row in rows]
    floor(database)
    subprocess.run(
        ["xargs", "rm", "-rf", "--"],
        input="\n".join(f"{directory}/{id_}" for id_ in ids).encode(),
        check=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
