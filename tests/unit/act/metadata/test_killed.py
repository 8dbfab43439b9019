"""Killed at any statement: an entity is all there or all gone, and the next call ends the job."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_cleanup.act.metadata import Result, TargetKind, remove_rows
from tests.kit.rows import Filled, difference

REMOVE = """
import os, signal, sys
from mlflow_cleanup.act.metadata import Target, TargetKind, remove_rows
from mlflow_cleanup.act.metadata.sqlite import writing
from mlflow_cleanup.model.database import Database

database, until, *runs = sys.argv[1:]
count, connect = int(until), writing.connect

def trace(statement):
    global count
    is_ours = "mlflow_cleanup" in statement  # a table of targets
    if statement.startswith(("DELETE FROM", "UPDATE", "COMMIT")) and not is_ours:
        count -= 1
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL)

def traced(path):
    connection = connect(path)
    connection.set_trace_callback(trace)
    return connection

writing.connect = traced
targets = [Target(TargetKind.RUN, run, 5000) for run in runs]
for outcome in remove_rows(Database.of_file(database), targets):
    print(outcome.target.id, flush=True)
"""
RUN = TargetKind.RUN

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal"),
]


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    """A database of SQLite, whose own way this is."""
    return Filled(tmp_path / "mlflow.db")


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("statements", [1, 2, 9, 14, 15, 16, 30, 59, 60, 61])
def test_killed_in_the_middle(filled: Filled, journal: str, statements: int) -> None:
    """What was told is gone; of the rest each run has all of its rows or none."""
    filled.file.execute(f"PRAGMA journal_mode = {journal}")
    worlds = [filled.world(number, "deleted") for number in range(2, 8)]
    before = filled.content()
    killed = subprocess.run(
        [sys.executable, "-c", REMOVE, filled.path, str(statements), *(w.run for w in worlds)],
        capture_output=True,
        check=False,
        text=True,
    )
    assert killed.stderr == ""
    assert killed.returncode == -signal.SIGKILL

    assert filled.broken_keys() == []
    left = {run for (run,) in filled.file.execute("SELECT run_uuid FROM runs")}
    assert left & set(killed.stdout.split()) == set()
    gone = difference(before, filled.content())
    for name, rows in before.items():
        for row in rows:
            named = {world.run for world in worlds} & set(row)
            if named <= left:
                assert row not in gone.get(name, ()), name

    targets = [filled.target(RUN, world) for world in worlds]
    results = [item.result for item in remove_rows(filled.database, targets)]
    assert results.count(Result.REMOVED) == len(left)
    assert filled.content()["metrics"] == set()
    assert sorted(path.name for path in Path(filled.path).parent.iterdir()) == ["mlflow.db"]
