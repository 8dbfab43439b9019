from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from mlflow_cleanup.backends.sqlite_changes import ChangeProbe
from mlflow_cleanup.backends.sqlite_file import change_counter, connect, explained
from mlflow_cleanup.errors import (
    DatabaseBusy,
    DatabaseMissing,
    NotATrackingDatabase,
    TrackingUnreadable,
)
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.observe.tracking import TrackingDatabase
from tests.kit.other_process import OtherProcess, as_plain_user, open_directory
from tests.kit.tracking_db import TrackingFile, run_id

POSIX = pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
BOTH_MODES = pytest.mark.parametrize("wal", [False, True], ids=["delete", "wal"])


def traces_of(path: Path) -> tuple[object, ...]:
    """Return all that an idle database's owner could see change: bytes, times, files beside it."""
    status = path.stat()
    beside = sorted(entry.name for entry in path.parent.iterdir())
    return path.read_bytes(), status.st_mtime_ns, status.st_size, status.st_ino, beside


@BOTH_MODES
def test_reading_leaves_no_trace(tmp_path: Path, wal: bool) -> None:
    """An idle database has the same bytes and times after a read, and no new file beside it."""
    db = TrackingFile.make(tmp_path / "mlflow.db", wal=wal)
    db.run(run_id(1))
    before = traces_of(db.path)

    tracking = TrackingDatabase(Database.of_file(str(db.path)))
    assert tracking.heads().active == {run_id(1)}
    assert tracking.identity().anchors == {"0": 1_000}

    assert traces_of(db.path) == before


@BOTH_MODES
def test_watching_leaves_no_trace_when_it_ends(tmp_path: Path, wal: bool) -> None:
    """The probe's connection takes its files along when it is closed."""
    db = TrackingFile.make(tmp_path / "mlflow.db", wal=wal)
    before = traces_of(db.path)

    probe = ChangeProbe(str(db.path))
    assert probe.version() is not None
    probe.close()

    assert traces_of(db.path) == before


@BOTH_MODES
def test_the_journal_mode_stays_what_it_was(tmp_path: Path, wal: bool) -> None:
    """Reading does not switch a database's journal mode."""
    db = TrackingFile.make(tmp_path / "mlflow.db", wal=wal)

    TrackingDatabase(Database.of_file(str(db.path))).heads()

    assert db.execute("PRAGMA journal_mode") == [("wal" if wal else "delete",)]


def test_a_connection_cannot_write(tmp_path: Path) -> None:
    """What was opened for reading refuses every change."""
    db = TrackingFile.make(tmp_path / "mlflow.db")

    with closing(connect(str(db.path))) as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM experiments")

    assert db.execute("SELECT count(*) FROM experiments") == [(1,)]


def test_a_missing_database_is_not_made(tmp_path: Path) -> None:
    """Opening what is not there says so and creates nothing."""
    with pytest.raises(DatabaseMissing, match=r"mlflow\.db"):
        connect(str(tmp_path / "mlflow.db"))

    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    """A directory in the database's place counts as missing."""
    with pytest.raises(DatabaseMissing):
        connect(str(tmp_path))


@pytest.mark.parametrize("content", [b"not a database at all " * 100, b"{}", b"SQLite format 2"])
def test_a_file_that_is_no_database_is_told(tmp_path: Path, content: bytes) -> None:
    """Any other file in the database's place is named, and left as it was."""
    path = tmp_path / "mlflow.db"
    path.write_bytes(content)

    with pytest.raises(NotATrackingDatabase, match=r"mlflow\.db"):
        TrackingDatabase(Database.of_file(str(path))).heads()

    assert path.read_bytes() == content


@pytest.mark.parametrize("statement", ["", "CREATE TABLE runs (id TEXT)", "CREATE TABLE t (a)"])
def test_a_database_without_mlflows_tables_is_told(tmp_path: Path, statement: str) -> None:
    """An empty database, and one of another program, are no tracking database."""
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(statement)

    with pytest.raises(NotATrackingDatabase, match="no MLflow tables"):
        TrackingDatabase(Database.of_file(str(path))).heads()


def test_a_damaged_database_is_unreadable(tmp_path: Path) -> None:
    """A database whose pages make no sense is an error of ours, not an answer."""
    db = TrackingFile.make(tmp_path / "mlflow.db")
    content = bytearray(db.path.read_bytes())
    content[100:] = b"\xff" * (len(content) - 100)
    db.path.write_bytes(content)

    with pytest.raises(TrackingUnreadable):
        TrackingDatabase(Database.of_file(str(db.path))).heads()


@BOTH_MODES
def test_a_locked_database_is_busy_after_the_wait(tmp_path: Path, wal: bool) -> None:
    """Another process's exclusive lock is waited for as long as was said, then told."""
    db = TrackingFile.make(tmp_path / "mlflow.db", wal=wal)
    tracking = TrackingDatabase(Database.of_file(str(db.path)), wait_s=0.3)

    with OtherProcess(db.path) as other:
        other.do("PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE", "DELETE FROM tags")
        if wal:
            other.do("COMMIT")
        begun = time.monotonic()
        with pytest.raises(DatabaseBusy, match=r"0\.3 s") as busy:
            tracking.heads()
        waited_s = time.monotonic() - begun

    assert busy.value.waited_s == 0.3
    assert 0.2 < waited_s < 5
    assert tracking.heads().active == frozenset()


def test_a_writer_that_only_writes_is_not_in_the_way(tmp_path: Path) -> None:
    """While another process is in the middle of a transaction, the state before it is read."""
    db = TrackingFile.make(tmp_path / "mlflow.db")
    db.run(run_id(1))

    with OtherProcess(db.path) as other:
        other.do("BEGIN IMMEDIATE", "DELETE FROM runs")
        assert TrackingDatabase(Database.of_file(str(db.path)), wait_s=0.1).heads().active == {
            run_id(1)
        }
        other.do("COMMIT")

    assert TrackingDatabase(Database.of_file(str(db.path))).heads().active == frozenset()


