from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from tests.kit.programs import Program, until
from tests.kit.rest import Run
from tests.kit.server import Site, write_tree

pytestmark = pytest.mark.e2e

FILES = {"model/MLmodel": b"flavors: {}\n", "model/weights.bin": b"w" * 1_000}

OTHER_OWNER = b'{"format": 1, "database": "/other/mlflow.db", "experiments": {"0": 1}}'

CHILDREN = ("metrics", "latest_metrics", "params", "tags")


@pytest.mark.parametrize(
    "source",
    [
        "runs:/{run.id}/model",
        "mlflow-artifacts:/{run.experiment}/{run.id}/artifacts/model",
        "models:/{model}/1",
    ],
)
def test_run_whose_files_a_registered_version_uses_is_kept(served: Site, source: str) -> None:
    """A deleted run stays, with the version's name as the reason, while a version loads from it."""
    mlflow = served.tracking
    run = mlflow.log_run(FILES)
    before = served.tree(run)
    first = mlflow.register(f"runs:/{run.id}/model", run) if "{model}" in source else ""
    name = mlflow.register(source.format(run=run, model=first), run)

    mlflow.delete(run)
    until(lambda: run.id in served.kept(), "the run is kept")

    claim = f"a live entity still claims it (model version {first or name} version 1)"
    assert served.kept()[run.id] == claim
    assert served.events(run) == ["kept"]
    assert served.tree(run) == before


def test_line_says_why_files_are_kept(served: Site) -> None:
    """A kept run gets one line with the reason, and `status` lists it."""
    (program,) = served.programs
    run = served.tracking.log_run(FILES)
    name = served.tracking.register(f"runs:/{run.id}/model", run)

    served.tracking.delete(run)
    line = program.line(run.id, "kept")

    assert f"model version {name} version 1" in line
    assert program.ours(run.id) == [line]
    assert f"kept         run {run.id}: " in served.say("status").out


def test_keep_tag_keeps_a_run_or_a_whole_experiment(served: Site) -> None:
    """`mlflow-cleanup.keep` on a run or its experiment keeps its files, unless it says false."""
    mlflow = served.tracking
    experiment = mlflow.create_experiment()
    mlflow.tag_experiment(experiment, "mlflow-cleanup.keep", "true")
    by_run = mlflow.log_run(FILES)
    mlflow.tag(by_run, "mlflow-cleanup.keep", "yes, it is in the paper")
    by_experiment = mlflow.log_run(FILES, experiment)
    unpinned = mlflow.log_run(FILES, tags={"mlflow-cleanup.keep": "false"})

    for run in (by_run, by_experiment, unpinned):
        mlflow.delete(run)
    until(lambda: served.events(unpinned) == ["quarantined"], "the unpinned run is quarantined")
    until(lambda: {by_run.id, by_experiment.id} <= set(served.kept()), "the others are kept")

    assert served.kept()[by_run.id] == "pinned by an operator"
    assert served.kept()[by_experiment.id] == "pinned by an operator"
    assert served.place_of(by_run).exists()
    assert served.place_of(by_experiment).exists()
    assert not served.place_of(unpinned).exists()


def test_child_of_a_deleted_run_keeps_its_files(served: Site) -> None:
    """A nested run is active still when its parent was deleted, and so are its files."""
    mlflow = served.tracking
    parent = mlflow.log_run(FILES)
    child = mlflow.log_run(FILES, tags={"mlflow.parentRunId": parent.id})
    before = served.tree(child)

    mlflow.delete(parent)
    until(lambda: served.events(parent) == ["quarantined"], "the parent is quarantined")

    assert mlflow.stage(child) == "active"
    assert served.tree(child) == before
    assert served.events(child) == []


def test_logged_models_and_traces_of_a_deleted_run_stay(served: Site) -> None:
    """What MLflow still lists after its run was deleted, logged models and traces, is untouched."""
    mlflow = served.tracking
    run = mlflow.log_run(FILES)
    model = mlflow.log_model(run, b"flavors: {}\n")
    trace = mlflow.log_trace(run, b'{"spans": []}')
    experiment = served.root / run.experiment

    mlflow.delete(run)
    until(lambda: served.events(run) == ["quarantined"], "the run is quarantined")

    kept = experiment / "models" / model / "artifacts" / "MLmodel"
    assert kept.read_bytes() == b"flavors: {}\n"
    kept = experiment / "traces" / trace / "artifacts" / "traces.json"
    assert kept.read_bytes() == b'{"spans": []}'


def test_experiment_that_lies_inside_a_deleted_runs_directory_keeps_it(served: Site) -> None:
    """A live run whose experiment somebody put inside another run's artifacts protects them all."""
    mlflow = served.tracking
    outer = mlflow.log_run(FILES)
    inside = f"mlflow-artifacts:/{outer.experiment}/{outer.id}/artifacts/nested"
    inner = mlflow.create_run(mlflow.create_experiment(inside))
    place = served.place_of(outer) / "artifacts" / "nested" / inner.id / "artifacts"
    mlflow.put(str(place.relative_to(served.root) / "a.txt"), b"live")

    mlflow.delete(outer)
    until(lambda: outer.id in served.kept(), "the outer run is kept")

    assert (place / "a.txt").read_bytes() == b"live"
    assert served.tree(outer).keys() >= FILES.keys()


