from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlflow_cleanup.cli.app import app
from mlflow_cleanup.ledger.lease import Lease
from mlflow_cleanup.ledger.ledger import Ledger
from tests.kit.tracking_db import TrackingFile, run_id
from tests.kit.trees import look


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work where two runs have files, and nothing was ever watched."""
    monkeypatch.chdir(tmp_path)
    db = TrackingFile.make(tmp_path / "mlflow.db")
    for number, user in ((1, "ada"), (2, "=cmd()")):
        db.run(run_id(number), user_id=user)
        place = tmp_path / "mlartifacts" / "0" / run_id(number) / "artifacts"
        place.mkdir(parents=True)
        (place / "last.ckpt").write_bytes(bytes(number * 1_000))
    return tmp_path


def say(*words: str) -> Result:
    """Run the verb."""
    return CliRunner().invoke(app, ["usage", *words], prog_name="mlflow-cleanup")


def test_it_shows_where_the_bytes_are(home: Path) -> None:
    """By kind, experiment, user and run, in one look."""
    said = say()

    assert said.exit_code == 0, said.output
    assert said.stdout.startswith("3.0 kB in 2 files under 1 artifact root")
    assert all(word in said.stdout for word in ("checkpoints", "experiment 0", "ada", run_id(2)))
    assert str(home / "mlflow.db") in said.stdout


@pytest.mark.usefixtures("home")
def test_only_what_is_asked_for_is_shown() -> None:
    """By some dimensions alone, in an order, and the first rows alone."""
    said = say("--json", "--by", "user", "--sort", "key", "--top", "1")

    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)["by"]
    assert list(told) == ["user"]
    assert [row["key"] for row in told["user"]["rows"]] == ["=cmd()"]
    assert told["user"]["others"] == {"count": 1, "files": 1, "bytes": 1_000}


@pytest.mark.usefixtures("home")
def test_csv_can_be_opened_by_a_spreadsheet() -> None:
    """Whatever users call themselves, nothing is computed."""
    said = say("--csv", "--by", "user")

    rows = list(csv.DictReader(io.StringIO(said.stdout)))
    assert [(row["key"], row["bytes"]) for row in rows] == [("'=cmd()", "2000"), ("ada", "1000")]


def test_patterns_come_from_the_file_too(home: Path) -> None:
    """What a checkpoint is called can be set where everything else is."""
    (home / "mlflow-cleanup.toml").write_text('checkpoint-pattern = ["*.nothing"]\n')

    told = json.loads(say("--json", "--by", "kind").stdout)

    assert [row["key"] for row in told["by"]["kind"]["rows"]] == ["run artifacts"]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "words", [["--csv", "--json"], ["--by", "nobody"], ["--top", "-1"], ["--sort", "luck"]]
)
def test_what_cannot_be_is_wrong_usage(words: list[str]) -> None:
    """It ends with code 2 and prints nothing."""
    said = say(*words)

    assert (said.exit_code, said.stdout) == (2, "")


def test_it_writes_nothing(home: Path) -> None:
    """Neither a ledger nor a marker nor a file beside the database; not a byte changes."""
    before = look(home)
    times = {path: os.lstat(home / path).st_mtime_ns for path in before}

    assert say().exit_code == 0
    assert look(home) == before
    assert {path: os.lstat(home / path).st_mtime_ns for path in before} == times


def test_it_works_while_the_monitor_does(home: Path) -> None:
    """Reading needs no lease."""
    state_dir = home / ".mlflow-cleanup"
    Ledger.open(state_dir).close()
    with Lease([state_dir], "the monitor"):
        assert say().exit_code == 0
