"""`gc` beside a running monitor, and the monitor's own removal of rows (`--purge-metadata`)."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mlflow_cleanup import Event, EventKind
from mlflow_cleanup.cli.app import app
from mlflow_cleanup.report.status import history_values, trash_values
from tests.kit.programs import until
from tests.kit.site import Site
from tests.kit.tracking_db import run_id

WEEK, AT_ONCE, SOON = timedelta(days=7), timedelta(0), timedelta(seconds=0.5)

MORTAL = """
import os, signal, sys, threading
from dataclasses import replace
from datetime import timedelta
from mlflow_cleanup import MLflowDatabaseMonitor, EventKind

database, root, kind = sys.argv[1:]

def on_event(event):
    if event.kind.value == kind:
        os.kill(os.getpid(), signal.SIGKILL)

monitor = MLflowDatabaseMonitor(
    f"sqlite:///{database}", artifact_roots=[root], retention="7d", on_event=on_event
)
monitor.start()
print("started", flush=True)
threading.Event().wait()
"""


@pytest.fixture
def site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site with one large run in use, and the working directory there."""
    site.run(99, size=1_000_000)
    monkeypatch.chdir(site.home)
    return site


def gc(*words: str) -> Result:
    """Run the verb."""
    return CliRunner().invoke(app, ["gc", *words], prog_name="mlflow-cleanup")


def fates(said: Result) -> dict[str, str]:
    """Read what became of each entity."""
    assert said.stdout.startswith("{"), said.output
    return {one["id"]: one["fate"] for one in json.loads(said.stdout)["entities"]}


def rows(site: Site, *numbers: int) -> list[bool]:
    """Tell for each run whether its row is there."""
    query = "SELECT 1 FROM runs WHERE run_uuid = ?"
    return [bool(site.db.execute(query, run_id(number))) for number in numbers]


def delete(site: Site, *numbers: int, ago: timedelta = AT_ONCE) -> None:
    """Delete runs as MLflow does, some time ago."""
    then_ms = int((time.time() - ago.total_seconds()) * 1000)
    with site.db.connection() as connection:
        connection.executemany(
            "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = ? WHERE run_uuid = ?",
            [(then_ms, run_id(number)) for number in numbers],
        )


def history(site: Site) -> list[dict[str, Any]]:
    """Read the ledger's history."""
    return history_values(site.settings.state_dir, 1_000)


def model_at(site: Site, id_: str, stage: str = "deleted") -> Path:
    """Add a logged model with a file."""
    place = site.root / "0" / "models" / id_ / "artifacts"
    place.mkdir(parents=True)
    (place / "model").write_bytes(b"x" * 10)
    site.db.logged_model(id_, f"mlflow-artifacts:/0/models/{id_}/artifacts", stage=stage)
    return place


