"""The tracking database is put in place of another one in the middle of a step."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_cleanup.act.quarantine import BATCH
from mlflow_cleanup.cycle.sweep import carry_out
from mlflow_cleanup.errors import PlanBrokenOff
from mlflow_cleanup.model.plan import Step
from tests.kit.world import World
from tests.stories.refusing import backup


@pytest.fixture
def models(world: World) -> list[Path]:
    """Three batches of deleted logged models, and a run in use that is larger than all of them."""
    world.run({"large": 100_000})
    places = []
    for number in range(3 * BATCH):
        id_ = f"m-{number:032x}"
        place = world.root / "0" / "models" / id_ / "artifacts"
        world.write(place, "model", 10)
        world.db.logged_model(id_, f"mlflow-artifacts:/0/models/{id_}/artifacts", stage="deleted")
        places.append(place)
    world.cycle()
    return places


def older(world: World, copy: Path) -> None:
    """Put a backup back."""
    world.db.path.write_bytes(copy.read_bytes())


def another(world: World, _: Path) -> None:
    """Let the database be another one, as when a file of the same name is copied over it."""
    world.db.execute("UPDATE experiments SET creation_time = creation_time + 1")


@pytest.mark.parametrize("happens", [older, another])
def test_full_cycle_ends_at_once(world: World, models: list[Path], happens: object) -> None:
    """What was decided on one database is not carried out on another: the rest stays."""
    copy = backup(world)
    world.db.execute("UPDATE experiments SET last_update_time = 7")
    world.cycle()
    plan = world.plan()
    steps: list[Step] = []

    def follow(step: Step) -> bool:
        if not steps:
            happens(world, copy)  # type: ignore[operator]
        steps.append(step)
        return True

    with pytest.raises(PlanBrokenOff, match=r"after 50 of 150 steps.* replaced, went back in time"):
        carry_out(world._cycle, world.workplace, plan, follow)

    assert len(steps) == BATCH
    assert sum(place.exists() for place in models) == 2 * BATCH
