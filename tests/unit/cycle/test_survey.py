from __future__ import annotations

import os
from pathlib import Path

from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.verdict import Kept
from tests.kit.world import World


def test_what_is_in_use_is_counted_and_nothing_else(world: World) -> None:
    """Active runs where MLflow puts them, and live models; not what left, nor copies elsewhere."""
    world.run({"a": 1, "deep/b": 10})
    second = world.run({"a": 100})
    world.delete(world.run({"a": 1_000}))
    world.write(world.root / "backup/0" / second.id / "artifacts", "a", 10_000)
    model = "m-" + "e" * 32
    world.db.logged_model(model, f"mlflow-artifacts:/0/models/{model}/artifacts")
    world.write(world.root / "0/models" / model / "artifacts", "model.bin", 100_000)

    [root] = world.plan().roots

    assert (root.live_places, root.live) == (3, Size(4, 100_111))
    assert root.foreign == {"backup/0": Size(1, 10_000)}
    assert root.total == Size(6, 111_111)


def test_claim_of_a_run_behind_a_link_holds_what_it_leads_to(world: World) -> None:
    """A live run's directory that is a link was not listed, so the link is looked at."""
    left, live = world.run({"model.bin": 100}), world.run({})
    live.place.parent.mkdir()
    os.symlink(left.place, live.place)
    world.delete(left)

    plan = world.plan()

    assert plan.take == ()
    assert [item.verdict.reason for item in plan.keep] == [Kept.LIVE_CLAIM]
    assert Path(live.place).is_symlink()
