from __future__ import annotations

import itertools
import os
import threading
from pathlib import Path

import pytest

from mlflow_cleanup.backends.files import mark_of
from mlflow_cleanup.backends.sqlite_changes import ChangeProbe
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.observe.changes import FileEvents, files_of
from mlflow_cleanup.observe.tracking import TrackingDatabase
from tests.kit.other_process import OtherProcess
from tests.kit.tracking_db import TrackingFile, run_id

BOTH_MODES = pytest.mark.parametrize("wal", [False, True], ids=["delete", "wal"])

INSERT = "INSERT INTO tags VALUES ('key', hex(randomblob(8)), hex(randomblob(16)))"


@pytest.fixture
def db(tmp_path: Path, wal: bool) -> TrackingFile:
    """Make a database in the journal mode that a test asks for."""
    return TrackingFile.make(tmp_path / "mlflow.db", wal=wal)


def probe_of(db: TrackingFile) -> ChangeProbe:
    """Make a probe that has seen the database as it is."""
    probe = ChangeProbe(str(db.path))
    assert probe.changed()
    probe.changed()  # its own connection may just have made a `-wal`
    assert not probe.changed()
    return probe


@BOTH_MODES
def test_each_of_300_commits_is_seen_once(db: TrackingFile) -> None:
    """Commits of another process, as quick as they come, are each told exactly once."""
    probe = probe_of(db)
    with OtherProcess(db.path) as other:
        # Small checkpoints: then neither file grows, and only their content tells.
        other.do("PRAGMA synchronous = OFF", "PRAGMA wal_autocheckpoint = 2")
        probe.changed()
        probe.changed()
        missed, twice = [], []
        for number in range(300):
            other.do(INSERT)
            if not probe.changed():
                missed.append(number)
            if probe.changed():
                twice.append(number)

    probe.close()
    assert (missed, twice) == ([], [])


@BOTH_MODES
def test_each_of_300_commits_gives_another_version(db: TrackingFile) -> None:
    """The version, by which claims are checked once more, is new after every commit."""
    probe = ChangeProbe(str(db.path))
    with OtherProcess(db.path) as other:
        other.do("PRAGMA synchronous = OFF", "PRAGMA wal_autocheckpoint = 2")
        versions = [probe.version()]
        for _ in range(300):
            other.do(INSERT)
            versions.append(probe.version())

    probe.close()
    assert None not in versions
    assert len(set(versions)) == 301


@BOTH_MODES
def test_a_version_stays_while_nothing_is_committed(db: TrackingFile) -> None:
    """Reads of others, and transactions that are rolled back, are no change."""
    probe = ChangeProbe(str(db.path))
    before = probe.version()
    with OtherProcess(db.path) as other:
        other.do("SELECT * FROM runs", "BEGIN IMMEDIATE", INSERT, "ROLLBACK")

        assert probe.version() == before is not None

    probe.close()


@BOTH_MODES
def test_commits_are_seen_after_other_reads_of_the_same_process(db: TrackingFile) -> None:
    """Reading the database beside the probe does not make it blind.

    Closing any handle of a file gives up all POSIX locks that the process has on it; SQLite then
    takes the probe's `-wal` away from under it.
    """
    probe = ChangeProbe(str(db.path))
    seen = [probe.version()]
    for number in range(4):
        TrackingDatabase(Database.of_file(str(db.path))).identity()
        with OtherProcess(db.path) as other:  # the last one to close it, as far as SQLite knows
            other.do(INSERT)
        seen.append(probe.version())
        assert len(set(seen)) == number + 2

    probe.close()


@pytest.mark.parametrize("wal", [True])
def test_a_change_of_the_wal_alone_is_seen(db: TrackingFile) -> None:
    """A commit that has not reached the main file yet is a change all the same."""
    with OtherProcess(db.path) as other:
        other.do("SELECT * FROM runs")
        probe = probe_of(db)
        before = mark_of(str(db.path))
        other.do(INSERT)

        assert mark_of(str(db.path)) == before
        assert probe.changed()

        probe.close()


