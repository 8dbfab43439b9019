from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_cleanup.errors import LedgerMissing, LedgerUnwritable
from mlflow_cleanup.ledger.database import to_blob, to_text
from mlflow_cleanup.ledger.sqlite import FILE, LedgerFile
from mlflow_cleanup.ledger.tables import FORMAT
from tests.kit.children import as_nobody


def facts(file: LedgerFile) -> dict[str, str]:
    """Read the table of facts."""
    told = file.connection.execute("SELECT name, value FROM facts WHERE name <> 'id'")
    return dict(told.fetchall())


def test_commits_wait_for_the_disk(file: LedgerFile) -> None:
    """A write-ahead log with synchronous FULL: a commit survives a power cut."""
    assert file.connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert file.connection.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_transaction_is_all_or_nothing(file: LedgerFile) -> None:
    """An error inside takes back everything that was entered with it."""
    with suppress(RuntimeError), file.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('telling', '1')")
        raise RuntimeError

    assert facts(file) == {"format": str(FORMAT)}


def test_inner_transaction_is_part_of_the_outer_one(file: LedgerFile) -> None:
    """What an inner one entered is gone with the outer one, and stays with it."""
    with suppress(RuntimeError), file.transaction():
        with file.transaction() as connection:
            connection.execute("INSERT INTO facts VALUES ('lost', '1')")
        raise RuntimeError
    with file.transaction(), file.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('kept', '1')")

    assert facts(file) == {"format": str(FORMAT), "kept": "1"}


def test_transaction_that_cannot_be_written_says_so_and_leaves_nothing_open(
    file: LedgerFile,
) -> None:
    """Any error of SQLite becomes ours, and the next transaction finds the way free."""
    file.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(LedgerUnwritable) as caught, file.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('telling', '1')")
    assert str(file.path) in str(caught.value)
    assert not file.connection.in_transaction

    file.connection.execute("PRAGMA query_only = OFF")
    with file.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('telling', '2')")
    assert facts(file)["telling"] == "2"


def test_opening_again_finds_what_was_written(file: LedgerFile, state_dir: Path) -> None:
    """Tables are made once; a second opening changes nothing in them."""
    with file.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('telling', '1')")
    file.close()

    again = LedgerFile.open_to_write(state_dir)
    assert facts(again) == {"format": str(FORMAT), "telling": "1"}
    again.close()


@pytest.mark.parametrize("mode", [LedgerFile.open_to_write, LedgerFile.open_to_read])
def test_ledger_of_another_format_is_not_touched(
    file: LedgerFile, state_dir: Path, mode: type
) -> None:
    """What a later version wrote is left to it."""
    with file.transaction() as connection:
        connection.execute("UPDATE facts SET value = '99' WHERE name = 'format'")
    file.close()

    with pytest.raises(LedgerUnwritable, match="format 99 is of a later"):
        mode(state_dir)


@pytest.mark.parametrize("mode", [LedgerFile.open_to_write, LedgerFile.open_to_read])
def test_file_that_is_no_ledger_is_not_touched(state_dir: Path, mode: type) -> None:
    """A file of that name that is no database stays as it is."""
    state_dir.mkdir()
    (state_dir / FILE).write_bytes(b"somebody's notes" * 1_000)

    with pytest.raises(LedgerUnwritable):
        mode(state_dir)

    assert (state_dir / FILE).read_bytes() == b"somebody's notes" * 1_000


def test_state_directory_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    """No parent directory, or a file in its place."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    for state_dir in (tmp_path / "missing" / "state", tmp_path / "file"):
        with pytest.raises(LedgerUnwritable):
            LedgerFile.open_to_write(state_dir)


def test_reading_what_is_not_there_makes_nothing(state_dir: Path) -> None:
    """A reader finds no ledger, says so, and leaves no directory behind."""
    with pytest.raises(LedgerMissing):
        LedgerFile.open_to_read(state_dir)

    assert not state_dir.exists()


def test_reader_cannot_write(file: LedgerFile, state_dir: Path) -> None:
    """Whoever only reads has no way to change the ledger."""
    reader = LedgerFile.open_to_read(state_dir)
    with pytest.raises(LedgerUnwritable), reader.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('telling', '1')")
    reader.close()

    assert facts(file) == {"format": str(FORMAT)}


def test_reader_leaves_no_file_behind(file: LedgerFile, state_dir: Path) -> None:
    """With the writer gone, reading leaves the one file that was there."""
    file.close()
    reader = LedgerFile.open_to_read(state_dir)
    assert facts(reader) == {"format": str(FORMAT)}
    reader.close()

    assert [path.name for path in state_dir.iterdir()] == [FILE]


@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "a writer at work"])
def test_reader_without_write_access_reads_all_the_same(*, is_open: bool) -> None:
    """Another user's ledger: the latest commit is seen, and nothing is made beside it."""

    def body(top: Path) -> None:
        state_dir = top / "state"
        writer = LedgerFile.open_to_write(state_dir)
        with writer.transaction() as connection:
            connection.execute("INSERT INTO facts VALUES ('telling', '1')")
        if not is_open:
            writer.close()
        beside = sorted(state_dir.iterdir())
        modes = {path: path.stat().st_mode for path in (*beside, state_dir)}
        for path in modes:
            path.chmod(0o555 if path.is_dir() else 0o444)

        reader = LedgerFile.open_to_read(state_dir)
        assert facts(reader)["telling"] == "1"
        reader.close()

        assert sorted(state_dir.iterdir()) == beside
        for path, mode in modes.items():
            path.chmod(mode)
        writer.close()

    as_nobody(body)


def test_reader_sees_what_a_writer_committed_meanwhile(file: LedgerFile, state_dir: Path) -> None:
    """A status opened beside a running monitor shows its latest commit."""
    reader = LedgerFile.open_to_read(state_dir)
    with file.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('telling', '1')")

    assert facts(reader)["telling"] == "1"
    reader.close()


def test_what_is_uncommitted_when_the_process_dies_never_was(
    file: LedgerFile, state_dir: Path
) -> None:
    """A copy of the files in the middle of a transaction opens as it was before it."""
    copy = state_dir.with_name("copy")
    copy.mkdir()
    with file.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('telling', '1')")
        for path in state_dir.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())

    with closing(sqlite3.connect(copy / FILE)) as connection:
        assert connection.execute("SELECT name FROM facts ORDER BY name").fetchall() == [
            ("format",),
            ("id",),
        ]


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_any_text_survives_being_stored(text: str) -> None:
    """Text that is no valid Unicode, as file systems and databases hold it, comes back whole."""
    assert to_text(to_blob(text)) == text


def test_no_text_stays_none() -> None:
    """A missing value is no empty one."""
    assert to_blob(None) is None
    assert to_text(None) is None
    assert to_text("as text") == "as text"


@pytest.mark.parametrize("is_begun", [False, True], ids=["no bytes", "no tables"])
def test_file_without_tables_is_no_ledger_yet(state_dir: Path, *, is_begun: bool) -> None:
    """The disk was full when it was made: for readers there is none, and a writer makes it."""
    state_dir.mkdir()
    (state_dir / FILE).touch()
    if is_begun:
        with closing(sqlite3.connect(state_dir / FILE)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    before = (state_dir / FILE).read_bytes()

    with pytest.raises(LedgerMissing):
        LedgerFile.open_to_read(state_dir)
    assert (state_dir / FILE).read_bytes() == before

    LedgerFile.open_to_write(state_dir).close()
    reader = LedgerFile.open_to_read(state_dir)
    assert facts(reader) == {"format": str(FORMAT)}
    reader.close()
