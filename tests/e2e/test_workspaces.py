"""A real server with workspaces: two of them, with equal names in each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.programs import Program, until
from tests.kit.rest import CallFailed, Run, Tracking
from tests.kit.server import Site, Tree, tree_of

pytestmark = pytest.mark.e2e

FILES = {"model/MLmodel": b"flavors: {}\n", "weights.bin": b"w" * 1_000}
_API = "/api/2.0/mlflow"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site where `mlflow-cleanup ui` runs with workspaces; tests keep to their own."""
    site = Site(tmp_path_factory.mktemp("workspaces"))
    try:
        site.serve("--enable-workspaces")
        yield site
    finally:
        site.close()


class Team:
    """A workspace with an experiment, runs and a model that are called as in the other one."""

    def __init__(self, site: Site, name: str, root: str | None = None) -> None:
        body = {"name": name, **({"default_artifact_root": root} if root else {})}
        site.tracking.call("POST", "/api/3.0/mlflow/workspaces", body)
        self.site, self.name = site, name
        self.mlflow: Tracking = replace(site.tracking, workspace=name)
        answer = self.mlflow.call("POST", f"{_API}/experiments/create", {"name": "same name"})
        self.experiment = str(answer["experiment_id"])
        self.runs = [self._run() for _ in range(3)]

    def _run(self) -> Run:
        run = self.mlflow.create_run(self.experiment)
        for name, content in FILES.items():
            path = self.place(run) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.mlflow.finish(run)
        return run

    def place(self, run: Run) -> Path:
        """Say where MLflow has a run's artifacts."""
        assert run.artifact_uri.startswith("mlflow-artifacts:/")
        return self.site.root / run.artifact_uri.removeprefix("mlflow-artifacts:/")

    def trees(self) -> list[Tree]:
        """Read the artifacts of every run."""
        return [tree_of(self.place(run)) for run in self.runs]

    def register(self, run: Run) -> None:
        """Register a run's model under the name that both have."""
        self.mlflow.call("POST", f"{_API}/registered-models/create", {"name": "same model"})
        source = {"name": "same model", "source": f"{run.artifact_uri}/model", "run_id": run.id}
        self.mlflow.call("POST", f"{_API}/model-versions/create", source)


@pytest.fixture
def teams(shared: Site, request: pytest.FixtureRequest) -> tuple[Team, Team]:
    """Two workspaces; the second has an artifact root of its own."""
    name = request.node.name.replace("_", "-")[5:20].strip("-")
    own = f"mlflow-artifacts:/of-{name}"
    return Team(shared, f"{name}-one"), Team(shared, f"{name}-two", own)


@pytest.fixture
def program(shared: Site) -> Program:
    """The program that runs MLflow and the monitor."""
    return shared.programs[0]


def test_artifacts_lie_where_each_workspace_has_them(teams: tuple[Team, Team]) -> None:
    """Below `workspaces` and its name, or in the root that the workspace was given."""
    first, second = teams
    inside = first.place(first.runs[0]).relative_to(first.site.root)
    assert inside.parts[:3] == ("workspaces", first.name, first.experiment)
    inside = second.place(second.runs[0]).relative_to(second.site.root)
    assert inside.parts[0].startswith("of-")
    assert inside.parts[1] == second.experiment


def test_delete_and_restore_in_one_leave_the_other_alone(
    teams: tuple[Team, Team], program: Program
) -> None:
    """Of a run in each, one of one name is deleted and restored, the other not touched."""
    first, second = teams
    before = first.trees(), second.trees()
    for team, other in ((first, second), (second, first)):
        run = team.runs[0]
        team.mlflow.delete(run)
        program.line(run.id, "moved to the trash")
        assert not team.place(run).exists()
        assert other.trees() == before[other is second]
        team.mlflow.restore(run)
        program.line(run.id, "are back")
    assert (first.trees(), second.trees()) == before


def test_version_in_one_protects_what_is_anothers(
    teams: tuple[Team, Team], program: Program
) -> None:
    """Each has a version of the same name; that of the second one comes from a run of the first."""
    first, second = teams
    mine, lent, unused = first.runs
    before = first.trees()
    first.register(mine)
    second.register(second.runs[0])
    _lend(first.site, f"{lent.artifact_uri}/model", second.name)
    for run in first.runs:
        first.mlflow.delete(run)
    program.line(unused.id, "moved to the trash")
    kept = until(lambda: _kept(first.site, mine, lent), "both are kept")
    assert f"same model version 1 in workspace {first.name}" in kept[mine.id]
    assert f"same model version 1 in workspace {second.name}" in kept[lent.id]
    assert first.trees() == [before[0], before[1], {}]


def test_gc_takes_from_one_workspace_what_is_deleted_there(
    teams: tuple[Team, Team], program: Program
) -> None:
    """The other one's deleted run, held in the trash, has its row still and can be restored."""
    first, second = teams
    before = second.trees()
    for team in teams:
        team.mlflow.delete(team.runs[0])
        program.line(team.runs[0].id, "moved to the trash")
    said = first.site.say("gc", "--workspace", first.name, "--retention", "0")
    assert said.code == 0, said.err
    with pytest.raises(CallFailed, match="not found"):
        first.mlflow.stage(first.runs[0])
    assert first.runs[0].id not in {item["run_id"] for item in first.site.held()}
    second.mlflow.restore(second.runs[0])
    program.line(second.runs[0].id, "are back")
    assert second.trees() == before


def _lend(site: Site, source: str, workspace: str) -> None:
    """Let a version have a source in another workspace, which the newest server would refuse."""
    with closing(sqlite3.connect(site.database, timeout=30)) as connection, connection:
        query = "UPDATE model_versions SET source = ?, storage_location = ? WHERE workspace = ?"
        connection.execute(query, (source, source, workspace))


def _kept(site: Site, *runs: Run) -> dict[str, str]:
    """Say why all of these runs are kept; empty while one of them is not."""
    kept = site.kept()
    return kept if {run.id for run in runs} <= set(kept) else {}
