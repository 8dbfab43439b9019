"""`mlflow gc` and ours side by side: each row of the guide's table, and what is the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from mlflow_cleanup.cli.gc import gc
from tests.kit.faults import before, once
from tests.kit.mlflow_gc import Done, Ground, MLflow, difference, step

pytestmark = pytest.mark.e2e

F = TypeVar("F", bound=Callable[..., None])

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
SHOWN: dict[str, str] = {}
"""Rows of the guide's table, by their first column, and the tests that show them."""

DAY_MS = 86_400_000
OLD_MS = 1_700_000_000_000


def shows(row: str) -> Callable[[F], F]:
    """Mark the test of one row of the table."""

    def mark(test: F) -> F:
        SHOWN[row] = test.__name__
        return test

    return mark


@pytest.fixture
def aside(tmp_path: Path) -> Path:
    """Where the state before is kept, for the second of both."""
    return tmp_path / "aside"


@pytest.fixture
def three(ground: Ground) -> Ground:
    """Three deleted runs of an experiment of its own, with files."""
    ground.make(step("e", "experiment", name="telling"))
    for name in ("a", "b", "c"):
        ground.make(step(name, "run", experiment="e"))
        ground.write(name)
        ground.make(step("_", "delete_run", run=name))
    return ground


def rows(ground: Ground, *names: str) -> list[bool]:
    """Tell of runs, models, traces, experiments and jobs whether their rows are there."""
    return [ground.has(name) for name in names]


def bytes_of(done: Done) -> int:
    """Count what is left on the disk."""
    return sum(len(content) for content in done.after.files.values() if content)