class TestBesideAMonitor:
    """The monitor has the lease, so it takes the files; the rows are gc's."""

    def test_everything_deleted_goes(self, site: Site) -> None:
        """At once, whatever the monitor's own retention is, models too."""
        places = [site.run(1, size=10), site.run(2, size=100)]
        model = model_at(site, "m-1")
        site.start(retention=WEEK)
        delete(site, 1, 2)

        said = gc("--json")

        assert said.exit_code == 0, said.output
        assert fates(said) == dict.fromkeys((run_id(1), run_id(2), "m-1"), "removed")
        assert rows(site, 1, 2, 99) == [False, False, True]
        assert [place.parent.exists() for place in (*places, model)] == [False] * 3
        assert trash_values(site.settings.state_dir) == []
        assert json.loads(said.stdout)["freed"]["bytes"] == 120
        assert [one["detail"] for one in history(site) if one["event"] == "collected"] == [
            "1 logged model, 2 runs"
        ]

    def test_retention_that_the_monitor_would_not_keep_is_refused(self, site: Site) -> None:
        """It purges what is in the trash by its own."""
        place = site.run(1)
        delete(site, 1)
        site.start(retention=AT_ONCE)

        said = gc("--retention", "7d")

        assert (said.exit_code, "sooner than --retention 7d" in said.stderr) == (2, True)
        assert place.exists()
        assert rows(site, 1) == [True]

    def test_trace_that_names_its_place_twice_goes(self, site: Site) -> None:
        """Under two tags."""
        site.db.experiment("7", "mlflow-artifacts:/7", stage="deleted")
        location = "mlflow-artifacts:/7/traces/tr-1/artifacts"
        site.db.trace("tr-1", location)
        site.db.execute("UPDATE trace_info SET experiment_id = 7")
        site.db.insert(
            "trace_tags", request_id="tr-1", key="mlflow.trace.archiveLocation", value=location
        )
        place = site.root / "7" / "traces" / "tr-1" / "artifacts"
        place.mkdir(parents=True)
        (place / "traces.json").write_bytes(b"{}")
        site.start(retention=WEEK)

        said = gc("--json")

        assert fates(said) == {"tr-1": "removed", "7": "removed"}
        assert not place.exists()

    def test_backlog_goes(self, site: Site) -> None:
        """Which the monitor leaves alone by itself."""
        place = site.run(1)
        delete(site, 1)
        site.start(retention=WEEK)
        assert place.exists()
        assert fates(gc("--json")) == {run_id(1): "removed"}
        assert not place.parent.exists()

    def test_retention_holds_rows(self, site: Site) -> None:
        """In the monitor's trash; a later gc with none removes both."""
        site.run(1)
        site.start(retention=WEEK)
        delete(site, 1)
        assert fates(gc("--json", "--retention", "1d")) == {run_id(1): "in the trash"}
        assert rows(site, 1) == [True]
        assert len(trash_values(site.settings.state_dir)) == 1
        assert fates(gc("--json")) == {run_id(1): "removed"}
        assert trash_values(site.settings.state_dir) == []

    def test_run_restored_meanwhile_stays(self, site: Site) -> None:
        """The monitor judges again, with what the database says by then."""
        place = site.run(1)
        monitor = site.start(retention=WEEK)
        delete(site, 1)
        gc("--json", "--retention", "1d")
        site.db.set_stage(run_id(1), "active")
        site.wait(EventKind.RESTORED, 1)
        assert fates(gc("--json")) == {}
        assert (place / "model").read_bytes() == b"x" * 10
        assert rows(site, 1) == [True]
        site.knows(monitor)

    def test_protected_run_stays(self, site: Site) -> None:
        """With its row, and with what protects it."""
        place = site.run(1)
        site.start(retention=WEEK)
        site.db.tag(run_id(1), "mlflow-cleanup.keep", "yes")
        delete(site, 1)
        assert fates(gc("--json")) == {run_id(1): "kept"}
        assert place.exists()
        assert rows(site, 1) == [True]

    def test_steps_of_several_roots_are_told_apart(self, site: Site) -> None:
        """The monitor takes root by root; each outcome is told of the run that it belongs to."""
        other = site.home / "other"
        for number in (1, 2, 3, 4):
            place = site.run(number)
            if number % 2 == 0:
                there = other / "0" / run_id(number) / "artifacts"
                there.parent.mkdir(parents=True)
                place.rename(there)
                site.db.execute(
                    "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?",
                    str(there),
                    run_id(number),
                )
        site.start(retention=WEEK, roots=(str(site.root), str(other)))
        site.db.tag(run_id(99), "x", "y")
        delete(site, 1, 2, 3, 4)
        said = gc("--json", "--artifact-root", str(other))
        assert fates(said) == {run_id(number): "removed" for number in (1, 2, 3, 4)}
        assert rows(site, 1, 2, 3, 4) == [False] * 4

    def test_root_that_the_monitor_does_not_have(self, site: Site) -> None:
        """What it cannot take keeps its row: code 3; the others go."""
        other = site.home / "other"
        for number in (1, 3):
            site.run(number)
        place = site.run(2)
        there = other / "0" / run_id(2) / "artifacts"
        there.parent.mkdir(parents=True)
        place.rename(there)
        site.db.execute(
            "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", str(there), run_id(2)
        )
        delete(site, 1, 2, 3)  # before the first start: the monitor takes none by itself
        site.start(retention=WEEK)
        said = gc("--json", "--artifact-root", str(other))
        assert said.exit_code == 3
        assert fates(said) == {
            run_id(1): "removed",
            run_id(2): "failed",
            run_id(3): "removed",
        }
        assert rows(site, 1, 2, 3) == [False, True, False]
        assert there.exists()

    def test_oldest_experiments_may_all_go(self, site: Site) -> None:
        """The monitor goes on: it is the same database."""
        site.db.execute("DELETE FROM runs")
        for number in range(1, 20):
            site.db.experiment(str(number), f"mlflow-artifacts:/{number}", created_ms=number)
        site.db.experiment("50", "mlflow-artifacts:/50", created_ms=50)
        site.db.run(run_id(7), experiment_id=50)
        site.start(retention=WEEK)
        site.db.execute(
            "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE experiment_id < 50"
        )
        said = gc("--json")
        assert set(fates(said).values()) == {"removed"}
        assert len(fates(said)) == 20
        place = site.run(8)
        site.db.execute("UPDATE runs SET experiment_id = 50 WHERE run_uuid = ?", run_id(8))
        site.knows(site.monitors[0])
        delete(site, 8)
        site.wait(EventKind.QUARANTINED, 8)
        assert not place.exists()
        assert site.told(EventKind.REFUSED) == []

    def test_vacuum_is_no_restored_backup(self, site: Site) -> None:
        """The file shrinks and is written anew; the monitor goes on as if nothing was."""
        site.run(1)
        place = site.run(2)
        with site.db.connection() as connection:
            many = [(f"key {number}", "x" * 100, run_id(1)) for number in range(3_000)]
            connection.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", many)
        monitor = site.start(retention=WEEK)
        delete(site, 1)
        said = gc("--json", "--vacuum")
        told = json.loads(said.stdout)["vacuumed"]
        assert told["bytes_after"] < told["bytes_before"]
        delete(site, 2)
        site.wait(EventKind.QUARANTINED, 2)
        assert not place.exists()
        site.knows(monitor)
        assert site.told(EventKind.REFUSED) == []

    def test_what_the_monitor_refuses_keeps_rows(self, site: Site) -> None:
        """Another database lies there: not even rows of what has no files go."""
        for number in range(1, 12):
            site.db.run(run_id(number))
        site.start(retention=WEEK)
        site.db.execute("DELETE FROM runs WHERE run_uuid != ?", run_id(1))
        site.wait(EventKind.REFUSED)
        delete(site, 1)
        assert gc("--metadata-only").exit_code == 4
        assert rows(site, 1) == [True]


