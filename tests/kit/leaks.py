"""A world in which MLflow has leaked in every way that it can."""

from __future__ import annotations

import os
from pathlib import Path

from mlflow_cleanup.model.moment import Moment
from tests.kit.tracking_db import run_id
from tests.kit.world import Run, World

DEAD = "9"
"""A deleted experiment."""


def leak(world: World) -> None:
    """Leave everything behind that can be left behind, beside much that is in use."""
    world.db.experiment(DEAD, f"mlflow-artifacts:/{DEAD}", stage="deleted")
    _runs(world)
    _models_and_traces(world)
    _unclaimed(world)
    lately = world.run({"e": 90})
    world.cycle()
    world.delete(lately)
    now = world.ledger.now(world.clock.read())
    world.ledger.pins.add(["/srv/pinned", run_id(0xF)], now.at, "x")
    seen = {str(world.root): [("0", run_id(0xC), "artifacts")]}
    world.ledger.sightings.note(seen, Moment(now.at, 0.0), now.at)


def _runs(world: World) -> None:
    live = [world.run({"large": 10_000, "data/x": 1}) for _ in range(3)]
    held, purged, late = (world.run({"a": size}) for size in (1, 10, 100))
    world.cycle()
    world.delete(held, purged, late)
    world.cycle()
    world.purge_by_hand(purged)
    world.write_late(late, "late", 1_000)
    world.register(f"runs:/{live[0].id}/data")
    world.run({"b": 20}, experiment=DEAD)  # active in a deleted experiment
    backlog = world.run({"c": 30}, id_=run_id(0xA))
    gone = world.run({"d": 40}, id_=run_id(0xB))
    world.db.execute(
        "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = NULL WHERE run_uuid = ?",
        backlog.id,
    )
    world.db.execute("DELETE FROM runs WHERE run_uuid = ?", gone.id)


def _models_and_traces(world: World) -> None:
    for number, stage in ((1, "active"), (2, "deleted"), (3, "active")):
        id_ = f"m-{run_id(number)}"
        world.db.logged_model(id_, f"mlflow-artifacts:/0/models/{id_}/artifacts", stage=stage)
        world.write(world.root / "0" / "models" / id_ / "artifacts", "model", 10 * number)
    world.db.execute(
        "UPDATE logged_models SET source_run_id = ? WHERE model_id = ?",
        run_id(0xA),
        f"m-{run_id(3)}",
    )
    world.write(world.root / "exported" / "net", "MLmodel", 5)
    world.register("gone", version=7, storage_location="mlflow-artifacts:/exported/net")
    world.unregister(7)
    for number in (1, 2):  # the first has its rows, of the second they are gone
        id_ = f"tr-{run_id(number)}"
        world.write(world.root / "0" / "traces" / id_ / "artifacts", "traces.json", number)
    world.db.trace(f"tr-{run_id(1)}", f"mlflow-artifacts:/0/traces/tr-{run_id(1)}/artifacts")


def _unclaimed(world: World) -> None:
    _old(world, world.root / "0" / run_id(0xC) / "artifacts", "model", 50)
    _old(world, world.root / "workspaces" / "team" / "0" / run_id(0xD) / "artifacts", "model", 60)
    world.write(world.root / "0" / run_id(0xE) / "artifacts", "young", 70)
    shell = world.root / "0" / run_id(0x10)
    shell.mkdir()
    os.utime(shell, (world.clock.wall_s - 1e6,) * 2)
    world.write(world.root / "backup" / "0" / run_id(0xC) / "artifacts", "foreign", 80)
    odd = world.root / os.fsdecode(b"caf\xe9\n\x1b[2J")
    world.write(odd, "odd", 1)
    (world.root / "link").symlink_to("0")
    (world.root / "0" / "dangling").symlink_to("nowhere")


def _old(world: World, place: Path, name: str, size: int) -> None:
    world.write(place, name, size)
    for path in (place / name, place):
        os.utime(path, (world.clock.wall_s - 1e6,) * 2)


def in_use(world: World) -> list[Run]:
    """Name the active runs."""
    rows = world.db.execute("SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active'")
    active = [str(row[0]) for row in rows]
    return [Run(id_, place) for id_ in active for place in world.root.glob(f"*/{id_}/artifacts")]