class TestDifferences:
    """What is different on purpose, in the order of the guide."""

    @shows("stops at the first run whose files it cannot delete")
    def test_file_that_cannot_be_deleted(self, three: Ground, aside: Path) -> None:
        """A location of a kind that MLflow cannot remove stands for it."""
        three.sql("UPDATE runs SET artifact_uri = 'ftp://127.0.0.1:9/x'")
        a, b = three.ids["a"], three.ids["b"]
        for id_ in (a, b):
            uri = str(three.root / three.ids["e"] / id_ / "artifacts")
            three.sql("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", uri, id_)
        order = ",".join(three.ids[name] for name in "abc")
        theirs, ours = three.both("--run-ids", order, aside=aside)
        assert theirs.code != 0
        assert three.ids["c"] in {row[0] for row in theirs.after.rows["runs"]}
        assert ours.code == 3
        assert rows(three, "a", "b", "c") == [False, False, True]
        assert f"run {three.ids['c']}: failed" in ours.out

    @shows(
        "stops at an id that is not there or not deleted, with the ids before it removed already"
    )
    def test_bad_id(self, three: Ground, aside: Path) -> None:
        """Which ones went before is left to chance there."""
        three.make(step("active", "run", experiment="e"))
        ids = [three.ids[name] for name in ("a", "b", "c", "active")]
        theirs, ours = three.both("--run-ids", ",".join(ids), aside=aside)
        assert theirs.code != 0
        assert "not in `deleted` lifecycle stage" in theirs.out
        assert ours.code == 2
        assert rows(three, "a", "b", "c", "active") == [True] * 4
        assert bytes_of(ours) == 30

    @shows('`--run-ids ""`, as of an empty variable, removes everything deleted')
    def test_empty_ids(self, three: Ground, aside: Path) -> None:
        """A script whose variable is not set means nothing of that."""
        theirs, ours = three.both("--run-ids", "", aside=aside)
        assert theirs.code == 0
        assert theirs.after.rows["runs"] == set()
        assert ours.code == 2
        assert rows(three, "a", "b", "c") == [True] * 3

    @shows("needs a tracking URI, and a live server for `mlflow-artifacts:`")
    def test_proxied_artifacts(self, ground: Ground, aside: Path) -> None:
        """Both are asked the same, with the destination that the server has."""
        ground.make(
            step("e", "experiment", name="x", location="mlflow-artifacts:/7"),
            step("a", "run", experiment="e"),
            step("_", "delete_run", run="a"),
        )
        place = ground.root / "7" / ground.ids["a"] / "artifacts"
        place.mkdir(parents=True)
        (place / "model.bin").write_bytes(b"x" * 10)
        destination = ("--artifacts-destination", str(ground.root))
        untracked = ground.theirs(*destination, tracked=False)
        assert untracked.code != 0
        assert "Tracking URL is not set" in untracked.out
        theirs, ours = ground.both(*destination, aside=aside)
        assert theirs.code != 0
        assert bytes_of(theirs) == 10
        assert ours.code == 0
        assert rows(ground, "a") == [False]
        assert bytes_of(ours) == 0

    @shows("never collects a run deleted before MLflow 1.28, and does not say so")
    def test_undated_run(self, three: Ground, aside: Path) -> None:
        """Its time of deletion is NULL."""
        three.sql("UPDATE runs SET deleted_time = NULL")
        theirs, ours = three.both(aside=aside)
        assert (theirs.code, theirs.out.strip()) == (0, "None")
        assert len(theirs.after.rows["runs"]) == 3
        assert ours.code == 0
        assert rows(three, "a", "b", "c") == [False] * 3
        assert bytes_of(ours) == 0

    @shows("a row goes though some of its files stayed")
    def test_root_that_cannot_be_seen(self, three: Ground, aside: Path) -> None:
        """MLflow takes a root that is not mounted for one that is empty already."""
        three.make(step("keep", "run", experiment="e"))
        assert three.ours("--older-than", "9999d").code == 0  # marks the root as ours
        away = three.home / "away"
        three.root.rename(away)
        theirs, ours = three.both(aside=aside)
        assert theirs.code == 0
        assert theirs.after.rows["runs"] == {
            row for row in ours.after.rows["runs"] if row[0] == three.ids["keep"]
        }
        assert bytes_of(theirs) == 30
        assert ours.code == 3
        assert rows(three, "a", "b", "c") == [True] * 3

    @shows("removes files that a registered version, another run or a dataset needs")
    def test_files_that_are_needed(self, three: Ground, aside: Path) -> None:
        """One by each of them; pinned ones stay as well."""
        a, b, c = (three.ids[name] for name in "abc")
        three.make(
            step("v", "version", source=f"{three.place('a')}/model", run=a),
            step("user", "run", experiment="e"),
            step("_", "dataset", run="user", name="d", source=f'{{"uri": "{three.place("b")}"}}'),
        )
        three.sql(
            "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?",
            f"{three.place('c')}/nested/{three.ids['user']}/artifacts",
            three.ids["user"],
        )
        theirs, ours = three.both(aside=aside)
        assert theirs.code == 0
        assert bytes_of(theirs) == 0
        assert ours.code == 0
        assert rows(three, "a", "b", "c") == [True] * 3
        assert bytes_of(ours) == 30
        assert all(f"run {id_}: kept" in ours.out for id_ in (a, b, c))

    @shows("removes an active run in a deleted experiment, and leaks its files")
    def test_active_run_inside(self, three: Ground, aside: Path) -> None:
        """It was restored on its own."""
        three.make(step("_", "delete_experiment", experiment="e"))
        three.make(step("_", "restore_run", run="a"))
        theirs, ours = three.both(aside=aside)
        assert theirs.code == 0
        assert theirs.after.rows["runs"] == set()
        assert bytes_of(theirs) == 10
        assert ours.code == 0
        assert rows(three, "a", "b", "c", "e") == [True, False, False, True]
        assert bytes_of(ours) == 10

    @shows(
        "a run deleted less than `--older-than` ago in an older experiment stops everything; "
        "a model goes"
    )
    def test_younger_run_inside(self, three: Ground, aside: Path) -> None:
        """With what went before left to chance."""
        three.make(step("_", "delete_experiment", experiment="e"))
        three.sql("UPDATE experiments SET last_update_time = ?", OLD_MS)
        three.sql("UPDATE runs SET deleted_time = ?", OLD_MS)
        three.sql(
            "UPDATE runs SET deleted_time = deleted_time + 1e12 WHERE run_uuid = ?", three.ids["a"]
        )
        theirs, ours = three.both("--older-than", "1d", aside=aside)
        assert theirs.code != 0
        assert "is not older than the required age" in theirs.out
        assert ours.code == 0
        assert rows(three, "a", "b", "c", "e") == [True, False, False, True]

    def test_younger_model_inside(self, three: Ground, aside: Path) -> None:
        """Of that row, too: MLflow does not look at how old a model is that goes along."""
        three.make(step("m", "model", experiment="e"), step("_", "delete_model", model="m"))
        three.make(step("_", "delete_experiment", experiment="e"))
        three.sql("UPDATE experiments SET last_update_time = ?", OLD_MS)
        three.sql("UPDATE runs SET deleted_time = ?", OLD_MS)
        theirs, ours = three.both("--older-than", "1d", aside=aside)
        assert theirs.code == ours.code == 0
        assert theirs.after.rows["logged_models"] == set()
        assert rows(three, "a", "b", "c", "m", "e") == [False, False, False, True, True]

    @shows("removes a run that somebody restored meanwhile")
    def test_restored_meanwhile(self, three: Ground, aside: Path) -> None:
        """All of them are restored while the first files are being removed."""
        restore = "UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL"
        three.save(aside)
        theirs = three.theirs("--run-ids", three.ids["a"], meanwhile=restore)
        assert theirs.code == 0
        assert rows(three, "a", "b", "c") == [False, True, True]
        three.load(aside)

        def restored() -> None:
            three.sql(restore)

        with before("unlink", once(restored, when="model.bin")):
            three.ours()
        assert rows(three, "a", "b", "c") == [True] * 3

    @shows("leaks model and trace files of a deleted experiment, empty directories, `inputs` rows")
    def test_leaks(self, ground: Ground, aside: Path) -> None:
        """Everything that hangs on an experiment."""
        ground.make(
            step("e", "experiment", name="telling"),
            step("a", "run", experiment="e"),
            step("m", "model", experiment="e", run="a"),
            step("_", "model_output", run="a", model="m"),
            step("_", "dataset", run="a", name="d"),
            step("t", "trace", experiment="e", number=1),
        )
        for name in ("a", "m", "t"):
            ground.write(name)
        ground.make(step("_", "delete_experiment", experiment="e"))
        theirs, ours = ground.both(aside=aside)
        assert theirs.code == ours.code == 0
        assert bytes_of(theirs) == 20
        assert len(theirs.after.rows["inputs"]) == 2
        assert theirs.after.rows["input_tags"]
        assert f"mlartifacts/{ground.ids['e']}/{ground.ids['a']}" in theirs.after.files
        gone = difference(theirs.after.rows, ours.after.rows)
        assert gone.keys() == {"inputs", "input_tags"}
        assert difference(ours.after.rows, theirs.after.rows) == {}
        assert {name for name in ours.after.files if name.startswith("mlartifacts/")} == set()

    @shows("loses metrics of an active logged model with the run that wrote them")
    def test_metrics_of_a_model(self, ground: Ground, aside: Path) -> None:
        """A foreign key cascades there."""
        ground.make(
            step("a", "run", experiment="default"),
            step("m", "model", experiment="default", run="a"),
            step("_", "model_metric", run="a", model="m"),
        )
        ground.write("a")
        ground.make(step("_", "delete_run", run="a"))
        theirs, ours = ground.both(aside=aside)
        assert theirs.code == 0
        assert theirs.after.rows["logged_model_metrics"] == set()
        assert ours.code == 0
        assert len(ours.after.rows["logged_model_metrics"]) == 1
        assert rows(ground, "a", "m") == [True, True]

    @shows("removes a run that never ended and is still being written to")
    def test_run_that_is_written_to(self, ground: Ground, aside: Path) -> None:
        """A process that never heard of the delete."""
        ground.make(step("a", "run", experiment="default", ended=False))
        ground.write("a")
        ground.make(step("_", "delete_run", run="a"))
        theirs, ours = ground.both(aside=aside)
        assert theirs.after.rows["runs"] == set()
        assert ours.code == 0
        assert rows(ground, "a") == [True]
        assert bytes_of(ours) == 10

    @shows("removes an experiment with a guardrail in use as far as it gets")
    def test_guardrail(self, three: Ground, aside: Path) -> None:
        """A scorer of it guards a gateway endpoint."""
        for query in (
            f"INSERT INTO scorers VALUES ({three.ids['e']}, 'telling', 's')",
            "INSERT INTO scorer_versions VALUES ('s', 1, '{}', 1)",
            "INSERT INTO guardrails (guardrail_id, name, scorer_id, scorer_version, stage, action, "
            "created_at, last_updated_at) VALUES ('g', 'telling', 's', 1, 'x', 'y', 1, 1)",
            "INSERT INTO endpoints (endpoint_id, created_at, last_updated_at) VALUES ('p', 1, 1)",
            "INSERT INTO guardrail_configs (endpoint_id, guardrail_id, created_at) "
            "VALUES ('p', 'g', 1)",
        ):
            three.sql(query)
        three.make(step("_", "delete_experiment", experiment="e"))
        theirs, ours = three.both(aside=aside)
        assert theirs.code != 0
        assert bytes_of(theirs) == 0
        assert theirs.after.rows["runs"] == set()
        assert ours.code == 0
        assert ours.after.rows["guardrail_configs"]
        assert rows(three, "e") == [True]
        assert "guarded by a scorer of it" in ours.out

    @shows("removes an experiment though a live run elsewhere uses a model of it")
    def test_experiment_that_stays(self, ground: Ground, aside: Path) -> None:
        """One of its two models is the input of such a run."""
        ground.make(
            step("e", "experiment", name="telling"),
            step("used", "model", experiment="e"),
            step("unused", "model", experiment="e"),
            step("user", "run", experiment="default"),
            step("_", "model_input", run="user", model="used"),
        )
        for name in ("used", "unused"):
            ground.write(name)
        ground.make(step("_", "delete_experiment", experiment="e"))
        theirs, ours = ground.both(aside=aside)
        assert theirs.code == 0
        assert theirs.after.rows["logged_models"] == set()
        assert ours.code == 0
        assert rows(ground, "used", "unused", "e") == [True] * 3
        assert bytes_of(ours) == 20
        assert "its experiment stays" in ours.out

    def test_every_row_of_the_table_is_shown(self) -> None:
        """The guide tells of each difference, and of none that is not there."""
        (part,) = re.findall(
            r"^\| `mlflow gc` \| `mlflow-cleanup gc` \|$(.*?)^$", GUIDE.read_text(), re.M | re.S
        )
        told = re.findall(r"^\| ([^|]*[^ |-]) \|", part, re.M)
        assert sorted(told) == sorted(SHOWN)


