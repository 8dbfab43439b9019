from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from mlflow_cleanup import CleanupError, Event, EventKind, MLflowDatabaseMonitor, Settings
from mlflow_cleanup.errors import BadUsage, LeaseHeld, LedgerUnwritable, UnsupportedBackend
from mlflow_cleanup.ledger.ageing import Reading, read_clocks
from mlflow_cleanup.ledger.lease import current_holder
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.observe.tracking import TrackingDatabase
from mlflow_cleanup.report.status import status_values
from tests.kit.other_process import OtherProcess
from tests.kit.programs import until
from tests.kit.site import Site
from tests.kit.tracking_db import run_id


def test_it_is_used_in_three_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make, start, stop: a run deleted in between has its directory taken away and told."""
    site = Site(tmp_path.resolve())
    monkeypatch.chdir(site.home)
    place = site.run(1, size=1_000)

    monitor = MLflowDatabaseMonitor(
        "sqlite:///mlflow.db", artifact_roots=["mlartifacts"], on_event=site.events.append
    )
    monitor.start()
    site.knows(monitor)
    site.delete(1)
    told = site.wait(EventKind.QUARANTINED, 1)
    assert monitor.stop()

    assert not place.exists()
    assert told.size is not None
    assert (told.size.files, told.size.bytes) == (1, 1_000)
    assert told.due_at is not None
    assert abs(told.due_at - told.at - timedelta(days=7)) < timedelta(seconds=5)
    assert [event.kind for event in site.events] == [
        EventKind.STARTED,
        EventKind.QUARANTINED,
        EventKind.STOPPED,
    ]


def test_it_can_be_a_context(site: Site) -> None:
    """A `with` block starts it, and stops it however it ends."""
    site.run(1)

    def fail_inside() -> None:
        with site.monitor() as monitor:
            site.knows(monitor)
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()

    assert site.told(EventKind.STOPPED)
    assert current_holder(site.settings.state_dir) is None


@pytest.mark.parametrize("use_file_events", [True, False])
def test_a_deleted_run_is_noticed_with_and_without_file_events(
    site: Site, use_file_events: bool
) -> None:
    """Events make it quick, polling alone is enough."""
    place = site.run(1)
    keeper = site.run(2)
    site.start(use_file_events=use_file_events, poll_interval_s=60 if use_file_events else 0.05)

    site.delete(1)

    site.wait(EventKind.QUARANTINED, 1)
    assert not place.exists()
    assert keeper.exists()


def test_a_look_can_be_asked_for(site: Site) -> None:
    """Whoever knows that something happened need not wait for the next poll."""
    site.run(1)
    monitor = site.start(use_file_events=False, poll_interval_s=600)
    site.delete(1)

    def quarantined() -> list[Event]:
        monitor.check_soon()
        return site.told(EventKind.QUARANTINED, 1)

    until(quarantined, "the run is quarantined")


def test_a_restore_in_mlflow_brings_the_files_back(site: Site) -> None:
    """A run that is active again has its bytes where they were."""
    place = site.run(1, size=1_000)
    site.start()
    site.delete(1)
    site.wait(EventKind.QUARANTINED, 1)

    site.db.set_stage(run_id(1), "active")

    site.wait(EventKind.RESTORED, 1)
    assert (place / "model").read_bytes() == b"x" * 1_000


def test_a_row_that_vanishes_is_noticed(site: Site) -> None:
    """A run whose row is removed, as gc does, is orphaned like a deleted one."""
    place = site.run(1)
    site.run(2)
    site.start()

    site.db.drop_run(run_id(1))

    site.wait(EventKind.QUARANTINED, 1)
    assert not place.exists()


def test_what_happened_while_it_was_down_is_noticed(site: Site) -> None:
    """The known runs are durable: a delete between two monitors is seen by the second."""
    place = site.run(1)
    assert site.start().stop()
    site.delete(1)

    site.start()

    site.wait(EventKind.QUARANTINED, 1)
    assert not place.exists()


def test_many_deletes_at_once_are_all_noticed(site: Site) -> None:
    """None of a burst is missed, and no run that stays is touched."""
    places = [site.run(number) for number in range(1, 41)]
    site.start()

    with site.db.connection() as connection:
        connection.executemany(
            "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?",
            [(run_id(number),) for number in range(1, 31)],
        )
    for number in range(31, 36):
        site.delete(number)

    until(lambda: len(site.told(EventKind.QUARANTINED)) == 35, "all of them are quarantined")
    assert [place.exists() for place in places] == [False] * 35 + [True] * 5


def test_the_known_runs_follow_the_database(site: Site) -> None:
    """`last_known_runs` are the active runs as of the last cycle."""
    site.run(1)
    site.run(2)
    monitor = site.start()
    assert monitor.last_known_runs == {run_id(1), run_id(2)}

    site.run(3)
    site.delete(1)

    until(lambda: monitor.last_known_runs == {run_id(2), run_id(3)}, "the known runs follow")


def test_a_second_monitor_is_told_who_holds_the_lease(site: Site) -> None:
    """One at a time: the second is refused by name and changes nothing; the first goes on."""
    site.run(1)
    first = site.start()

    with pytest.raises(LeaseHeld, match="mlflow-cleanup monitor") as held:
        site.monitor().start()

    assert str(site.settings.state_dir) in str(held.value.state_dir)
    site.delete(1)
    site.wait(EventKind.QUARANTINED, 1)
    assert first.stop()
    site.start()


@pytest.mark.parametrize("poll_interval_s", [0.05, 600.0])
def test_stopping_is_prompt(site: Site, poll_interval_s: float) -> None:
    """However long the next wait would be, it ends at once and gives the lease back."""
    site.run(1)
    monitor = site.start(poll_interval_s=poll_interval_s)
    begun = time.monotonic()

    assert monitor.stop()

    assert time.monotonic() - begun < 3
    assert current_holder(site.settings.state_dir) is None
    assert site.events[-1].kind is EventKind.STOPPED
    assert [thread for thread in threading.enumerate() if "mlflow-cleanup" in thread.name] == []


def test_a_stop_that_takes_too_long_says_so(site: Site) -> None:
    """Where the step in hand goes on, stopping is not claimed, and the lease stays held."""
    begun, may_go_on = threading.Event(), threading.Event()

    def be_slow(_: Event) -> None:
        begun.set()
        assert may_go_on.wait(30)

    monitor = site.monitor(on_event=be_slow)
    monitor.start()
    assert begun.wait(20)

    assert not monitor.stop(timeout_s=0.1)
    assert current_holder(site.settings.state_dir) is not None

    may_go_on.set()
    assert monitor.stop()
    assert current_holder(site.settings.state_dir) is None


def test_stopping_twice_or_before_the_start_is_harmless(site: Site) -> None:
    """What does not run is stopped already."""
    idle = site.monitor()
    assert idle.stop()
    monitor = site.start()
    assert monitor.stop()
    assert monitor.stop()

    assert len(site.told(EventKind.STOPPED)) == 1


def test_a_stopped_monitor_can_be_started_again(site: Site) -> None:
    """The second life watches like the first."""
    place = site.run(1)
    monitor = site.start()
    assert monitor.stop()

    monitor.start()
    site.delete(1)

    site.wait(EventKind.QUARANTINED, 1)
    assert not place.exists()


def test_starting_twice_does_not_make_two_of_it(site: Site) -> None:
    """A monitor that runs is not started once more beside itself."""
    site.run(1)
    monitor = site.start()
    before = threading.active_count()

    with pytest.raises(CleanupError):
        monitor.start()

    assert threading.active_count() == before
    site.delete(1)
    site.wait(EventKind.QUARANTINED, 1)
    assert monitor.stop()
    assert [thread for thread in threading.enumerate() if "mlflow-cleanup" in thread.name] == []


def test_its_threads_do_not_keep_a_program_alive(site: Site) -> None:
    """The threads are daemons, named after us."""
    site.start()
    ours = [thread for thread in threading.enumerate() if "mlflow-cleanup" in thread.name]

    assert {thread.name for thread in ours} == {"mlflow-cleanup-watcher", "mlflow-cleanup-cleaner"}
    assert all(thread.daemon for thread in ours)


def test_a_listener_that_fails_does_not_end_it(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a callback raises, watching and cleaning go on."""
    kinds: list[EventKind] = []

    def fail(event: Event) -> None:
        kinds.append(event.kind)
        raise RuntimeError("the listener is broken")

    place = site.run(1)
    monitor = site.monitor(on_event=fail)
    monitor.start()
    site.knows(monitor)
    site.delete(1)
    until(lambda: EventKind.QUARANTINED in kinds, "the run is quarantined")
    assert monitor.stop()

    assert not place.exists()
    assert kinds[-1] is EventKind.STOPPED
    assert "the listener is broken" in capsys.readouterr().err