def test_a_read_keeps_its_lock_while_another_is_made(tmp_path: Path) -> None:
    """Of two threads that read at a time neither lets a writer in: each reads one moment."""
    db = TrackingFile.make(tmp_path / "mlflow.db")
    db.run(run_id(1))

    with closing(connect(str(db.path))) as reading, OtherProcess(db.path) as other:
        reading.execute("BEGIN")
        before = reading.execute("SELECT run_uuid FROM runs").fetchall()
        TrackingDatabase(Database.of_file(str(db.path))).identity()

        with pytest.raises(AssertionError, match="database is locked"):
            other.do("PRAGMA busy_timeout = 0", "BEGIN", "DELETE FROM runs", "COMMIT")

        assert reading.execute("SELECT run_uuid FROM runs").fetchall() == before
        reading.execute("COMMIT")
        other.do("ROLLBACK")


def test_what_a_crashed_writer_left_is_rolled_back(tmp_path: Path) -> None:
    """A half-written transaction of a process that was killed is not read."""
    db = TrackingFile.make(tmp_path / "mlflow.db")
    db.run(run_id(1))
    with OtherProcess(db.path) as other:
        # A cache of one page writes to the file before the commit.
        other.do("PRAGMA cache_size = 1", "BEGIN", "DELETE FROM runs")
        other.do("INSERT INTO params VALUES ('a', hex(zeroblob(100000)), 'x')")
        other.kill()
    assert (tmp_path / "mlflow.db-journal").stat().st_size > 0

    assert TrackingDatabase(Database.of_file(str(db.path))).heads().active == {run_id(1)}

    assert not (tmp_path / "mlflow.db-journal").exists()


PREPARE = """
import sys
from mlflow_cleanup.errors import TrackingUnreadable
from mlflow_cleanup.backends.sqlite_file import connect
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.observe.tracking import TrackingDatabase
try:
    TrackingDatabase(Database.of_file(sys.argv[1])).heads()
except TrackingUnreadable:
    pass
"""

READ = """
try:
    print(len(TrackingDatabase(Database.of_file(sys.argv[1])).heads().active))
except TrackingUnreadable as error:
    print(error)
"""

WRITE = """
connection = connect(sys.argv[1])
connection.execute("PRAGMA query_only = OFF")
try:
    connection.execute("DELETE FROM experiments")
except Exception as error:
    print(getattr(error, "sqlite_errorname", "SQLITE_READONLY"))
"""


@POSIX
def test_a_database_that_cannot_be_written_is_read() -> None:
    """A user who may neither write the file nor its directory can read it all the same."""
    with open_directory() as directory:
        db = TrackingFile.make(directory / "mlflow.db")
        db.run(run_id(1))
        db.path.chmod(0o444)
        directory.chmod(0o555)

        assert as_plain_user(PREPARE, READ, str(db.path)) == "1\n"

        directory.chmod(0o755)


@POSIX
def test_a_writable_file_in_an_unwritable_directory_is_only_read() -> None:
    """Where no journal could be made, nothing is opened for writing."""
    with open_directory() as directory:
        db = TrackingFile.make(directory / "mlflow.db")
        db.path.chmod(0o666)
        directory.chmod(0o555)

        said = as_plain_user(PREPARE, WRITE, str(db.path))
        assert said == "SQLITE_READONLY\n"  # not SQLITE_READONLY_DIRECTORY

        directory.chmod(0o755)


@POSIX
def test_a_database_that_may_not_be_read_is_unreadable() -> None:
    """No permission is told as an error of ours that names the file."""
    with open_directory() as directory:
        db = TrackingFile.make(directory / "mlflow.db")
        db.path.chmod(0o000)

        assert "mlflow.db cannot be read" in as_plain_user(PREPARE, READ, str(db.path))


@pytest.mark.parametrize("name", ["a b.db", "a%20b.db", "a?b.db", "a#b.db", "é.db", "a'b.db"])
def test_any_file_name_can_be_opened(tmp_path: Path, name: str) -> None:
    """Characters that mean something in a URI are only a name in a path."""
    db = TrackingFile.make(tmp_path / name)
    db.run(run_id(1))

    assert TrackingDatabase(Database.of_file(str(db.path))).heads().active == {run_id(1)}
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_the_change_counter_grows_with_each_commit(tmp_path: Path) -> None:
    """The counter is read from the file's header; a file too short to have one has none."""
    db = TrackingFile.make(tmp_path / "mlflow.db")
    before = change_counter(str(db.path))
    db.run(run_id(1))
    after = change_counter(str(db.path))

    assert before is not None
    assert after is not None
    assert before < after
    assert change_counter(str(tmp_path / "none")) is None
    (tmp_path / "short").write_bytes(b"SQLite")
    assert change_counter(str(tmp_path / "short")) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sqlite3.OperationalError("database is locked"), DatabaseBusy),
        (sqlite3.OperationalError("database table is locked"), DatabaseBusy),
        (sqlite3.DatabaseError("file is not a database"), NotATrackingDatabase),
        (sqlite3.OperationalError("disk I/O error"), TrackingUnreadable),
        (sqlite3.DatabaseError("database disk image is malformed"), TrackingUnreadable),
    ],
)
def test_an_sqlite_error_is_told_as_what_it_means(
    error: sqlite3.Error, kind: type[TrackingUnreadable]
) -> None:
    """Without a result code (before Python 3.11) the words of the error tell."""
    assert type(explained("/x/mlflow.db", error)) is kind
