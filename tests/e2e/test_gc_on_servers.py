"""`mlflow gc` and ours side by side on PostgreSQL and MariaDB, with rows that MLflow made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.mlflow_gc import Done, MLflow, difference, step
from tests.kit.served_ground import ServedGround

pytestmark = pytest.mark.e2e

DAY_MS = 86_400_000
OLD_MS = 1_700_000_000_000
ENTITIES = ("runs", "logged_models", "experiments")


@pytest.fixture(params=["postgresql", "mariadb"])
def ground(
    request: pytest.FixtureRequest, tmp_path: Path, mlflow: MLflow
) -> Iterator[ServedGround]:
    """A directory with artifacts, and a database on a server."""
    made = ServedGround.at(tmp_path / "home", mlflow, request.getfixturevalue(request.param))
    made.make(step("e", "experiment", name="telling"))
    yield made
    mlflow.ask("forget")


@pytest.fixture
def aside(tmp_path: Path) -> Path:
    """Where the state before is kept, for the second of both."""
    return tmp_path / "aside"


def deleted_run(ground: ServedGround, name: str, experiment: str = "e", **more: str) -> None:
    """Make a deleted run with files."""
    ground.make(step(name, "run", experiment=experiment, **more))
    ground.write(name)
    ground.make(step("_", "delete_run", run=name))


def rows(ground: ServedGround, *names: str) -> list[bool]:
    """Tell of entities whether their rows are there."""
    return [ground.has(name) for name in names]


def expect_same(theirs: Done, ours: Done) -> None:
    """Both removed the same entities, and ours left no row that theirs removed."""
    assert (theirs.code, ours.code) == (0, 0), (theirs.out, ours.out)
    for name in ENTITIES:
        assert difference({name: theirs.after.rows[name]}, ours.after.rows) == {}
        assert difference({name: ours.after.rows[name]}, theirs.after.rows) == {}
    assert difference(ours.after.rows, theirs.after.rows) == {}
    kept = {name for name, content in theirs.after.files.items() if content is not None}
    assert {name for name, content in ours.after.files.items() if content is not None} <= kept


def test_everything_deleted(ground: ServedGround, aside: Path) -> None:
    """Runs with a nested one, a dataset and a logged model; what is active stays."""
    deleted_run(ground, "a")
    ground.make(step("parent", "run", experiment="e"))
    ground.write("parent")
    ground.make(
        step("child", "run", experiment="e", parent="parent"),
        step("d", "dataset", run="parent", name="d1"),
        step("m", "model", experiment="e", run="parent"),
        step("x", "model_output", run="parent", model="m"),
        step("y", "model_metric", run="parent", model="m"),
    )
    ground.write("child", "m")
    ground.write("m")
    ground.make(step("_", "delete_model", model="m"), step("_", "delete_run", run="parent"))

    theirs, ours = ground.both(aside=aside)

    expect_same(theirs, ours)
    assert rows(ground, "a", "parent", "child", "m", "e") == [False, False, True, False, True]
    assert ground.place("child").is_dir()
    assert "s3cr" not in ours.out
    left = ours.after.rows
    assert left["inputs"] == left["input_tags"] == left["logged_model_metrics"] == set()


def test_by_age(ground: ServedGround, aside: Path) -> None:
    """Only what was deleted so long ago."""
    deleted_run(ground, "old")
    deleted_run(ground, "new")
    ground.sql("UPDATE runs SET deleted_time = ? WHERE run_uuid = ?", OLD_MS, ground.ids["old"])

    expect_same(*ground.both("--older-than", "2d", aside=aside))

    assert rows(ground, "old", "new") == [False, True]


def test_by_id(ground: ServedGround, aside: Path) -> None:
    """Only what is named."""
    for name in ("a", "b", "c"):
        deleted_run(ground, name)

    expect_same(*ground.both("--run-ids", f"{ground.ids['a']},{ground.ids['c']}", aside=aside))

    assert rows(ground, "a", "b", "c") == [False, True, False]
    assert len(ground.place("b").parents) > 0
    assert (ground.place("b") / "model.bin").exists()


def test_experiment(ground: ServedGround, aside: Path) -> None:
    """With its runs, datasets, models and traces; its neighbour stays whole."""
    ground.make(
        step("gone", "experiment", name="gone"),
        step("run", "run", experiment="gone"),
        step("d", "dataset", run="run", name="d1"),
        step("m", "model", experiment="gone", run="run"),
        step("t", "trace", experiment="gone", number=7),
        step("stays", "run", experiment="e"),
    )
    for name in ("run", "m", "stays"):
        ground.write(name)
    ground.make(
        step("_", "delete_model", model="m"), step("_", "delete_experiment", experiment="gone")
    )
    ids = ground.ids["gone"]

    theirs, ours = ground.both("--experiment-ids", ids, aside=aside)

    assert (theirs.code, ours.code) == (0, 0), (theirs.out, ours.out)
    assert rows(ground, "gone", "run", "m", "t", "e", "stays") == [False] * 4 + [True] * 2
    assert difference(ours.after.rows, theirs.after.rows) == {}
    assert [name for name, content in ours.after.files.items() if content] == [
        name for name in ours.after.files if name.endswith("model.bin")
    ]


def test_dry_run_changes_nothing(ground: ServedGround) -> None:
    """And says what would go, without the password of the database."""
    deleted_run(ground, "a")
    before = ground.state()
    said = ground.ours("--dry-run")
    assert said.code == 0
    assert said.after == before
    assert ground.ids["a"] in said.out
    assert "s3cr" not in said.out


def test_vacuum(ground: ServedGround) -> None:
    """What was freed is told, and nothing is lost."""
    deleted_run(ground, "a")
    ground.make(step("b", "run", experiment="e"))
    said = ground.ours("--vacuum")
    assert said.code == 0, said.out
    assert rows(ground, "a", "b") == [False, True]