def test_an_error_in_a_cycle_does_not_end_it(site: Site) -> None:
    """A ledger that breaks under it is told once; when it works again, so does the monitor."""
    place = site.run(1)
    site.start()
    ledger = site.settings.state_dir / "ledger.db"
    with closing(sqlite3.connect(ledger, timeout=30)) as connection:
        connection.execute("ALTER TABLE items RENAME TO items_away")
    site.delete(1)
    told = site.wait(EventKind.WAITING)
    assert "items" in told.detail
    assert place.exists()

    with closing(sqlite3.connect(ledger, timeout=30)) as connection:
        connection.execute("ALTER TABLE items_away RENAME TO items")

    site.wait(EventKind.QUARANTINED, 1)
    site.wait(EventKind.RESUMED)
    assert len(site.told(EventKind.WAITING)) == 1
    assert not place.exists()


def test_a_locked_database_is_told_once_and_work_resumes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process locks the database there is one complaint, and no thread ends."""
    monkeypatch.setattr(TrackingDatabase.__init__, "__defaults__", (0.1,))  # wait less than usual
    place = site.run(1)
    cycles: list[Reading] = []

    def count() -> Reading:
        cycles.append(read_clocks())
        return cycles[-1]

    monitor = site.monitor()
    monitor.clock = count
    monitor.start()
    site.knows(monitor)
    with OtherProcess(site.db.path) as other:
        other.do(
            "BEGIN EXCLUSIVE",
            f"UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = '{run_id(1)}'",
        )
        (site.settings.state_dir / "wake").touch()
        told = site.wait(EventKind.WAITING)
        assert "locked by another process" in told.detail
        status = partial(status_values, site.settings.state_dir)
        until(lambda: "locked" in str(status()["complaint"]), "the status says so as well")
        so_far = len(cycles)
        until(lambda: len(cycles) >= so_far + 3, "it has tried again and again")
        assert place.exists()
        other.do("COMMIT")

    site.wait(EventKind.QUARANTINED, 1)
    site.wait(EventKind.RESUMED)
    assert len(site.told(EventKind.WAITING)) == 1
    assert not place.exists()


def test_a_database_that_comes_later_is_watched_then(site: Site) -> None:
    """It may be started before MLflow has made its database."""
    aside = site.db.path.with_suffix(".aside")
    place = site.run(1)
    site.db.path.rename(aside)
    monitor = site.monitor()
    monitor.start()
    site.wait(EventKind.STARTED)

    aside.rename(site.db.path)
    site.knows(monitor)
    site.delete(1)

    site.wait(EventKind.QUARANTINED, 1)
    assert not place.exists()
    assert not site.told(EventKind.WAITING)


def test_a_file_that_is_no_database_is_told_and_waited_for(site: Site) -> None:
    """Nonsense in the database's place is a complaint, and the monitor goes on when it is gone."""
    place = site.run(1)
    content = site.db.path.read_bytes()
    site.db.path.write_bytes(b"nonsense" * 100)
    monitor = site.monitor()
    monitor.start()
    assert "mlflow.db" in site.wait(EventKind.WAITING).detail

    site.db.path.write_bytes(content)
    site.wait(EventKind.RESUMED)
    site.knows(monitor)
    site.delete(1)

    site.wait(EventKind.QUARANTINED, 1)
    assert not place.exists()


