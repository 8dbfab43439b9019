from __future__ import annotations

import random
import sqlite3
from datetime import datetime, timedelta, timezone

import pytest

from tests.kit.programs import until
from tests.kit.rest import Tracking
from tests.kit.server import Site, tree_of

pytestmark = pytest.mark.e2e

SMALL = {"a.txt": b"a" * 10, "plots/b.txt": b"b" * 100, "plots/deep/c.txt": b"c" * 1_000}

ODD = {
    "model/MLmodel": b"flavors: {}\n",
    "model/data/some/levels/down/weights.bin": random.Random(7).randbytes(100_000),
    "empty.txt": b"",
    "with spaces/äöü – 模型 🐍.txt": "grüße".encode(),
    "no newline": b"\r\n\x00\xff",
}


def test_deleted_run_comes_back_byte_for_byte_with_restore_in_mlflow(served: Site) -> None:
    """Restore in MLflow brings back what delete took away: nested, empty, binary, oddly named."""
    mlflow = served.tracking
    run = mlflow.log_run(ODD)
    (served.place_of(run) / "artifacts" / "empty directory").mkdir()
    before = served.tree(run)

    mlflow.delete(run)
    until(lambda: served.events(run) == ["quarantined"], "the run is in the trash")
    assert not served.place_of(run).exists()
    mlflow.restore(run)
    until(lambda: served.events(run) == ["quarantined", "restored"], "the run is back")

    assert served.tree(run) == before
    assert {name: mlflow.download(run, name) for name in ODD} == ODD
    assert run.id not in {item["run_id"] for item in served.held()}


def test_deleted_run_leaves_nothing_but_the_trash_under_the_root(served: Site) -> None:
    """The run's whole directory goes, its experiment's stays, its bytes are in the trash."""
    mlflow = served.tracking
    experiment = mlflow.create_experiment()
    run, other = mlflow.log_run(SMALL, experiment), mlflow.log_run(SMALL, experiment)
    before = served.tree(run)

    mlflow.delete(run)
    until(lambda: served.events(run) == ["quarantined"], "the run is in the trash")

    assert [path.name for path in (served.root / experiment).iterdir()] == [other.id]
    assert served.tree(other) == before
    (item,) = (item for item in served.held() if item["run_id"] == run.id)
    assert tree_of(served.root / ".mlflow-cleanup" / "trash" / item["id"] / "content") == before


def test_one_line_tells_what_happened_and_how_to_undo_it(served: Site) -> None:
    """Exactly one line names the run, its size, its purge, and the command to restore it."""
    (program,) = served.programs
    run = served.tracking.log_run(SMALL)

    served.tracking.delete(run)
    line = program.line(run.id)
    (item,) = (item for item in served.held() if item["run_id"] == run.id)
    due = datetime.fromisoformat(item["purge_at"])

    assert program.ours(run.id) == [line]
    assert f'"{run.name}"' in line
    assert "3 files (1.1 kB)" in line
    assert "Restore in MLflow" in line
    assert f"`mlflow-cleanup restore {run.id}`" in line
    assert f"until {due.astimezone():%Y-%m-%d %H:%M}" in line
    in_a_week = datetime.now(timezone.utc) + timedelta(days=7)
    assert abs(due - in_a_week) < timedelta(minutes=2)


def test_files_are_purged_when_their_retention_has_passed(site: Site) -> None:
    """After the retention, and not before, the bytes are gone for good and counted as freed."""
    program = site.serve("--retention", "2s")
    run = site.tracking.log_run(SMALL)

    site.tracking.delete(run)
    program.line(run.id, "purged", "3 files (1.1 kB) freed")

    assert site.trash() == []
    assert not site.place_of(run).exists()
    assert site.status()["freed"] == {"files": 3, "bytes": 1_110}
    quarantined, purged = site.history(run)
    assert (quarantined["event"], purged["event"]) == ("quarantined", "purged")
    assert _seconds_between(quarantined["at"], purged["at"]) >= 2
    assert "freed so far 1.1 kB in 3 file(s)" in site.say("status").out
    assert "purged, 3 files (1.1 kB) freed" in site.say("history").out


def test_retention_zero_purges_at_once_what_has_ended(site: Site) -> None:
    """With `--retention 0` a finished run is gone at once; one that may still write is kept."""
    program = site.serve("--retention", "0")
    mlflow = site.tracking
    finished, running = mlflow.log_run(SMALL), mlflow.create_run()
    mlflow.upload(running, "a.txt", b"a")

    mlflow.delete(running)
    mlflow.delete(finished)
    program.line(finished.id, "purged")
    program.line(running.id, "kept", "may still be writing")

    assert not site.place_of(finished).exists()
    assert site.trash() == []
    assert site.tree(running) == {"a.txt": b"a"}


def test_first_start_in_an_empty_directory_is_quiet_and_misses_nothing(bare_site: Site) -> None:
    """While MLflow makes its database nothing alarming is said, and the first delete is handled."""
    site = bare_site
    program = site.serve()
    run = site.tracking.log_run(SMALL)

    site.tracking.delete(run)
    until(lambda: not site.place_of(run).exists(), "the run's directory is gone")
    program.line(run.id, "moved to the trash")

    told = [line.partition(" | ")[2] for line in program.ours()]
    assert [line.partition(" ")[0] for line in told] == ["watching", "run"], told


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_journal_mode_of_the_database_makes_no_difference(site: Site, mode: str) -> None:
    """Deletes and restores are seen within moments in both journal modes, which stay as set."""
    assert _journal_mode(site, mode) == mode
    program = site.serve()
    run = site.tracking.log_run(SMALL)
    before = site.tree(run)

    site.tracking.delete(run)
    program.line(run.id, "moved to the trash")
    site.tracking.restore(run)
    program.line(run.id, "are back")

    assert site.tree(run) == before
    assert program.stop() == 0
    assert _journal_mode(site) == mode
    assert {path.name for path in site.directory.glob("mlflow.db*")} == {"mlflow.db"}


def test_deletes_of_many_runs_at_once_are_all_handled(served: Site) -> None:
    """Every one of fifty runs, deleted one right after the other, is quarantined with its bytes."""
    mlflow = served.tracking
    runs = [_quick_run(mlflow, number) for number in range(50)]

    for run_id in runs:
        mlflow.call("POST", "/api/2.0/mlflow/runs/delete", {"run_id": run_id})
    until(lambda: set(runs) <= {item["run_id"] for item in served.held()}, "all are in the trash")

    # On a busy machine they are measured after they were all moved, as moving is urgent.
    until(lambda: _sizes(served, runs) == list(range(50)), "each is there with its size")


def _quick_run(mlflow: Tracking, size: int) -> str:
    run = mlflow.create_run()
    mlflow.upload(run, "file", b"x" * size)
    return run.id


def _sizes(site: Site, runs: list[str]) -> list[int | None]:
    sizes = {item["run_id"]: item["bytes"] for item in site.held()}
    return [sizes[run_id] for run_id in runs]


def _seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def _journal_mode(site: Site, new: str | None = None) -> str:
    """Return the tracking database's journal mode, after setting it where told to."""
    connection = sqlite3.connect(site.database, timeout=30)
    try:
        pragma = f"PRAGMA journal_mode={new}" if new else "PRAGMA journal_mode"
        return str(connection.execute(pragma).fetchone()[0])
    finally:
        connection.close()