@pytest.mark.parametrize("wal", [False])
def test_a_database_put_in_the_others_place_is_a_change(db: TrackingFile, tmp_path: Path) -> None:
    """A file of the same size and time under the same name is another one."""
    other = TrackingFile.make(tmp_path / "other.db")
    status = db.path.stat()
    os.utime(other.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    probe = probe_of(db)
    before = probe.version()
    assert other.path.stat().st_size == status.st_size

    other.path.replace(db.path)

    assert probe.changed()
    assert probe.version() not in (before, None)
    TrackingFile(db.path).run(run_id(1))
    assert probe.changed(), "the probe looks at the new file"
    probe.close()


def test_a_missing_database_is_a_change_when_it_comes_and_when_it_goes(tmp_path: Path) -> None:
    """Nothing there is a state like any other: told once, and so is what ends it."""
    path = tmp_path / "mlflow.db"
    probe = ChangeProbe(str(path))
    assert probe.changed()
    assert not probe.changed()
    assert probe.version() is None

    db = TrackingFile.make(path)
    assert probe.changed()
    assert not probe.changed()
    assert probe.version() is not None

    db.run(run_id(1))
    assert probe.changed()
    path.unlink()
    assert probe.changed()
    assert not probe.changed()
    assert probe.version() is None
    probe.close()


@pytest.mark.parametrize("wal", [False])
def test_a_change_is_seen_while_the_database_is_locked(db: TrackingFile) -> None:
    """The marks of the files tell what the locked database cannot."""
    probe = probe_of(db)
    with OtherProcess(db.path) as other:
        other.do("BEGIN EXCLUSIVE", "PRAGMA cache_size = 1", "PRAGMA cache_spill = ON")
        other.do("INSERT INTO params VALUES ('a', hex(zeroblob(100000)), 'x')")
        assert probe.version() is None
        assert probe.changed()
        other.do("COMMIT")

    assert probe.changed()
    assert probe.version() is not None
    probe.close()


@BOTH_MODES
def test_settling_ends_as_soon_as_the_commit_is_visible(db: TrackingFile) -> None:
    """After a file event the probe looks again in growing pauses until it sees the commit."""
    probe = probe_of(db)
    pauses: list[float] = []
    with OtherProcess(db.path) as other:

        def sleep(pause_s: float) -> None:
            pauses.append(pause_s)
            if len(pauses) == 3:
                other.do(INSERT)

        probe.settle(sleep)

        assert pauses == [0.001, 0.002, 0.004]
        assert probe.changed()

    probe.close()


@pytest.mark.parametrize("wal", [True])
def test_settling_is_given_up_after_a_short_burst(db: TrackingFile) -> None:
    """A file event without a commit costs some looks, ever farther apart, within a second."""
    probe = probe_of(db)
    pauses: list[float] = []

    probe.settle(pauses.append)

    assert pauses[0] == 0.001
    assert all(later == 2 * earlier for earlier, later in itertools.pairwise(pauses))
    assert 0.1 < sum(pauses) < 1
    assert not probe.changed()
    probe.close()


@pytest.mark.parametrize("wal", [True])
def test_a_commit_that_is_visible_already_needs_no_settling(db: TrackingFile) -> None:
    """Where the commit came before the event was handled, no pause is made."""
    probe = probe_of(db)
    db.run(run_id(1))

    probe.settle(lambda _: pytest.fail("a pause was made"))

    assert probe.changed()
    probe.close()


def test_a_probe_can_be_closed_twice_and_used_again(tmp_path: Path) -> None:
    """Closing is harmless, and a later look opens anew."""
    db = TrackingFile.make(tmp_path / "mlflow.db")
    probe = probe_of(db)
    probe.close()
    probe.close()

    db.run(run_id(1))
    assert probe.changed()
    probe.close()


@BOTH_MODES
def test_file_events_wake(db: TrackingFile) -> None:
    """A commit in either journal mode wakes whoever waits, without a poll."""
    woken = threading.Event()
    with OtherProcess(db.path) as other, FileEvents(woken.set) as events:
        other.do("SELECT * FROM runs")
        assert events.watch(str(db.path.parent), files_of(str(db.path)))
        woken.clear()
        other.do(INSERT)

        assert woken.wait(10)


def test_file_events_wake_when_a_database_is_made_or_moved_there(tmp_path: Path) -> None:
    """A database that comes into being under the watched name wakes."""
    woken = threading.Event()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    db = TrackingFile.make(elsewhere / "mlflow.db")
    watched = tmp_path / "watched"
    watched.mkdir()
    with FileEvents(woken.set) as events:
        assert events.watch(str(watched), files_of(str(watched / "mlflow.db")))
        db.path.replace(watched / "mlflow.db")

        assert woken.wait(10)


def test_file_events_do_not_wake_for_other_files(tmp_path: Path) -> None:
    """What else is written in the database's directory is no reason to look."""
    wakes: list[None] = []
    woken = threading.Event()

    def wake() -> None:
        wakes.append(None)
        woken.set()

    with FileEvents(wake) as events:
        assert events.watch(str(tmp_path), files_of(str(tmp_path / "mlflow.db")))
        for number in range(100):
            (tmp_path / f"other-{number}").write_text("x")
            (tmp_path / f"mlflow.db.{number}").write_text("x")
        (tmp_path / "mlflow.db").write_text("x")  # events come in order: this one ends the wait

        assert woken.wait(10)
        assert len(wakes) < 10


def test_a_directory_that_cannot_be_watched_is_told(tmp_path: Path) -> None:
    """Where the system gives no events, polling remains."""
    with FileEvents(lambda: None) as events:
        assert not events.watch(str(tmp_path / "missing"), frozenset({"mlflow.db"}))


def test_the_files_of_a_database_are_named() -> None:
    """The main file, its `-wal` and its `-journal` are what changes."""
    assert files_of("/x/mlflow.db") == {"mlflow.db", "mlflow.db-wal", "mlflow.db-journal"}
