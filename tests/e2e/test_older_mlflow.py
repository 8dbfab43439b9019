"""A real server of MLflow 2.22, and mlflow-cleanup beside it."""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.kit.mlflow_gc import difference, rows_of
from tests.kit.older import gc_of_older, serve_older
from tests.kit.programs import Program, until
from tests.kit.rest import Run, Tracking
from tests.kit.server import Site, Tree, tree_of

pytestmark = pytest.mark.e2e

FILES = {"model/MLmodel": b"flavors: {}\n", "plots/a b/ä.png": b"p" * 1_000, "empty.txt": b""}


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with a server of MLflow 2.22 and `mlflow-cleanup watch` beside it.

    Each test keeps to runs of its own.
    """
    site = Site(tmp_path_factory.mktemp("older"))
    try:
        serve_older(site)
        site.watch(known=0)
        yield site
    finally:
        site.close()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Site]:
    """A site with a server of MLflow 2.22 alone."""
    site = Site(tmp_path / "plain")
    site.directory.mkdir()
    try:
        serve_older(site)
        yield site
    finally:
        site.close()


@pytest.fixture
def watch(older: Site) -> Program:
    """The program that watches."""
    return older.programs[1]


def log_trace(mlflow: Tracking, run: Run) -> str:
    """Log a trace as clients of that release do; returns its id."""
    note = {"key": "mlflow.sourceRun", "value": run.id}
    body = {"experiment_id": run.experiment, "timestamp_ms": 1, "request_metadata": [note]}
    info = mlflow.call("POST", "/api/2.0/mlflow/traces", {**body, "tags": []})["trace_info"]
    trace = str(info["request_id"])
    mlflow.put(f"{run.experiment}/traces/{trace}/artifacts/traces.json", b"{}")
    return trace


def test_deleted_run_goes_and_comes_back_with_restore_in_mlflow(
    older: Site, watch: Program
) -> None:
    """Its files are in the trash within moments, and at their place again after the restore."""
    mlflow = older.tracking
    run, other = mlflow.log_run(FILES), mlflow.log_run(FILES)
    before = older.tree(run)

    mlflow.delete(run)
    watch.line(run.id, "moved to the trash")
    assert not older.place_of(run).exists()
    mlflow.restore(run)
    watch.line(run.id, "are back")

    assert older.tree(run) == before == older.tree(other)
    assert {name: mlflow.download(run, name) for name in FILES} == FILES
    assert older.events(run) == ["quarantined", "restored"]


def test_deleted_experiment_takes_its_runs_and_gives_them_back(older: Site) -> None:
    """Deleting an experiment deletes its runs, restoring it makes all of them active."""
    mlflow = older.tracking
    experiment = mlflow.create_experiment()
    runs = [mlflow.log_run(FILES, experiment) for _ in range(2)]
    before = [older.tree(run) for run in runs]

    mlflow.delete_experiment(experiment)
    until(lambda: not any(older.place_of(run).exists() for run in runs), "both are in the trash")
    mlflow.restore_experiment(experiment)
    until(lambda: [older.tree(run) for run in runs] == before, "both are back")


@pytest.mark.parametrize("source", ["runs:/{run.id}/model", "{run.artifact_uri}/model", "copy"])
def test_registered_version_protects_its_run(older: Site, source: str) -> None:
    """Whatever it was registered from: by the run's id, by a URI, as a copy of another version."""
    mlflow = older.tracking
    run, unused = mlflow.log_run(FILES), mlflow.log_run(FILES)
    before = older.tree(run)
    if source == "copy":
        first = mlflow.register(f"runs:/{run.id}/model", run)
        name = mlflow.register(f"models:/{first}/1")
        mlflow.delete_version(first)
    else:
        name = mlflow.register(source.format(run=run), run)

    mlflow.delete(run)
    mlflow.delete(unused)
    until(lambda: older.events(unused) == ["quarantined"], "the other one is quarantined")
    until(lambda: run.id in older.kept(), "the run is kept")

    assert f"model version {name} version 1" in older.kept()[run.id]
    assert older.tree(run) == before
    assert mlflow.download(run, "model/MLmodel") == FILES["model/MLmodel"]


