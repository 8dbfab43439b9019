"""Free pages are given back to the disk, when there is room to do so and nobody is in the way."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlflow_cleanup.act.metadata import Vacuumed, vacuum
from mlflow_cleanup.act.metadata.sqlite.vacuum import temporary_directory
from mlflow_cleanup.errors import (
    DatabaseBusy,
    DatabaseMissing,
    NoRoomToVacuum,
    TrackingUnwritable,
)
from mlflow_cleanup.model.database import Database
from tests.kit.rows import Filled

MIB = 1024 * 1024
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    """A database of SQLite, whose own way this is."""
    return Filled(tmp_path / "mlflow.db")


@pytest.fixture(params=["delete", "wal"])
def journal(request: pytest.FixtureRequest) -> str:
    """Either journal mode."""
    return str(request.param)


@pytest.fixture
def hollow(filled: Filled, journal: str) -> Filled:
    """A database with rows, and 4 MiB of free pages."""
    filled.file.execute(f"PRAGMA journal_mode = {journal}")
    filled.world(2, "deleted")
    filled.file.execute("CREATE TABLE large (content)")
    filled.file.execute("INSERT INTO large VALUES (zeroblob(?))", 4 * MIB)
    filled.file.execute("DROP TABLE large")
    return filled


@pytest.fixture
def other(hollow: Filled) -> Iterator[sqlite3.Connection]:
    """Another client's connection."""
    with closing(sqlite3.connect(hollow.path, timeout=0, isolation_level=None)) as connection:
        yield connection


def test_free_pages_are_given_back(hollow: Filled) -> None:
    """What is told is what the disk says, and not a row is another one."""
    before, size_bytes = hollow.content(), os.path.getsize(hollow.path)
    told = vacuum(hollow.database)
    assert told.before_bytes == size_bytes > 4 * MIB
    assert os.path.getsize(hollow.path) == told.after_bytes < MIB
    assert hollow.content() == before
    assert sorted(path.name for path in Path(hollow.path).parent.iterdir()) == ["mlflow.db"]


def test_without_free_pages_nothing_is_done(filled: Filled) -> None:
    """Not a byte of the file is written."""
    vacuum(filled.database)
    content = Path(filled.path).read_bytes()
    told = vacuum(filled.database)
    assert told == Vacuumed(len(content), len(content))
    assert Path(filled.path).read_bytes() == content


def test_the_journal_mode_stays(hollow: Filled, journal: str) -> None:
    """It is the server's choice."""
    vacuum(hollow.database)
    assert hollow.file.execute("PRAGMA journal_mode") == [(journal,)]


def test_a_server_that_is_there_stands_in_nobodys_way(
    hollow: Filled, other: sqlite3.Connection
) -> None:
    """An open connection without a transaction keeps no space."""
    other.execute("SELECT count(*) FROM runs").fetchone()
    assert vacuum(hollow.database).after_bytes < MIB
    assert other.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_a_writer_is_waited_for_and_then_said(hollow: Filled, other: sqlite3.Connection) -> None:
    """The database is as it was."""
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseBusy):
        vacuum(hollow.database, wait_s=0.05)
    other.execute("ROLLBACK")
    assert os.path.getsize(hollow.path) > 4 * MIB


@pytest.mark.parametrize("journal", ["delete"], indirect=True)
def test_a_reader_is_waited_for_and_then_said(hollow: Filled, other: sqlite3.Connection) -> None:
    """With a rollback journal it keeps the new content from being written."""
    before = hollow.content()
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM runs").fetchone()
    with pytest.raises(DatabaseBusy):
        vacuum(hollow.database, wait_s=0.05)
    other.execute("ROLLBACK")
    assert os.path.getsize(hollow.path) > 4 * MIB
    assert hollow.content() == before


def test_without_room_nothing_is_begun(hollow: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs the whole size for the journal and what stays for the temporary file, and spare."""
    before = Path(hollow.path).read_bytes()

    def usage(free_bytes: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free_bytes))

    usage(20 * MIB)
    with pytest.raises(NoRoomToVacuum) as told:
        vacuum(hollow.database)
    assert Path(hollow.path).read_bytes() == before
    assert told.value.free_bytes == 20 * MIB < told.value.needed_bytes
    assert told.value.needed_bytes < 16 * MIB + 2 * len(before)
    assert "as it was" in str(told.value)

    usage(told.value.needed_bytes)
    assert vacuum(hollow.database).after_bytes < MIB


def test_a_missing_database_is_not_made(tmp_path: Path) -> None:
    """A mistyped path makes no file."""
    with pytest.raises(DatabaseMissing):
        vacuum(Database.of_file(str(tmp_path / "none.db")))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    """It is left as it is."""
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"not a database at all" * 200)
    with pytest.raises(TrackingUnwritable, match="not a database"):
        vacuum(Database.of_file(str(path)))


def test_temporary_files_go_where_sqlite_puts_them(tmp_path: Path) -> None:
    """The first directory that is there, of those named and those it knows."""
    one, other = tmp_path / "one", tmp_path / "other"
    other.mkdir()
    named = {"SQLITE_TMPDIR": str(one), "TMPDIR": str(other)}
    assert temporary_directory(named, [], system="posix") == str(other)
    one.mkdir()
    assert temporary_directory(named, [], system="posix") == str(one)
    assert temporary_directory({}, ["/no/such", str(one)], system="posix") == str(one)
    assert temporary_directory({}, [], system="posix") == "."
    assert os.path.isdir(temporary_directory({}, [], system="nt"))
