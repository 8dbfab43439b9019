from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mlflow_cleanup.cli.app import _VERBS, app
from mlflow_cleanup.ledger.ageing import read_clocks
from mlflow_cleanup.ledger.lease import Lease
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.report.status import status_values, trash_values
from tests.kit.tracking_db import TrackingFile, run_id
from tests.kit.values import item

HEAVY = ("sqlalchemy", "watchdog", "mlflow", "sqlite3", "alembic", "numpy")

LOOK = """
import json, sys
from mlflow_cleanup.cli.app import app
try:
    app.main(sys.argv[1:], prog_name="mlflow-cleanup")
except SystemExit as ended:
    assert ended.code == 0, ended.code
print()
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory with an empty tracking database."""
    monkeypatch.chdir(tmp_path)
    TrackingFile.make(tmp_path / "mlflow.db")
    (tmp_path / "mlartifacts").mkdir()
    return tmp_path


def say(*words: str) -> Result:
    """Run a verb as the command does."""
    return CliRunner().invoke(app, list(words), prog_name="mlflow-cleanup")


@pytest.mark.parametrize(
    "words", [["--help"], *([verb, "--help"] for verb in _VERBS)], ids=lambda words: words[0]
)
def test_help_is_quick_because_it_loads_nothing_heavy(words: Sequence[str]) -> None:
    """Help needs neither a database library, nor file events, nor MLflow."""
    told = subprocess.run(
        [sys.executable, "-c", LOOK, *words], check=True, capture_output=True, text=True
    )
    loaded = json.loads(told.stdout.splitlines()[-1])

    assert "Usage: mlflow-cleanup" in told.stdout
    assert [name for name in loaded if name.split(".")[0] in HEAVY] == []


def test_help_lists_every_verb() -> None:
    """Each verb stands there with what it is for, and so do the exit codes."""
    said = say("--help")

    assert said.exit_code == 0
    assert all(verb in said.output for verb in _VERBS)
    assert "5 another process holds the lease" in " ".join(said.output.split())


@pytest.mark.parametrize("words", [["clean"], ["--retention", "1d"], ["trash", "empty"]])
def test_an_unknown_verb_or_option_is_wrong_usage(words: Sequence[str]) -> None:
    """What is not there is told with code 2."""
    assert say(*words).exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["status", "--json"],
        ["trash", "list"],
        ["history"],
        ["confirm", "1f2e3d4c"],
        ["restore", "a"],
        ["trash", "purge", "--all", "--yes"],
    ],
)
def test_without_a_ledger_every_verb_says_so(home: Path, words: Sequence[str]) -> None:
    """Where nothing was ever watched there is nothing to tell, and no ledger is made."""
    said = say(*words)

    assert said.exit_code == 2
    assert "nothing has been watched from here yet" in said.stderr
    assert said.stdout == ""
    assert not (home / ".mlflow-cleanup").exists()


@pytest.fixture
def ledger(home: Path) -> Path:
    """Make a ledger with one item in the trash, and return the state directory."""
    state_dir = home / ".mlflow-cleanup"
    opened = Ledger.open(state_dir)
    moment = opened.now(read_clocks())
    opened.set_watching({"database": str(home / "mlflow.db"), "retention_s": 1.0})
    opened.items.put([item(1, size=Size(1, 1_500))], moment.aged_s)
    opened.close()
    return state_dir


def held(state_dir: Path) -> list[dict[str, Any]]:
    """Return what is in the trash, without the time of purge, which jitters with the clocks."""
    return [
        {key: value for key, value in item.items() if key != "purge_at"}
        for item in trash_values(state_dir)
    ]


def test_json_holds_the_values_that_the_text_is_made_of(ledger: Path) -> None:
    """`--json` gives what the report gives, and the text says the same."""
    assert json.loads(say("status", "--json").stdout) == status_values(ledger)
    [listed] = json.loads(say("trash", "list", "--json").stdout)
    assert listed.pop("purge_at")
    assert [listed] == held(ledger)
    assert json.loads(say("history", "--json").stdout) == []
    assert run_id(1) in say("trash", "list").stdout
    assert "1.5 kB" in say("status").stdout
    assert "nothing has happened yet" in say("history").stdout


@pytest.mark.parametrize(
    "words",
    [
        ["trash", "purge"],
        ["trash", "purge", "a", "--all"],
        ["trash", "purge", "--all"],
        ["trash", "purge", "nobody", "--yes"],
        ["trash", "purge", run_id(1)],
        ["restore"],
        ["history", "--limit", "0"],
        ["confirm", "1f2e3d4c"],
        ["adopt", "."],
        ["adopt", "missing"],
    ],
)
def test_what_is_not_clear_is_not_done(ledger: Path, words: Sequence[str]) -> None:
    """Without a terminal nothing is asked: whatever is not said in full is refused with code 2."""
    before = held(ledger)

    said = say(*words)

    assert said.exit_code == 2, said.output
    assert said.stderr
    assert held(ledger) == before


def test_a_held_lease_is_told(ledger: Path) -> None:
    """A verb that has to act says who is at work and ends with code 5."""
    with Lease([ledger], "the other one"):
        said = say("adopt", "mlartifacts")

    assert said.exit_code == 5
    assert "the other one" in said.stderr


def test_a_bad_setting_is_told_without_a_traceback(home: Path) -> None:
    """An error of ours is one clear message and its code."""
    (home / "mlflow-cleanup.toml").write_text("x = 1\n")

    said = say("status")

    assert said.exit_code == 2
    assert said.stderr.startswith("mlflow-cleanup: ")
    assert "unknown key(s) x" in said.stderr


def test_the_doctor_changes_nothing_and_says_what_it_found(home: Path) -> None:
    """A healthy place is told with code 0, and nothing is made there."""
    before = sorted(home.rglob("*"))

    said = say("doctor", "--json")

    findings = json.loads(said.stdout)
    assert said.exit_code == 0
    assert {finding["level"] for finding in findings} <= {"good", "note"}
    assert sorted(home.rglob("*")) == before


def test_the_doctor_tells_what_is_bad(home: Path) -> None:
    """A database that cannot be read is a bad finding, and code 3."""
    (home / "mlflow.db").write_bytes(b"nonsense" * 100)

    said = say("doctor")

    assert said.exit_code == 3
    assert "BAD   database" in said.stdout


def test_the_doctor_finds_what_the_ledger_does_not_know(home: Path) -> None:
    """After the ledger came back from a backup, newer items of the trash are nobody's."""
    trash = home / "mlartifacts" / RESERVED / "trash"
    (trash / "0123456789abcdef" / "content").mkdir(parents=True)
    Ledger.open(home / RESERVED).close()

    said = say("doctor")

    assert said.exit_code == 3
    assert "holds 1 item(s) that the ledger does not know" in said.stdout
    assert f"{trash}/ITEM/origin.json" in said.stdout


def test_the_command_is_a_module_too(home: Path) -> None:
    """`python -m mlflow_cleanup` is the same command under its own name."""
    told = subprocess.run(
        [sys.executable, "-m", "mlflow_cleanup", "status"],
        check=False,
        capture_output=True,
        text=True,
        cwd=home,
    )

    assert told.returncode == 2
    assert told.stderr.startswith("mlflow-cleanup: there is no ledger at ")
