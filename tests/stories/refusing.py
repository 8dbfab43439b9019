"""What every refusal has in common."""

from __future__ import annotations

from pathlib import Path

from mlflow_cleanup.errors import PlanRefused
from tests.kit.world import Tree, World, tree


def refuses_everything(world: World) -> PlanRefused:
    """Check that cycle after cycle, through restarts too, nothing moves and one word is said."""
    before, history, refusals = tree(world.root), world.history(), []
    for _ in range(3):
        refusals.append(world.refused())
        world.restart()
    assert len({refusal.plan_id for refusal in refusals}) == 1
    assert tree(world.root) == before
    assert world.history() == [*history, "refused"]
    return refusals[0]


def all_artifacts(world: World) -> Tree:
    """Read everything under the root, the trash too, but for the root's marker."""
    return {name: data for name, data in tree(world.root).items() if "owner.json" not in name}


def backup(world: World) -> Path:
    """Copy the tracking database aside, as a backup would."""
    copy = world.home / "backup.db"
    copy.write_bytes(world.db.path.read_bytes())
    return copy