@pytest.mark.parametrize("wal", [False, True], ids=["delete", "wal"])
def test_watching_does_not_change_the_database(tmp_path: Path, wal: bool) -> None:
    """Neither a start nor a whole clean-up writes a byte of MLflow's database."""
    site = Site(tmp_path.resolve())
    if wal:
        site.db.execute("PRAGMA journal_mode = WAL")
    site.run(1)
    site.run(2)
    assert site.start().stop()
    site.delete(1)
    before = site.db.path.read_bytes(), site.db.path.stat().st_mtime_ns

    monitor = site.start()
    site.wait(EventKind.QUARANTINED, 1)
    assert monitor.stop()

    assert (site.db.path.read_bytes(), site.db.path.stat().st_mtime_ns) == before
    assert sorted(entry.name for entry in site.home.iterdir()) == [
        ".mlflow-cleanup",
        "mlartifacts",
        "mlflow.db",
    ]


def test_a_purge_at_once_frees_the_bytes(site: Site) -> None:
    """With retention 0 what is deleted is gone for good within moments, and measured."""
    site.run(1, size=1_000)
    site.start(retention=timedelta(0))

    site.delete(1)

    told = site.wait(EventKind.PURGED, 1)
    assert told.size is not None
    assert told.size.bytes == 1_000
    assert not [path for path in site.root.rglob("*") if path.name == "model"]