class TestMonitorThatIsKilled:
    """In the middle of what gc asked it for."""

    @pytest.fixture
    def mortal(self, site: Site) -> Iterator[Callable[[str], None]]:
        """Start monitors that are killed at an event of a kind."""
        started: list[subprocess.Popen[str]] = []

        def start(kind: str) -> None:
            words = [sys.executable, "-c", MORTAL, str(site.db.path), str(site.root), kind]
            process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            started.append(process)
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            until(lambda: len(history(site)) > 0, "its ledger")

        yield start
        for process in started:
            with closing(process.stdout or sys.stdin):
                process.kill()
                process.wait()

    @pytest.mark.parametrize("kind", ["quarantined", "purged"])
    def test_no_row_goes_and_the_next_one_ends_it(
        self,
        site: Site,
        mortal: Callable[[str], None],
        kind: str,
    ) -> None:
        """What it had in hand is finished or reverted by the next start."""
        site.run(1, size=10)
        site.run(2, size=100)
        delete(site, 1, 2)
        mortal(kind)

        said = gc("--json")

        assert said.exit_code != 0
        assert "ended" in said.stderr
        assert rows(site, 1, 2) == [True, True]
        assert fates(gc("--json")) == {run_id(1): "removed", run_id(2): "removed"}
        assert rows(site, 1, 2) == [False, False]
        assert not site.place(1).parent.exists()
        assert trash_values(site.settings.state_dir) == []