def same(theirs: Done, ours: Done) -> None:
    """Both left the same rows and the same files; empty directories do not count."""
    assert theirs.code == ours.code == 0, (theirs.out, ours.out)
    leaked = ("inputs", "input_tags")
    for name, found in theirs.after.rows.items():
        if name not in leaked:
            assert ours.after.rows[name] == found, name
    files = [
        {k: v for k, v in done.after.files.items() if v is not None} for done in (theirs, ours)
    ]
    assert files[0] == files[1]


class TestTheSame:
    """Case by case: what `mlflow gc` removes, and nothing else."""

    def test_options(self, mlflow: MLflow) -> None:
        """Every option of MLflow's is one of ours."""
        theirs = set(mlflow.ask("options")["options"])
        ours = {option for param in gc.params for option in param.opts}
        assert len(theirs) > 10
        assert theirs - ours == set()

    def test_all_deleted_runs(self, three: Ground, aside: Path) -> None:
        """And no active one."""
        three.make(step("active", "run", experiment="e"))
        three.write("active")
        same(*three.both(aside=aside))
        assert rows(three, "a", "b", "c", "active", "e") == [False, False, False, True, True]

    def test_by_age(self, three: Ground, aside: Path) -> None:
        """By when each was deleted."""
        three.sql("UPDATE runs SET deleted_time = ? WHERE run_uuid != ?", OLD_MS, three.ids["a"])
        same(*three.both("--older-than", "1d2h3m4s", aside=aside))
        assert rows(three, "a", "b", "c") == [True, False, False]

    def test_by_id(self, three: Ground, aside: Path) -> None:
        """Two of three."""
        ids = f"{three.ids['a']},{three.ids['c']}"
        same(*three.both("--run-ids", ids, aside=aside))
        assert rows(three, "a", "b", "c") == [False, True, False]

    def test_by_id_and_age(self, three: Ground, aside: Path) -> None:
        """Both refuse one that is too young."""
        theirs, ours = three.both("--run-ids", three.ids["a"], "--older-than", "1d", aside=aside)
        assert theirs.code != 0
        assert ours.code == 2
        assert theirs.after == ours.after

    @pytest.mark.parametrize("words", [["--older-than", "soon"], ["--older-than", "30"]])
    def test_age_that_cannot_be_read(self, three: Ground, aside: Path, words: list[str]) -> None:
        """Both refuse."""
        theirs, ours = three.both(*words, aside=aside)
        assert theirs.code != 0
        assert ours.code == 2
        assert theirs.after == ours.after

    def test_by_experiment(self, three: Ground, aside: Path) -> None:
        """With its runs; another deleted experiment stays, and so does what is in it."""
        three.make(
            step("f", "experiment", name="other"),
            step("d", "run", experiment="f"),
            step("_", "delete_experiment", experiment="e"),
            step("_", "delete_experiment", experiment="f"),
        )
        three.sql("UPDATE runs SET deleted_time = NULL WHERE run_uuid = ?", three.ids["d"])
        three.sql("UPDATE runs SET deleted_time = ? WHERE run_uuid = ?", OLD_MS, three.ids["d"])
        same(
            *three.both(
                "--experiment-ids", three.ids["e"], "--run-ids", three.ids["a"], aside=aside
            )
        )
        assert rows(three, "a", "b", "c", "e", "d", "f") == [False] * 4 + [True, True]

    def test_experiments_by_age(self, three: Ground, aside: Path) -> None:
        """By when they were changed last."""
        three.make(step("_", "delete_experiment", experiment="e"))
        same(*three.both("--older-than", "1d", aside=aside))
        assert rows(three, "a", "e") == [True, True]

    def test_active_experiment(self, three: Ground, aside: Path) -> None:
        """Named, it is refused by both."""
        theirs, ours = three.both("--experiment-ids", three.ids["e"], aside=aside)
        assert theirs.code != 0
        assert ours.code == 2
        assert theirs.after == ours.after

    def test_nested_runs(self, three: Ground, aside: Path) -> None:
        """A child stays when its parent goes."""
        three.make(
            step("parent", "run", experiment="e"),
            step("child", "run", experiment="e", parent="parent"),
        )
        three.write("child")
        three.make(step("_", "delete_run", run="parent"))
        same(*three.both(aside=aside))
        assert rows(three, "parent", "child") == [False, True]

    def test_logged_models(self, ground: Ground, aside: Path) -> None:
        """Deleted ones, all or by id."""
        for name in ("m", "n", "active"):
            ground.make(step(name, "model", experiment="default"))
            ground.write(name)
        ground.make(step("_", "delete_model", model="m"), step("_", "delete_model", model="n"))
        same(*ground.both("--logged-model-ids", ground.ids["m"], aside=aside))
        assert rows(ground, "m", "n", "active") == [False, True, True]
        same(*ground.both(aside=aside.with_name("again")))
        assert rows(ground, "n", "active") == [False, True]

    def test_datasets_and_tags(self, three: Ground, aside: Path) -> None:
        """Datasets stay with their experiment, tags go with their run."""
        three.make(
            step("d", "run", experiment="e"),
            step("_", "dataset", run="d", name="data"),
            step("_", "delete_run", run="d"),
        )
        theirs, ours = three.both(aside=aside)
        same(theirs, ours)
        assert ours.after.rows["datasets"]
        assert ours.after.rows["tags"] == ours.after.rows["inputs"] == set()

    @pytest.mark.parametrize("words", [[], ["--jobs"], ["--jobs", "--older-than", "1d"]])
    def test_jobs(self, ground: Ground, aside: Path, words: list[str]) -> None:
        """Finished ones where asked for, by age too."""
        ground.make(step("running", "job", ends=False), step("old", "job"), step("young", "job"))
        ground.sql("UPDATE jobs SET creation_time = ? WHERE id = ?", OLD_MS, ground.ids["old"])
        same(*ground.both(*words, aside=aside))
        assert ground.has("running")
        assert ground.has("old") is (words == [])

    def test_jobs_by_id(self, ground: Ground, aside: Path) -> None:
        """One that is not there is passed over."""
        ground.make(step("a", "job"), step("b", "job"), step("running", "job", ends=False))
        ids = f"{ground.ids['a']},{ground.ids['running']},none"
        same(*ground.both("--job-ids", ids, aside=aside))
        assert rows(ground, "a", "b", "running") == [False, True, True]

    def test_artifacts_that_are_missing(self, three: Ground, aside: Path) -> None:
        """No reason to keep a row, where the root can be seen."""
        (three.place("a") / "model.bin").unlink()
        three.place("a").rmdir()
        same(*three.both(aside=aside))
        assert rows(three, "a", "b", "c") == [False] * 3