def test_pinned_run_child_run_and_traces_stay(older: Site) -> None:
    """What is pinned, nested in a deleted run, or a deleted run's trace is left where it is."""
    mlflow = older.tracking
    pinned = mlflow.log_run(FILES, tags={"mlflow-cleanup.keep": "yes"})
    parent = mlflow.log_run(FILES)
    child = mlflow.log_run(FILES, tags={"mlflow.parentRunId": parent.id})
    trace = log_trace(mlflow, parent)

    mlflow.delete(pinned)
    mlflow.delete(parent)
    until(lambda: older.events(parent) == ["quarantined"], "the parent is quarantined")
    until(lambda: pinned.id in older.kept(), "the pinned one is kept")

    assert older.kept()[pinned.id] == "pinned by an operator"
    assert older.tree(child) == older.tree(pinned)
    assert tree_of(older.root / "0" / "traces" / trace) == {
        "artifacts": None,
        "artifacts/traces.json": b"{}",
    }


def test_gc_beside_its_own(plain: Site, tmp_path: Path) -> None:
    """Both leave the same files, and the same rows but for what a removed run had as its input."""
    mlflow = plain.tracking
    experiment, dead = mlflow.create_experiment(), mlflow.create_experiment()
    live, gone = (mlflow.log_run(FILES, experiment) for _ in range(2))
    inside = mlflow.log_run(FILES, dead)
    _use(plain, live, gone, inside)
    mlflow.delete(gone)
    mlflow.delete_experiment(dead)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    shutil.copyfile(plain.database, theirs / "mlflow.db")
    shutil.copytree(plain.root, tmp_path / "aside")

    said = gc_of_older(plain, theirs)
    assert said.code == 0, said.err
    files_of_theirs = _files(plain.root)
    shutil.rmtree(plain.root)
    shutil.copytree(tmp_path / "aside", plain.root)
    said = plain.say("gc")
    assert said.code == 0, said.err

    ours, of_theirs = rows_of(plain.database), rows_of(theirs / "mlflow.db")
    assert difference(ours, of_theirs) == {}
    assert set(difference(of_theirs, ours)) == {"inputs", "input_tags"}
    assert {row[-1] for row in ours["inputs"]} == {live.id}
    assert _files(plain.root) == files_of_theirs
    assert {path.split("/")[1] for path in files_of_theirs} == {live.id}
    assert _broken_keys(plain.database) == []
    assert mlflow.stage(live) == "active"


def test_leaked_trace_is_found_and_swept(plain: Site) -> None:
    """The files of a deleted trace are an orphan's; those of a live one are not touched."""
    mlflow = plain.tracking
    experiment = mlflow.create_experiment()
    run = mlflow.log_run({"large": bytes(100_000)}, experiment)
    kept, lost = (log_trace(mlflow, run) for _ in range(2))
    body = {"experiment_id": experiment, "request_ids": [lost]}
    mlflow.call("POST", "/api/2.0/mlflow/traces/delete-traces", body)
    assert plain.say("adopt", str(plain.root)).code == 0

    said = plain.say("sweep", "--apply", "--json", "--take-orphans-at-once")

    assert said.code == 0, said.err
    assert [item["entity_id"] for item in said.json()["steps"]] == [lost]
    traces = plain.root / experiment / "traces"
    assert (traces / kept / "artifacts" / "traces.json").read_bytes() == b"{}"
    assert not (traces / lost).exists()


def _use(site: Site, *runs: Run) -> None:
    """Log metrics, params and a dataset for runs."""
    mlflow = site.tracking
    for run in runs:
        metric = {"key": "loss", "value": 0.5, "timestamp": 1, "step": 0}
        body = {"run_id": run.id, "metrics": [metric], "params": [{"key": "a", "value": "1"}]}
        mlflow.call("POST", "/api/2.0/mlflow/runs/log-batch", body)
        data = {"name": "data", "digest": uuid.uuid4().hex[:8], "source_type": "local"}
        inputs = [{"tags": [{"key": "a", "value": "b"}], "dataset": {**data, "source": "{}"}}]
        mlflow.call(
            "POST", "/api/2.0/mlflow/runs/log-inputs", {"run_id": run.id, "datasets": inputs}
        )


def _files(root: Path) -> Tree:
    return {
        name: content
        for name, content in tree_of(root).items()
        if content is not None and not name.startswith(".mlflow-cleanup")
    }


def _broken_keys(database: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA foreign_key_check").fetchall()