def test_rows_of_one_run_removed_count_as_its_end(site: Site) -> None:
    """A run whose row vanished, one of several, is quarantined like a deleted one."""
    program = site.serve()
    runs = [site.tracking.log_run(FILES) for _ in range(3)]
    until(lambda: site.status()["known_active_runs"] == 3, "all are known")

    _remove_rows(site, runs[:1])
    program.line(runs[0].id, "moved to the trash")

    assert [site.place_of(run).exists() for run in runs] == [False, True, True]
    assert site.say("restore", runs[0].id).code == 0
    assert site.tree(runs[0]) == site.tree(runs[1])


def test_all_rows_removed_at_once_is_refused_until_confirmed(site: Site) -> None:
    """Every known run's row gone looks like an accident: nothing moves before `confirm`."""
    program = site.serve()
    runs = [site.tracking.log_run(FILES) for _ in range(3)]
    plan = _refused_plan(site, program, runs)

    assert f"REFUSED      plan {plan}: the rows of 3 of 3 known active" in site.say("status").out
    assert site.say("status", "--json").json()["refused_plan"]["id"] == plan
    assert site.say("confirm", "0" * 8).code == 2
    assert all(site.place_of(run).exists() for run in runs)

    said = site.say("confirm", plan)
    assert (said.code, plan in said.out) == (0, True)
    program.line(f"plan {plan} was confirmed")
    for run in runs:
        program.line(run.id, "moved to the trash")
    assert not any(site.place_of(run).exists() for run in runs)
    assert site.status()["refused_plan"] is None


def test_refused_plan_can_be_forgotten_with_all_files_left_alone(site: Site) -> None:
    """`confirm --forget` takes the database as it is now, touches no file, and watching goes on."""
    program = site.serve()
    runs = [site.tracking.log_run(FILES) for _ in range(3)]
    before = [site.tree(run) for run in runs]
    plan = _refused_plan(site, program, runs)

    assert site.say("confirm", plan, "--forget").code == 0
    program.line("all known runs were forgotten")
    until(lambda: site.status()["refused_plan"] is None, "nothing is refused any more")
    later = site.tracking.log_run(FILES)
    site.tracking.delete(later)
    program.line(later.id, "moved to the trash")

    assert [site.tree(run) for run in runs] == before
    assert [item["run_id"] for item in site.held()] == [later.id]


@pytest.mark.parametrize("start", ["site", "bare_site"], ids=["used before", "first start"])
def test_root_of_another_database_stops_us_and_not_mlflow(
    request: pytest.FixtureRequest, start: str
) -> None:
    """Under another database's marker nothing moves while MLflow serves on, until it is adopted."""
    site: Site = request.getfixturevalue(start)
    write_tree(site.root / ".mlflow-cleanup", {"owner.json": OTHER_OWNER})
    program = site.serve()
    run = site.tracking.log_run(FILES)

    site.tracking.delete(run)
    program.line("REFUSED", "/other/mlflow.db")
    assert site.tracking.stage(run) == "deleted"
    assert site.place_of(run).exists()
    assert site.say("doctor").code == 3

    assert program.stop() == 0
    assert site.say("adopt", str(site.root)).code == 0
    site.watch(known=0).line(run.id, "moved to the trash")


def test_root_of_a_first_start_is_known_again_as_its_databases(
    bare_site: Site, used_database: Path
) -> None:
    """A root marked by a first start is refused beside a new database, as is any other's."""
    site = bare_site
    program = site.serve()
    runs = [site.tracking.log_run(FILES) for _ in range(2)]
    site.tracking.delete(runs[0])
    program.line(runs[0].id, "moved to the trash")
    assert program.stop() == 0

    shutil.copyfile(used_database, site.database)
    shutil.rmtree(site.state_dir)
    site.start("mlflow_cleanup", "watch").line("REFUSED", "marker of another tracking database")

    assert site.place_of(runs[1]).exists()
    assert len(site.trash()) == 1


def _refused_plan(site: Site, program: Program, runs: Iterable[Run]) -> str:
    """Remove the rows of all known runs, wait for the refusal, and return its plan's id."""
    runs = list(runs)
    until(lambda: site.status()["known_active_runs"] == len(runs), "all are known")
    _remove_rows(site, runs)
    found = re.search(r"REFUSED plan ([0-9a-f]{8}): ", program.line("REFUSED plan"))
    assert found is not None
    return found[1]


def _remove_rows(site: Site, runs: Iterable[Run]) -> None:
    """Remove runs from the tracking database for good, as SQL by hand does."""
    with closing(sqlite3.connect(site.database, timeout=30)) as connection, connection:
        for run in runs:
            for table in CHILDREN:
                connection.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (run.id,))
            connection.execute("DELETE FROM runs WHERE run_uuid = ?", (run.id,))
