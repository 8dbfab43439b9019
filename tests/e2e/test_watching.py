from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.programs import until
from tests.kit.server import Site, write_tree

pytestmark = pytest.mark.e2e

FILES = {"a.txt": b"a" * 10, "deep/b.txt": b"b" * 100}


def test_watch_works_beside_a_server_that_runs_already(site: Site) -> None:
    """`watch` quarantines and restores beside a plain `mlflow ui`, which outlives it."""
    mlflow = site.tracking
    plain = site.serve_plainly()
    run = mlflow.log_run(FILES)
    before = site.tree(run)
    watch = site.watch(known=1)

    mlflow.delete(run)
    watch.line(run.id, "moved to the trash")
    assert not site.place_of(run).exists()
    mlflow.restore(run)
    watch.line(run.id, "are back")

    assert site.tree(run) == before
    assert watch.stop() == 0
    assert plain.is_running
    assert mlflow.is_healthy()


@pytest.mark.parametrize("verb", ["watch", "ui"])
def test_second_monitor_on_one_database_is_refused_naming_the_first(site: Site, verb: str) -> None:
    """Whoever comes second ends with code 5, says who holds the lease, and starts nothing."""
    holder = site.watch(known=0)

    second = site.say(verb)

    assert second.code == 5
    assert f"process {holder.pid} on " in second.err
    assert "`mlflow-cleanup status`" in second.err
    assert "Traceback" not in second.err
    assert holder.is_running


def test_lease_of_a_killed_monitor_is_free_at_once(site: Site) -> None:
    """What a monitor that was killed left behind does not keep the next one from starting."""
    killed = site.watch(known=0)
    killed.end()

    assert site.watch(known=0).stop() == 0
    assert site.status()["running"] is None


def test_runs_deleted_before_the_first_start_are_reported_and_left_alone(site: Site) -> None:
    """The backlog is counted with its bytes; `--backlog include` takes it, and only that does."""
    mlflow = site.tracking
    site.serve_plainly()
    runs = [mlflow.log_run(FILES) for _ in range(3)]
    for run in runs[:2]:
        mlflow.delete(run)

    reporting = site.watch(known=1)
    line = reporting.line("deleted before", "--backlog include")
    assert "2 run(s)" in line
    assert "220 B" in line
    assert site.status()["backlog"] == {"runs": 2, "files": 4, "bytes": 220}
    assert "backlog      2 run(s), 220 B" in site.say("status").out
    assert all(site.place_of(run).exists() for run in runs)
    assert reporting.stop() == 0

    including = site.watch("--backlog", "include", known=1)
    for run in runs[:2]:
        including.line(run.id, "moved to the trash")
    assert [site.place_of(run).exists() for run in runs] == [False, False, True]
    mlflow.restore(runs[0])
    until(lambda: site.place_of(runs[0]).exists(), "a run of the backlog is back")


def _not_a_database(directory: Path) -> None:
    (directory / "mlflow.db").write_bytes(b"this is no database, " * 100)


def _empty_file(directory: Path) -> None:
    (directory / "mlflow.db").touch()


def _other_database(directory: Path) -> None:
    connection = sqlite3.connect(directory / "mlflow.db")
    connection.execute("CREATE TABLE music (title TEXT)")
    connection.commit()
    connection.close()


def _file_store(directory: Path) -> None:
    write_tree(directory / "mlruns" / "0", {"meta.yaml": b"experiment_id: '0'\n"})


def _nothing(_: Path) -> None:
    """Leave the directory empty."""


@pytest.mark.parametrize(
    ("prepare", "words", "told"),
    [
        (_nothing, ["watch"], "there is no tracking database at"),
        (_not_a_database, ["watch"], "is not an MLflow tracking database"),
        (_empty_file, ["watch"], "it has no MLflow tables"),
        (_other_database, ["watch"], "it has no MLflow tables"),
        (_file_store, ["watch"], "mlflow migrate-filestore"),
        (_file_store, ["ui"], "mlflow migrate-filestore"),
        (
            _nothing,
            ["watch", "--backend-store-uri", "mssql://user:secret@host/mlflow"],
            "PostgreSQL, MySQL and MariaDB can be watched",
        ),
        (
            _nothing,
            ["ui", "--backend-store-uri", "mssql://user:secret@host/mlflow"],
            "PostgreSQL, MySQL and MariaDB can be watched",
        ),
        (_nothing, ["watch", "--backend-store-uri", "http://127.0.0.1:5000"], "tracking server"),
        (_nothing, ["watch", "--backend-store-uri", "sqlite:///no/such/mlflow.db"], "no tracking"),
        (_nothing, ["ui", "--backend-store-uri", "sqlite:///no/such/mlflow.db"], "does not exist"),
        (_nothing, ["ui", "--retention", "soon"], "7d, 12h, 30m"),
        (_nothing, ["watch", "--retention", "-1d"], "7d, 12h, 30m"),
        (_nothing, ["status"], "there is no ledger"),
    ],
)
def test_bad_input_is_told_and_changes_nothing(
    bare_site: Site, prepare: Callable[[Path], None], words: list[str], told: str
) -> None:
    """What cannot be watched ends with code 2, a message that says what to do, and no trace."""
    prepare(bare_site.directory)
    before = sorted(bare_site.directory.rglob("*"))

    said = bare_site.say(*words)

    assert said.code == 2
    assert told in said.err
    assert "Traceback" not in said.err
    assert "secret" not in said.out + said.err
    assert sorted(bare_site.directory.rglob("*")) == before