class TestPurgeMetadata:
    """`--purge-metadata`: the rows of what the monitor purged."""

    def test_row_goes_with_its_files(self, site: Site) -> None:
        """After the retention, with a word in the history."""
        place = site.run(1)
        site.start(retention=SOON, purge_metadata=True)
        delete(site, 1)
        told = site.wait(EventKind.COLLECTED)
        assert told.detail == "1 run"
        assert site.told(EventKind.PURGED, 1)
        assert rows(site, 1, 99) == [False, True]
        assert not place.parent.exists()

    def test_without_it_rows_stay(self, site: Site) -> None:
        """It is off unless asked for."""
        site.run(1)
        site.start(retention=AT_ONCE)
        delete(site, 1)
        site.wait(EventKind.PURGED, 1)
        site.run(2)
        delete(site, 2)
        site.wait(EventKind.PURGED, 2)
        assert site.monitors[0].stop()
        assert rows(site, 1, 2) == [True, True]

    def test_not_before_retention(self, site: Site) -> None:
        """What lies in the trash may be restored, with its row."""
        site.run(1)
        site.run(2)
        site.start(retention=WEEK, purge_metadata=True)
        delete(site, 1, 2)
        site.wait(EventKind.QUARANTINED, 2)
        assert site.monitors[0].stop()
        assert rows(site, 1, 2) == [True, True]

    def test_purged_by_hand_before_retention(self, site: Site) -> None:
        """Its row waits: who deletes by mistake has so long to restore at least that."""
        site.run(1)
        monitor = site.start(retention=WEEK, purge_metadata=True)
        delete(site, 1)
        site.wait(EventKind.QUARANTINED, 1)
        said = CliRunner().invoke(app, ["trash", "purge", run_id(1), "--yes"])
        assert said.exit_code == 0, said.output
        assert monitor.stop()
        again = site.start(retention=WEEK, purge_metadata=True)
        site.run(2)
        site.knows(again)
        assert again.stop()
        assert rows(site, 1) == [True]
        delete(site, 1, ago=2 * WEEK)
        site.start(retention=WEEK, purge_metadata=True)
        site.wait(EventKind.COLLECTED)
        assert rows(site, 1) == [False]

    def test_only_what_was_purged(self, site: Site) -> None:
        """What had been deleted before the first start stays, also where it has no files at all.

        Runs, models, an experiment, and a trace in it.
        """
        for number in (2, 3):
            site.run(number)
        delete(site, 2, 3, ago=timedelta(days=900))
        (site.place(3) / "model").unlink()
        site.place(3).rmdir()
        model_at(site, "m-1")
        site.db.logged_model("m-2", "mlflow-artifacts:/0/models/m-2/artifacts", stage="deleted")
        site.db.experiment("7", "mlflow-artifacts:/7", stage="deleted", created_ms=1)
        site.db.trace("tr-1", "mlflow-artifacts:/7/traces/tr-1/artifacts")
        site.db.execute("UPDATE trace_info SET experiment_id = 7")
        site.run(1)
        site.start(retention=SOON, purge_metadata=True)
        delete(site, 1)
        site.wait(EventKind.COLLECTED)
        assert site.monitors[0].stop()
        assert rows(site, 1, 2, 3) == [False, True, True]
        assert len(site.db.execute("SELECT 1 FROM logged_models")) == 2
        assert site.db.execute("SELECT 1 FROM experiments WHERE experiment_id = 7")
        assert site.db.execute("SELECT 1 FROM trace_info")

    def test_restored_by_hand_stays(self, site: Site) -> None:
        """Its files were given back, so the row that names them stays."""
        place = site.run(1)
        site.run(2)
        monitor = site.start(retention=WEEK, purge_metadata=True)
        delete(site, 1)
        site.wait(EventKind.QUARANTINED, 1)
        assert CliRunner().invoke(app, ["restore", run_id(1)]).exit_code == 0
        assert monitor.stop()
        site.start(retention=SOON, purge_metadata=True)
        delete(site, 2)
        site.wait(EventKind.COLLECTED)
        assert rows(site, 1, 2) == [True, False]
        assert place.exists()

    def test_failing_writer_ends_nothing(self, site: Site) -> None:
        """A database locked by somebody else is tried again; the monitor goes on."""
        site.run(1)
        site.start(retention=SOON, purge_metadata=True)
        delete(site, 1)
        site.wait(EventKind.QUARANTINED, 1)
        with closing(sqlite3.connect(site.db.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            site.wait(EventKind.PURGED, 1)
            assert rows(site, 1) == [True]
            other.execute("ROLLBACK")
        site.wait(EventKind.COLLECTED)
        assert rows(site, 1) == [False]


def test_ctrl_c_beside_a_monitor(site: Site) -> None:
    """It ends with code 3 and no row gone; a later gc goes on, and nothing is lost by it."""
    numbers = range(100, 160)
    for number in numbers:
        site.run(number)
    delete(site, *numbers)  # before the first start, so that the monitor takes none by itself
    pressed: list[Event] = []

    def press(event: Event) -> None:
        if event.kind is EventKind.QUARANTINED and not pressed:
            pressed.append(event)
            os.kill(os.getpid(), signal.SIGINT)

    monitor = site.monitor(press, retention=WEEK)
    monitor.start()
    site.knows(monitor)
    said = gc("--json")
    assert pressed
    assert said.exit_code == 3
    assert all(rows(site, *numbers))
    assert gc("--json").exit_code == 0
    assert not any(rows(site, *numbers))
    assert not any(site.place(number).parent.exists() for number in numbers)
