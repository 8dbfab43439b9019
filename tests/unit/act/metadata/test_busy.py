"""A database that others hold is waited for, and nobody is kept from ending it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlflow_cleanup.act.metadata import Outcome, Pace, Result, Target, TargetKind, remove_rows
from mlflow_cleanup.errors import DatabaseBusy, DatabaseMissing, TrackingUnwritable
from mlflow_cleanup.model.database import Database
from tests.kit.children import as_nobody
from tests.kit.rows import Filled

SHORT = Pace(hold_s=1e-6, rest_s=0.0, quiet_hold_s=1e-6, wait_s=0.2)
RUN = TargetKind.RUN


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    """A database of SQLite, whose own way this is."""
    return Filled(tmp_path / "mlflow.db")


@pytest.fixture(params=["delete", "wal"])
def runs(request: pytest.FixtureRequest, filled: Filled) -> list[Target]:
    """Six deleted runs, in either journal mode."""
    filled.file.execute(f"PRAGMA journal_mode = {request.param}")
    worlds = [filled.world(number, "deleted") for number in range(2, 8)]
    return [filled.target(RUN, world) for world in worlds]


@pytest.fixture
def other(filled: Filled) -> Iterator[sqlite3.Connection]:
    """Another client's connection."""
    with closing(sqlite3.connect(filled.path, timeout=0, isolation_level=None)) as connection:
        yield connection


def removed(outcomes: list[Outcome]) -> int:
    """Count what was removed."""
    return sum(item.result is Result.REMOVED for item in outcomes)


def test_a_writers_lock_is_waited_for(
    filled: Filled, runs: list[Target], other: sqlite3.Connection
) -> None:
    """It is told, tried again, and goes on when the lock is free."""
    told: list[DatabaseBusy] = []

    def tell(busy: DatabaseBusy) -> None:
        told.append(busy)
        if len(told) == 2:
            other.execute("COMMIT")

    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE runs SET name = 'busy'")
    assert removed(list(remove_rows(filled.database, runs, tell=tell, pace=SHORT))) == len(runs)
    assert len(told) == 2
    assert filled.broken_keys() == []


def test_a_lock_taken_in_the_middle_is_waited_for(
    filled: Filled, runs: list[Target], other: sqlite3.Connection
) -> None:
    """What was told as removed before stays removed."""
    outcomes = remove_rows(
        filled.database, runs, tell=lambda _: other.execute("COMMIT"), pace=SHORT
    )
    first = next(outcomes)
    other.execute("BEGIN IMMEDIATE")
    assert removed([first, *outcomes]) == len(runs)


def test_a_reader_is_waited_for_and_sees_what_it_saw(
    filled: Filled, runs: list[Target], other: sqlite3.Connection
) -> None:
    """With a rollback journal its lock keeps changes from being written; with a WAL it does not."""
    is_wal = other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    seen: list[int] = []

    def count() -> int:
        return int(other.execute("SELECT count(*) FROM runs").fetchone()[0])

    def tell(_: DatabaseBusy) -> None:
        seen.append(count())
        other.execute("COMMIT")

    other.execute("BEGIN")
    assert count() == len(runs)
    assert removed(list(remove_rows(filled.database, runs, tell=tell, pace=SHORT))) == len(runs)
    assert seen == ([] if is_wal else [len(runs)])
    assert count() == (len(runs) if is_wal else 0)


def test_told_to_stop_it_stops_between_two_batches(filled: Filled, runs: list[Target]) -> None:
    """What was told is removed, all else is there, and another call goes on."""
    told: list[Outcome] = []
    for outcome in remove_rows(filled.database, runs, keep_going=lambda: len(told) < 3, pace=SHORT):
        told.append(outcome)
    assert removed(told) == 3
    left = {run for (run,) in filled.file.execute("SELECT run_uuid FROM runs")}
    assert left == {item.id for item in runs} - {item.target.id for item in told}
    assert {run for (run,) in filled.file.execute("SELECT run_uuid FROM metrics")} == left
    assert filled.broken_keys() == []

    results = [item.result for item in remove_rows(filled.database, runs)]
    assert (results.count(Result.ABSENT), results.count(Result.REMOVED)) == (3, 3)


def test_told_to_stop_while_locked_out_it_stops(
    filled: Filled, runs: list[Target], other: sqlite3.Connection
) -> None:
    """Nobody has to wait for a lock that never comes."""
    other.execute("BEGIN EXCLUSIVE")
    told: list[DatabaseBusy] = []
    outcomes = remove_rows(
        filled.database, runs, tell=told.append, keep_going=lambda: len(told) < 2, pace=SHORT
    )
    assert list(outcomes) == []
    assert len(told) == 2


def test_left_in_the_middle_it_holds_no_lock(
    filled: Filled, runs: list[Target], other: sqlite3.Connection
) -> None:
    """Between two outcomes others can write, and so they can after the last one was looked at."""
    outcomes = remove_rows(filled.database, runs, pace=SHORT)
    next(outcomes)
    other.execute("UPDATE runs SET name = 'theirs'")
    outcomes.close()  # type: ignore[attr-defined]
    other.execute("BEGIN EXCLUSIVE")
    other.execute("COMMIT")
    assert len(filled.content()["runs"]) == len(runs) - 1


def test_nothing_is_set_for_good(filled: Filled, runs: list[Target]) -> None:
    """The journal mode is what it was, and no file is left beside the database."""
    path = Path(filled.path)
    mode, files = filled.file.execute("PRAGMA journal_mode"), sorted(path.parent.iterdir())
    list(remove_rows(filled.database, runs))
    assert sorted(path.parent.iterdir()) == files
    assert filled.file.execute("PRAGMA journal_mode") == mode


def test_a_missing_database_is_not_made(tmp_path: Path) -> None:
    """A mistyped path makes no file."""
    with pytest.raises(DatabaseMissing):
        list(remove_rows(Database.of_file(str(tmp_path / "none.db")), []))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    """It is left as it is."""
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"not a database at all" * 200)
    with pytest.raises(TrackingUnwritable, match="not a database"):
        list(remove_rows(Database.of_file(str(path)), [Target(RUN, "x")]))
    assert path.read_bytes() == b"not a database at all" * 200


def test_a_database_that_may_not_be_written_is_said() -> None:
    """Nothing is told as removed."""

    def body(directory: Path) -> None:
        filled = Filled(directory / "mlflow.db")
        target = filled.target(RUN, filled.world(2, "deleted"))
        Path(filled.path).chmod(0o444)
        with pytest.raises(TrackingUnwritable, match="readonly"):
            list(remove_rows(filled.database, [target]))

    as_nobody(body)
