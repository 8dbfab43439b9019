"""A release's database and artifacts as it was used, with mlflow-cleanup beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlflow_cleanup.config import Settings
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.model.plan import SweepPlan, Terms
from tests.kit.clock import HandClock
from tests.kit.estates import Estate, Thing
from tests.kit.releases import fill
from tests.kit.tracking_db import TrackingFile
from tests.kit.world import Run, World, tree

AT_ONCE = Terms(at_once=True, most_share=1.0)
LONG_AGO_S = 1_000_000.0


@dataclass
class Used:
    """A release's database and artifacts, with mlflow-cleanup beside them."""

    estate: Estate
    world: World

    def run(self, name: str) -> Run:
        """Return a run of the estate as stories have it."""
        thing = self.estate.things[name]
        return Run(thing.id, thing.place)

    def files(self) -> dict[str, dict[str, bytes]]:
        """Read the files of every entity."""
        return {name: tree(thing.place) for name, thing in self.estate.things.items()}

    def has_row(self, thing: Thing) -> bool:
        """Tell whether an entity's row is there."""
        assert thing.key is not None
        name, key = thing.key
        return bool(self.world.db.execute(f"SELECT 1 FROM {name} WHERE {key} = ?", thing.id))

    def delete(self, name: str) -> None:
        """Delete a run as this release does: no time is taken down before 1.28."""
        stage = "UPDATE runs SET lifecycle_stage = 'deleted'"
        if self.estate.since("1.28"):
            stage += f", deleted_time = {int(self.world.clock.wall_s * 1_000)}"
        self.world.db.execute(f"{stage} WHERE run_uuid = ?", self.estate.id(name))


def used_release(home: Path, version: str, **changes: object) -> Used:
    """Fill a release's database and root, and let one cycle see them."""
    home = home.resolve()
    root = home / "mlartifacts"
    root.mkdir(parents=True)
    db = TrackingFile.make(home / "mlflow.db", version)
    db.execute("DELETE FROM experiments")
    clock = HandClock()
    estate = fill(db, root, version, clock.wall_s - LONG_AGO_S)
    values = {
        "database": Database.of_file(str(db.path)),
        "roots": (str(root),),
        "artifacts_destination": str(root),
        "working_directory": str(home),
        "state_dir": home / RESERVED,
    }
    world = World.at(home, Settings(**{**values, **changes}), clock)  # type: ignore[arg-type]
    world.cycle()
    return Used(estate, world)


def adopt(world: World) -> None:
    """Let what no row claims count as nobody's."""
    world.workplace.adopt(str(world.root), alone=True)
    world.cycle()


def taken(plan: SweepPlan) -> set[str]:
    """Name what a plan takes."""
    return {item.candidate.entity.id for item in plan.take}


def kept(plan: SweepPlan) -> set[str]:
    """Name what a plan keeps though it left."""
    return {item.candidate.entity.id for item in plan.keep}
