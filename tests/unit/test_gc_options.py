"""The flags of `mlflow-cleanup gc`: how they are read, and which are refused before anything."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from mlflow_cleanup.cli.app import app
from mlflow_cleanup.cli.gc import gc, selection_of
from mlflow_cleanup.errors import BadUsage
from mlflow_cleanup.model.deleted import Selection
from tests.kit.world import World, tree

WORKSPACES = {"MLFLOW_ENABLE_WORKSPACES": "true"}


@pytest.fixture(autouse=True)
def without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of MLflow's is set."""
    for name in ("MLFLOW_WORKSPACE", "MLFLOW_ENABLE_WORKSPACES", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def read(*words: str) -> Selection:
    """Read flags as the command does."""
    with gc.make_context("gc", list(words)) as context:
        return selection_of(context, context.params)


def test_without_flags_everything_deleted_is_meant() -> None:
    """But no jobs, as in MLflow."""
    assert read() == Selection()


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30d", timedelta(days=30)),
        ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("1.2d3h4m5s", timedelta(days=1.2, hours=3, minutes=4, seconds=5)),
        ("8h", timedelta(hours=8)),
        ("2m4s", timedelta(minutes=2, seconds=4)),
        (".5d", timedelta(hours=12)),
        ("1.h", timedelta(hours=1)),
        ("0s", timedelta(0)),
        ("0", timedelta(0)),
    ],
)
def test_older_than(text: str, length: timedelta) -> None:
    """MLflow's own examples mean the same here."""
    assert read("--older-than", text).older_than == length


@pytest.mark.parametrize("text", ["", " ", "30", "d", "1x", "-1d", "1 d", "1d ago", "1..2d"])
def test_older_than_that_cannot_be_read(text: str) -> None:
    """An empty one would let everything go, which no script means by a variable that is not set."""
    with pytest.raises(BadUsage):
        read("--older-than", text)


@pytest.mark.parametrize(
    ("flag", "field"),
    [
        ("--run-ids", "run_ids"),
        ("--experiment-ids", "experiment_ids"),
        ("--logged-model-ids", "logged_model_ids"),
        ("--job-ids", "job_ids"),
    ],
)
class TestIds:
    """Lists of ids, separated by commas."""

    def test_each_is_taken(self, flag: str, field: str) -> None:
        """Blanks around them do not matter."""
        assert getattr(read(flag, "a, b,,c "), field) == ("a", "b", "c")

    @pytest.mark.parametrize("text", ["", ",", " ", " , "])
    def test_none_is_refused(self, flag: str, field: str, text: str) -> None:
        """MLflow takes an empty list for all, as of a variable that is not set."""
        with pytest.raises(BadUsage, match=f"{flag} names nothing"):
            read(flag, text)
        assert getattr(read(), field) is None


def test_job_ids_mean_jobs() -> None:
    """With or without --jobs."""
    assert read("--jobs") == Selection(takes_jobs=True)
    assert read("--job-ids", "j") == Selection(takes_jobs=True, job_ids=("j",))


class TestWorkspaces:
    """Which workspace is meant: flags, variables, and MLflow's default."""

    @pytest.mark.parametrize(
        ("words", "environment", "meant"),
        [
            ([], {}, None),
            ([], {"MLFLOW_ENABLE_WORKSPACES": "false"}, None),
            ([], WORKSPACES, "default"),
            ([], {"MLFLOW_ENABLE_WORKSPACES": "1"}, "default"),
            ([], {"MLFLOW_ENABLE_WORKSPACES": "TRUE"}, "default"),
            ([], {"MLFLOW_WORKSPACE": "team"}, "team"),
            ([], {**WORKSPACES, "MLFLOW_WORKSPACE": "team"}, "team"),
            (["--workspace", "other"], {"MLFLOW_WORKSPACE": "team"}, "other"),
            (["--workspace", "other"], {}, "other"),
            (["--all-workspaces"], WORKSPACES, None),
            (["--all-workspaces"], {"MLFLOW_WORKSPACE": "team"}, None),
        ],
    )
    def test_which_is_meant(
        self,
        monkeypatch: pytest.MonkeyPatch,
        words: list[str],
        environment: dict[str, str],
        meant: str | None,
    ) -> None:
        """As MLflow decides it."""
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        selection = read(*words)
        assert selection.workspace == meant
        assert selection.tolerates_missing is ("--all-workspaces" in words)

    def test_one_and_all_contradict(self) -> None:
        """Unless the one is only in the environment."""
        with pytest.raises(BadUsage, match="exclude each other"):
            read("--workspace", "team", "--all-workspaces")


def test_files_only_and_rows_only_contradict() -> None:
    """Nothing would be left to remove."""
    with pytest.raises(BadUsage, match="leave nothing"):
        read("--artifacts-only", "--metadata-only")


def test_retention_is_none_unless_told() -> None:
    """As MLflow's, it removes at once."""
    (retention,) = (option for option in gc.params if option.name == "retention")
    assert retention.default == "0"


def test_every_option_says_what_it_does() -> None:
    """In `--help`, as it is all that many look at."""
    options = [option for option in gc.params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize(
    "words",
    [
        ["--run-ids", ""],
        ["--run-ids", "f" * 32],
        ["--experiment-ids", "0"],
        ["--logged-model-ids", "m-none"],
        ["--older-than", "soon"],
        ["--workspace", "nowhere"],
        ["--workspace", "default", "--all-workspaces"],
        ["--artifacts-only", "--metadata-only"],
    ],
)
def test_bad_usage_touches_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Though a run is deleted, and everything else could be done; exit code 2."""
    run = world.run({"a": 10})
    world.delete(run)
    monkeypatch.chdir(world.home)
    before: dict[str, Any] = tree(world.home)

    said = CliRunner().invoke(app, ["gc", *words], prog_name="mlflow-cleanup")

    assert said.exit_code == 2, said.output
    assert tree(world.home) == before


def test_nothing_is_made_where_there_is_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong directory stays as it is."""
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["gc"], prog_name="mlflow-cleanup")
    assert said.exit_code == 2
    assert list(tmp_path.iterdir()) == []
