from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlflow_cleanup.cycle.workplace import real_roots
from mlflow_cleanup.ledger.ledger import KnownRoot
from tests.kit.world import World

MARKER = ".mlflow-cleanup/owner.json"


def test_roots_are_known_by_their_real_paths_once(world: World, tmp_path: Path) -> None:
    """Two spellings of one directory are one root."""
    link = tmp_path / "link"
    link.symlink_to(world.root)
    world.restart(roots=(str(link), str(world.root), f"{world.root}/../mlartifacts"))

    assert real_roots(world.settings) == [str(world.root.resolve())]


def test_registry_in_the_same_database_is_not_read_twice(world: World) -> None:
    """It is read with everything else, in the same transaction."""
    world.restart(registry=world.settings.database)

    assert world.workplace.registry is None
    assert world.workplace.registry_claims() == []


def test_root_is_marked_with_the_database_it_belongs_to(world: World) -> None:
    """The marker says where the database is and by what it is recognised."""
    told = json.loads((world.root / MARKER).read_bytes())

    assert told["database"] == world.settings.database.name
    assert told["experiments"] == {"0": 1_000}
    assert world.ledger.roots() == {
        str(world.root): KnownRoot(str(world.root), is_marked=True, problem=None)
    }


def test_problem_of_a_root_is_remembered_and_cleared(world: World) -> None:
    """What is wrong with a root stands in the ledger for `status`, as long as it is."""
    world.root.rename(world.home / "aside")
    world.cycle()
    known = world.ledger.roots()[str(world.root)]
    assert known.is_marked
    assert known.problem is not None
    assert "unreachable" in known.problem

    (world.home / "aside").rename(world.root)
    world.cycle()
    assert world.ledger.roots()[str(world.root)].problem is None


def test_marker_is_written_once_by_each_start(world: World) -> None:
    """Later cycles leave the marker as it is; another start writes another token into it."""
    before = (world.root / MARKER).read_bytes()
    world.db.experiment("5", "mlflow-artifacts:/5")
    world.cycle()
    assert (world.root / MARKER).read_bytes() == before

    world.restart()
    world.cycle()
    told, again = json.loads(before), json.loads((world.root / MARKER).read_bytes())
    assert told.pop("token") != again.pop("token")
    assert told | {"experiments": {}} == again | {"experiments": {}}


@pytest.mark.parametrize("urgent", [True, False])
@pytest.mark.parametrize("stopped", [True, False])
def test_long_work_goes_on_unless_called_or_stopped(
    world: World, urgent: bool, stopped: bool
) -> None:
    """Either reason is enough to leave off."""
    world.workplace.is_called = lambda: urgent
    if stopped:
        world.workplace.stop.set()

    assert world.workplace.unhurried() is not (urgent or stopped)