@pytest.mark.parametrize("backend", ["mssql://u:p@h/db", "./mlruns", "sqlite://", "http://h"])
def test_a_backend_that_cannot_be_watched_is_refused_at_once(backend: str) -> None:
    """Making a monitor is enough to learn that it could not watch."""
    with pytest.raises(UnsupportedBackend):
        MLflowDatabaseMonitor(backend)


@pytest.mark.parametrize("retention", ["soon", "-1d", ""])
def test_a_retention_without_meaning_is_refused_at_once(retention: str) -> None:
    """A length of time that cannot be read is wrong usage."""
    with pytest.raises(BadUsage):
        MLflowDatabaseMonitor("sqlite:///mlflow.db", retention=retention)


def test_a_directory_that_is_not_there_is_wrong_usage(site: Site) -> None:
    """A mistyped directory is told, and none is made."""
    missing = site.home / "missing"
    monitor = site.monitor(
        database=Database.of_file(str(missing / "mlflow.db")), state_dir=missing / "state"
    )

    with pytest.raises(BadUsage, match="does not exist"):
        monitor.start()

    assert not missing.exists()


def test_a_state_directory_that_cannot_be_written_is_told(site: Site) -> None:
    """Without a ledger nothing is started, and nothing is left held."""
    site.settings.state_dir.write_text("in the way")

    with pytest.raises(LedgerUnwritable):
        site.monitor().start()

    site.settings.state_dir.unlink()
    site.run(1)
    site.start()


def test_defaults_are_where_mlflow_puts_things(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without arguments the database, roots and ledger are those of this directory."""
    monkeypatch.chdir(tmp_path)
    home = str(tmp_path)

    made = MLflowDatabaseMonitor().settings

    assert made == Settings(
        database=Database.of_file(f"{home}/mlflow.db"),
        roots=(f"{home}/mlartifacts", f"{home}/mlruns"),
        artifacts_destination=f"{home}/mlartifacts",
        working_directory=home,
        state_dir=tmp_path / ".mlflow-cleanup",
    )
    assert MLflowDatabaseMonitor(retention="1d").settings.retention == timedelta(days=1)
    assert MLflowDatabaseMonitor(retention=timedelta(0)).settings.retention == timedelta(0)
