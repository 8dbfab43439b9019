from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from mlflow_cleanup.cli.app import app
from mlflow_cleanup.cli.serve import server, ui
from mlflow_cleanup.errors import BadUsage

THEIRS = {
    "--backend-store-uri",
    "--read-replica-backend-store-uri",
    "--registry-store-uri",
    "--default-artifact-root",
    "--artifacts-destination",
    "--host",
    "--port",
    "--workers",
    "--static-prefix",
    "--allowed-hosts",
    "--cors-allowed-origins",
    "--x-frame-options",
    "--gunicorn-opts",
    "--uvicorn-opts",
    "--waitress-opts",
    "--app-name",
    "--secrets-cache-ttl",
    "--secrets-cache-max-size",
    "--expose-prometheus",
    "--trace-archival-config",
    "--workspace-store-uri",
    "--serve-artifacts",
    "--no-serve-artifacts",
    "--artifacts-only",
    "--disable-security-middleware",
    "--dev",
    "--enable-workspaces",
    "--disable-workspaces",
    "-h",
    "-p",
    "-w",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty directory, without variables of ours."""
    for name in list(os.environ):
        if name.startswith("MLFLOW_CLEANUP"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def split(*words: str, command: click.Command = ui) -> tuple[str, list[str]]:
    """Return the retention among our options, and the words that go to MLflow."""
    context = command.make_context("ui", list(words))
    return context.params["retention"], context.meta["mlflow"]


@pytest.mark.parametrize("command", [ui, server])
@pytest.mark.parametrize(
    ("words", "retention", "theirs"),
    [
        ([], "7d", []),
        (["--retention", "1d"], "1d", []),
        (["--retention=1d"], "1d", []),
        (["--port", "5001"], "7d", ["--port", "5001"]),
        (["-p5001"], "7d", ["-p5001"]),
        (["--retention", "1d", "--port", "5001"], "1d", ["--port", "5001"]),
        (["--retention=1d", "--dev", "--port=1"], "1d", ["--dev", "--port=1"]),
        (["--no-file-events", "--retention", "1d", "-h", "::"], "1d", ["-h", "::"]),
        (["--allow-unknown-schema", "--dev"], "7d", ["--dev"]),
        (["--artifact-root", "/a", "--artifact-root=/b", "--dev"], "7d", ["--dev"]),
        (["--retention", "1d", "--", "--port", "1"], "1d", ["--port", "1"]),
        (["--", "--retention", "1d"], "7d", ["--retention", "1d"]),
        (["--dev", "--", "--retention", "1d"], "7d", ["--dev", "--retention", "1d"]),
        (["--", "--dev", "--", "x"], "7d", ["--dev", "--", "x"]),
        (["--dev", "--", "x", "--", "y"], "7d", ["--dev", "x", "--", "y"]),
        (["--dev", "--help"], "7d", ["--dev", "--help"]),
        (["word"], "7d", ["word"]),
        ([""], "7d", [""]),
        (["--retention", "1d", "--app-name", "a b", "é"], "1d", ["--app-name", "a b", "é"]),
    ],
)
def test_ours_come_first_and_the_rest_is_mlflows(
    words: list[str], retention: str, theirs: list[str], command: click.Command
) -> None:
    """From the first foreign word on everything goes to MLflow, word by word as it came."""
    assert split(*words, command=command) == (retention, theirs)


@pytest.mark.parametrize(
    "late",
    [
        ["--retention", "1d"],
        ["--retention=1d"],
        ["--no-file-events"],
        ["--state-dir=/s"],
        ["--config", "x"],
    ],
)
@pytest.mark.parametrize("before", [["--port", "5001"], ["-p5001"], ["--dev"], ["x"]])
def test_our_option_after_mlflows_is_refused(before: list[str], late: list[str]) -> None:
    """An option of ours that would silently go to MLflow is told instead, and nothing starts."""
    with pytest.raises(BadUsage, match=late[0].partition("=")[0]):
        split(*before, *late)


def test_an_option_without_its_value_is_wrong_usage() -> None:
    """The last word may not be an option that needs a value."""
    with pytest.raises(click.UsageError) as told:
        split("--retention")

    assert told.value.exit_code == 2


def ours() -> set[str]:
    """Name every option of ours beside MLflow's."""
    return {name for param in ui.params for name in (*param.opts, *param.secondary_opts)} | {
        "--help"
    }


def test_no_option_of_ours_is_one_of_mlflows() -> None:
    """Names of MLflow 3.17's server, and of ours, never mean two things."""
    assert ours() & THEIRS == set()
    assert "--retention" in ours()


@pytest.mark.e2e
def test_no_option_of_ours_is_one_of_the_installed_mlflows() -> None:
    """The installed MLflow's own help names no option of ours, but for --help."""
    told = subprocess.run(
        [sys.executable, "-m", "mlflow", "server", "--help"],
        check=True,
        capture_output=True,
        text=True,
    )
    theirs = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", told.stdout))

    assert theirs >= THEIRS
    assert ours() & theirs == {"--help"}


def test_the_help_says_how_words_are_split(capsys: pytest.CaptureFixture[str]) -> None:
    """`ui --help` is ours, and says where MLflow's is."""
    with pytest.raises(SystemExit) as ended:
        app.main(["ui", "--help"], prog_name="mlflow-cleanup")

    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "--retention" in said
    assert "mlflow ui --help" in said
