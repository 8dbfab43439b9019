"""Workspaces (MLflow 3.10 and later): equal names in each, and never one mistaken for another."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_cleanup.errors import BadSelection
from mlflow_cleanup.model.verdict import Kept
from tests.kit.collecting import collect
from tests.kit.estates import Fate
from tests.kit.releases import TEAMS
from tests.kit.used_release import AT_ONCE, Used, adopt, kept, taken, used_release
from tests.kit.world import Run

FIRST, SECOND = TEAMS


@pytest.fixture(params=["3.10", "3.14", "3.17"])
def used(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Used]:
    """A release's database with two workspaces beside the default one."""
    made = used_release(tmp_path / "home", request.param)
    yield made
    made.world.close()


@pytest.fixture
def copies(used: Used) -> dict[str, Path]:
    """A copy of version 7 of one and the same name, in each of the two."""
    return {team: copy_of(used, team, f"exported/{team}") for team in TEAMS}


def copy_of(used: Used, team: str, inside: str, number: int = 7) -> Path:
    """Register a version that is stored at a place of its own; returns that."""
    place = used.world.root / inside
    used.world.write(place, "MLmodel", 10)
    uri = f"mlflow-artifacts:/{inside}"
    used.estate.model_version("same model", number, uri, workspace=team)
    return place


def unregister(used: Used, team: str, number: int = 7) -> None:
    """Delete a version in one workspace: its row stays, and forgets its source."""
    used.world.db.execute(
        "UPDATE model_versions SET current_stage = 'Deleted_Internal', "
        "source = 'REDACTED-SOURCE-PATH' WHERE version = ? AND workspace = ?",
        number,
        team,
    )


def test_gc_of_one_workspace_leaves_the_others_alone(used: Used) -> None:
    """What is deleted in another workspace, or in the default one, keeps its files and rows."""
    used.world.restart(retention=timedelta(0))
    used.world.cycle()
    before = used.files()
    told = collect(used.world, workspace=FIRST)
    goes, stays = f"GOES in {FIRST}", f"source in {FIRST}"
    assert set(told.every_fate) == {
        used.estate.id(name) for name in (goes, stays, "source in first for second")
    }
    assert not used.has_row(used.estate.things[goes])
    assert {name: files for name, files in before.items() if name != goes} == {
        name: files for name, files in used.files().items() if name != goes
    }
    assert used.files()[goes] == {}


def test_gc_that_names_no_workspace_is_refused_where_there_are_others(used: Used) -> None:
    """Which one is meant has to be said, as nothing else would tell them apart."""
    before = used.files()
    with pytest.raises(BadSelection, match=f"{FIRST}, {SECOND}"):
        collect(used.world)
    assert used.files() == before


def test_deleted_version_of_one_workspace_is_not_the_others(
    used: Used, copies: dict[str, Path]
) -> None:
    """Of two versions with one name and number the deleted one's copy goes, the other stays."""
    unregister(used, FIRST)
    adopt(used.world)
    used.world.restart(terms=AT_ONCE)
    label = f"same model version 7 in workspace {FIRST}"
    assert label in taken(used.world.plan())
    used.world.sweep()
    assert [place.exists() for place in copies.values()] == [False, True]
    used.world.cycle()
    assert [place.exists() for place in copies.values()] == [False, True]
    assert f"model version {label}" in {one.note["entity"] for one in used.world.trash()}


def test_copy_restored_by_hand_says_nothing_of_the_other_workspaces(
    used: Used, copies: dict[str, Path]
) -> None:
    """What an operator gave back in one workspace is no word on the version of the other one."""
    adopt(used.world)
    used.world.restart(terms=AT_ONCE)
    unregister(used, FIRST)
    used.world.sweep()
    (item,) = (item for item in used.world.items() if "version 7" in item.entity.id)
    used.world.restore_by_hand(Run(item.id, copies[FIRST]))
    unregister(used, SECOND)
    used.world.sweep()
    assert [place.exists() for place in copies.values()] == [True, False]


def test_place_that_another_workspaces_version_is_stored_at_stays(used: Used) -> None:
    """A version copied from another workspace lies at the same place, under the same name."""
    place = copy_of(used, FIRST, "exported/shared")
    copy_of(used, SECOND, "exported/shared")
    unregister(used, FIRST)
    adopt(used.world)
    used.world.restart(terms=AT_ONCE)
    plan = used.world.plan()
    label = f"same model version 7 in workspace {FIRST}"
    (told,) = (item for item in plan.keep if item.candidate.entity.id == label)
    assert told.verdict.reason is Kept.LIVE_CLAIM
    used.world.sweep()
    assert used.world.bytes_at(place) == 10


def test_claim_says_in_which_workspace_it_is(used: Used) -> None:
    """Both have a version of that name: the reason says whose it is."""
    plan = used.world.plan()
    of = used.estate.id("source in first for second")
    (told,) = (item for item in plan.keep if item.candidate.entity.id == of)
    assert f"same model version 2 in workspace {SECOND}" in str(told.verdict)
    assert of in kept(plan)


def test_experiment_moved_to_the_default_workspace_loses_nothing(used: Used) -> None:
    """Deleting a workspace may hand what is in it to the default one: only a column changes."""
    before = used.files()
    for name in ("experiments", "registered_models", "model_versions"):
        used.world.db.execute(
            f"UPDATE {name} SET workspace = 'default', name = name || ' of ' || workspace "
            "WHERE workspace = ?",
            FIRST,
        )
    used.world.db.execute("DELETE FROM workspaces WHERE name = ?", FIRST)
    used.world.cycle()
    assert used.files() == before


def test_workspace_deleted_with_all_in_it_takes_no_others_files(used: Used) -> None:
    """Its runs' rows vanish; those of the other workspaces, and what these claim, stay."""
    before = used.files()
    source = used.estate.things["source in first for second"]
    drop_workspace(used, FIRST, "10")
    for _ in range(2):
        used.world.cycle()
        used.world.advance(hours=5)
        used.world.sweep()
    assert used.world.files_at(source.place) == before["source in first for second"]
    lived = [
        name
        for name, thing in used.estate.things.items()
        if thing.fate is Fate.LIVE and not name.endswith(f"in {FIRST}")
    ]
    assert {name: used.files()[name] for name in lived} == {name: before[name] for name in lived}
    assert used.files()[f"LIVE in {FIRST}"] == {}


def drop_workspace(used: Used, team: str, experiment: str) -> None:
    """Remove a workspace with all that it has, as MLflow does when told to."""
    db = used.world.db
    runs = f"SELECT run_uuid FROM runs WHERE experiment_id = {experiment}"
    for name in ("tags", "params", "metrics", "latest_metrics"):
        db.execute(f"DELETE FROM {name} WHERE run_uuid IN ({runs})")
    for name in ("logged_model_params", "logged_model_tags", "logged_models", "runs"):
        db.execute(f"DELETE FROM {name} WHERE experiment_id = {experiment}")
    db.execute(f"DELETE FROM experiments WHERE experiment_id = {experiment}")
    for name in ("model_versions", "registered_models"):
        db.execute(f"DELETE FROM {name} WHERE workspace = ?", team)
    db.execute("DELETE FROM workspaces WHERE name = ?", team)