ENABLED = {"MLFLOW_ENABLE_WORKSPACES": "true"}


class TestWorkspaces:
    """Flags and variables, as MLflow reads them."""

    @pytest.fixture
    def shared(self, ground: Ground) -> Ground:
        """A deleted run in each of two workspaces."""
        ground.make(step("a", "run", experiment="default"), step("_", "delete_run", run="a"))
        ground.sql("INSERT INTO workspaces (name) VALUES ('team')")
        ground.make(
            step("e", "experiment", name="telling"),
            step("b", "run", experiment="e"),
            workspace="team",
        )
        ground.make(step("_", "delete_run", run="b"), workspace="team")
        for name in ("a", "b"):
            ground.write(name)
        return ground

    @pytest.mark.parametrize(
        ("words", "environment", "left"),
        [
            (["--workspace", "team"], {}, ["a"]),
            (["--workspace", "default"], {}, ["b"]),
            ([], {**ENABLED, "MLFLOW_WORKSPACE": "team"}, ["a"]),
            ([], {"MLFLOW_WORKSPACE": "team"}, ["a"]),
            ([], ENABLED, ["b"]),
            (["--all-workspaces"], {}, []),
            (["--all-workspaces"], {"MLFLOW_WORKSPACE": "team"}, []),
        ],
    )
    def test_which(
        self,
        shared: Ground,
        aside: Path,
        words: list[str],
        environment: dict[str, str],
        left: list[str],
    ) -> None:
        """The same ones go."""
        same(*shared.both(*words, aside=aside, environment=environment))
        assert [name for name in ("a", "b") if shared.has(name)] == left

    @pytest.mark.parametrize("words", [[], ["--workspace", "team", "--all-workspaces"]])
    def test_refused(self, shared: Ground, aside: Path, words: list[str]) -> None:
        """Nothing said where there are several, and both said."""
        theirs, ours = shared.both(*words, aside=aside)
        assert theirs.code != 0
        assert ours.code == 2
        assert theirs.after == ours.after
        assert rows(shared, "a", "b") == [True, True]

    def test_named_run_of_another_one(self, shared: Ground, aside: Path) -> None:
        """Not there for both; with all workspaces it is."""
        words = ["--workspace", "default", "--run-ids", shared.ids["b"]]
        theirs, ours = shared.both(*words, aside=aside)
        assert theirs.code != 0
        assert ours.code == 2
        assert theirs.after == ours.after
        words = ["--all-workspaces", "--run-ids", shared.ids["b"]]
        same(*shared.both(*words, aside=aside.with_name("again")))
        assert rows(shared, "a", "b") == [True, False]
