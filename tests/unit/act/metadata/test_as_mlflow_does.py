"""What is left is what MLflow's own hard deletes leave, apart from what these forget."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlflow_cleanup.act.metadata import Result, Target, TargetKind, remove_rows
from tests.kit.rows import Filled, Rows, content_of, difference
from tests.kit.tracking_db import TrackingFile

DELETE = """
import json, sys
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

for database, deletes in json.load(sys.stdin):
    store = SqlAlchemyStore(f"sqlite:///{database}", "mlflow-artifacts:/")
    for method, id_ in deletes:
        getattr(store, method)(id_)
"""

METHODS = {
    TargetKind.RUN: "_hard_delete_run",
    TargetKind.LOGGED_MODEL: "_hard_delete_logged_model",
    TargetKind.EXPERIMENT: "_hard_delete_experiment",
}
RUN, MODEL, TRACE, EXPERIMENT = (
    TargetKind.RUN,
    TargetKind.LOGGED_MODEL,
    TargetKind.TRACE,
    TargetKind.EXPERIMENT,
)

# What each scene removes, and the tables in which MLflow leaves rows that name what is gone: none
# of these has a foreign key.
SCENES: dict[str, tuple[tuple[TargetKind, ...], set[str]]] = {
    "a run": ((RUN,), {"inputs", "input_tags", "entity_associations"}),
    "a model": ((MODEL,), {"inputs", "input_tags", "entity_associations"}),
    "a model and its run": ((MODEL, RUN), {"inputs", "input_tags", "entity_associations"}),
    # There traces go along with their experiment; here each is a target of its own.
    "an experiment": (
        (TRACE, MODEL, RUN, EXPERIMENT),
        {"inputs", "input_tags", "entity_associations", "endpoint_bindings"},
    ),
}


@dataclass
class Scene:
    """Two databases that had the same rows: MLflow removes in one, we in the other."""

    ours: Filled
    theirs: Path
    targets: list[Target]
    may_differ: set[str]

    @classmethod
    def make(cls, directory: Path, kinds: tuple[TargetKind, ...], may_differ: set[str]) -> Scene:
        """Fill both with three worlds, of which the second one is to go."""
        directory.mkdir()
        ours = Filled(directory / "ours.db")
        # MLflow fails at an experiment whose scorer is a gateway's guardrail.
        going = ours.world(2, "deleted", without=("guardrails", "guardrail_configs"))
        ours.world(1, "active")
        ours.world(3, "deleted")
        ours.file.execute("UPDATE experiments SET workspace = 'default'")
        theirs = directory / "theirs.db"
        shutil.copyfile(ours.path, theirs)
        return cls(ours, theirs, [ours.target(kind, going) for kind in kinds], may_differ)

    @property
    def deletes(self) -> list[tuple[str, str]]:
        """What MLflow is to do."""
        return [(METHODS[item.kind], item.id) for item in self.targets if item.kind in METHODS]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    """All scenes, after MLflow's part: it takes long to start."""
    top = tmp_path_factory.mktemp("scenes")
    made = {name: Scene.make(top / name, *what) for name, what in SCENES.items()}
    subprocess.run(
        [sys.executable, "-c", DELETE],
        input=json.dumps([(str(scene.theirs), scene.deletes) for scene in made.values()]),
        check=True,
        text=True,
        cwd=top,
    )
    for scene in made.values():
        # MLflow makes its default experiment when it starts.
        TrackingFile(scene.theirs).execute("DELETE FROM experiments WHERE experiment_id = 0")
    return made


@pytest.mark.parametrize("name", SCENES)
def test_what_is_left_is_what_mlflow_leaves(scenes: dict[str, Scene], name: str) -> None:
    """Table for table; where MLflow leaves rows behind that name nothing, we have fewer of them."""
    scene = scenes[name]
    before = scene.ours.content()
    outcomes = list(remove_rows(scene.ours.database, scene.targets))
    assert [outcome.result for outcome in outcomes] == [Result.REMOVED] * len(outcomes)

    ours, theirs = scene.ours.content(), content_of(scene.theirs)
    assert difference(before, ours)
    assert difference(ours, theirs) == {}
    more = difference(theirs, ours)
    assert set(more) == scene.may_differ
    gone = {item.id for item in scene.targets} | names_of(difference(before, ours))
    for table, rows in more.items():
        assert all(gone & {str(value) for value in row} for row in rows), table


def names_of(rows: Rows) -> set[str]:
    """Collect what rows that are gone were named, where others without a key name them."""
    return {
        str(value)
        for table in ("inputs", "scorers")
        for row in rows.get(table, ())
        for value in row
    }
