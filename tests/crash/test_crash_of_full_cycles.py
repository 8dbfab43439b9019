"""A full cycle that is killed at any point: the next one ends where an undisturbed one does.

Deleted models, a deleted run, one whose row vanished, an orphan that is taken at its second
sighting, and the empty directory of a run. Each full cycle is killed at its N-th point; another
process does that full cycle again, and the ones after it.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlflow_cleanup.errors import SweepRefused
from mlflow_cleanup.model.item import ItemState
from mlflow_cleanup.model.location import RESERVED
from tests.crash.points import Points
from tests.crash.scenario import open_intents
from tests.kit.clock import HandClock
from tests.kit.world import World, tree

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes"),
]

ORPHAN, SHELL = "f" * 32, "e" * 32
MODELS = [f"m-{number:032x}" for number in range(3)]

Step = Callable[[World], object]


def sweep(world: World) -> None:
    """Do a full cycle, refused or not: the only kind of step in which a process is killed."""
    with suppress(SweepRefused):
        world.sweep()


def confirm(world: World) -> None:
    """Let the full cycle that was refused go ahead."""
    braked = world.ledger.brakes.current()
    assert braked is not None
    assert world.ledger.brakes.confirm(braked.plan_id)


STEPS: tuple[Step, ...] = (
    sweep,  # takes too much at once: refused
    confirm,
    sweep,
    lambda world: world.advance(hours=5),
    sweep,  # the orphan was seen before
    lambda world: world.advance(days=7),
    sweep,  # all of it is due
)
SWEEPS = [number for number, step in enumerate(STEPS) if step is sweep]


def set_stage(home: Path) -> World:
    """Make a world in which all of this has leaked."""
    world = World.make(home)
    world.run({"large": 1_000})
    deleted, vanished, _ = (world.run({"a": 100, "deep/b": 10}) for _ in range(3))
    world.cycle()
    world.workplace.adopt(str(world.root), alone=True)
    for number, id_ in enumerate(MODELS):
        place = world.root / "0" / "models" / id_ / "artifacts"
        world.write(place, "weights", 3_000 + number)
        world.db.logged_model(id_, f"mlflow-artifacts:/0/models/{id_}/artifacts", stage="deleted")
    world.write(world.root / "0" / ORPHAN / "artifacts", "a", 500)
    shell = world.root / "0" / SHELL
    shell.mkdir()
    os.utime(shell, (world.clock.wall_s, world.clock.wall_s))
    world.delete(deleted)
    world.hard_delete(vanished)
    world.advance(days=4)
    return world


@dataclass(frozen=True)
class Ending:
    """What is there in the end."""

    files: dict[str, bytes]
    directories: frozenset[str]
    trash: Counter[str]
    states: Counter[str]
    told: Counter[str]


def ending(world: World) -> Ending:
    """Look at everything but ids and times."""
    files = {path: data for path, data in tree(world.root).items() if RESERVED not in path}
    items = [item for item in world.items() if item.state is not ItemState.ABANDONED]
    return Ending(
        files=files,
        directories=frozenset(
            path.relative_to(world.root).as_posix()
            for path in world.root.rglob("*")
            if path.is_dir() and RESERVED not in path.parts
        ),
        trash=Counter(one.note.get("entity", "") for one in world.trash()),
        states=Counter(f"{item.entity}: {item.state.value}" for item in items),
        told=Counter(
            f"{event.entity}: {event.kind.value.replace('recovered', 'quarantined')}"
            for event in world.ledger.history.latest(1_000_000)
            if event.entity is not None
        ),
    )


def clock_of(world: World) -> HandClock:
    """Copy a world's clock, as another process finds it."""
    return HandClock(wall_s=world.clock.wall_s, uptime_s=world.clock.uptime_s)


@dataclass(frozen=True)
class Checkpoint:
    """The world right before one full cycle, and how many points that passes."""

    home: Path
    clock: HandClock
    points: int


@dataclass(frozen=True)
class Stage:
    """The story as it goes when nothing is killed, with a copy of the world before each sweep."""

    world: World
    checkpoints: dict[int, Checkpoint]
    undisturbed: Ending

    def killed(self, number: int, deadly: int) -> Ending:
        """Let a process do one full cycle until it is killed, and others all the rest."""
        checkpoint, home, database = self.checkpoints[number], self.world.home, self.world.db.path
        # The very same file, as another one would be a database that was put back.
        kept = database.rename(home.with_name("kept.db"))
        shutil.rmtree(home)
        shutil.copytree(checkpoint.home, home, symlinks=True)
        kept.write_bytes(database.read_bytes())
        kept.replace(database)
        die_in(lambda: World.at(home, self.world.settings, checkpoint.clock), deadly)
        clock = HandClock(wall_s=checkpoint.clock.wall_s, uptime_s=checkpoint.clock.uptime_s)
        world = World.at(home, self.world.settings, clock)
        for position, step in enumerate(STEPS[number:], start=number):
            step(world)
            if position > 0 and step is sweep and world.ledger.brakes.current() is not None:
                # What is left of a plan that was confirmed is another one, and asked about anew.
                confirm(world)
                sweep(world)
        found, still_open = ending(world), open_intents(world)
        world.close()
        assert still_open == []
        return found


def die_in(make: Callable[[], World], deadly: int) -> None:
    """Fork a process that does a full cycle and is killed at one of its points."""
    pid = os.fork()
    if pid == 0:
        try:
            world = make()
            with Points(deadly).set_up():
                sweep(world)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), f"it ended with {status} before its point {deadly}"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Play the story once undisturbed."""
    base = tmp_path_factory.mktemp("full-cycles")
    world = set_stage(base / "home")
    checkpoints = {}
    for number, step in enumerate(STEPS):
        points = Points()
        if step is sweep:
            world.close()
            shutil.copytree(world.home, base / str(number), symlinks=True)
            clock = clock_of(world)
            world = World.at(world.home, world.settings, world.clock)
            with points.set_up():
                step(world)
            checkpoints[number] = Checkpoint(base / str(number), clock, points.passed)
        else:
            step(world)
    undisturbed = ending(world)
    world.close()
    return Stage(world, checkpoints, undisturbed)


def test_story_holds_everything_that_can_happen(stage: Stage) -> None:
    """Undisturbed, all that leaked is purged in the end, the orphan later, and the rest stays."""
    assert stage.undisturbed.states == {
        **{f"logged model {id_}: purged": 1 for id_ in MODELS},
        f"run {2:032x}: purged": 1,
        f"run {3:032x}: purged": 1,
        f"run {ORPHAN}: purged": 1,
    }
    assert sorted(len(data) for data in stage.undisturbed.files.values()) == [10, 100, 1_000]
    assert f"0/{SHELL}" not in stage.undisturbed.directories
    assert all(checkpoint.points > 5 for checkpoint in stage.checkpoints.values())


@pytest.mark.parametrize("number", SWEEPS)
def test_killed_at_any_point_of_a_full_cycle(stage: Stage, number: int) -> None:
    """Wherever it is killed, the outcome is the same in the end, byte for byte."""
    wrong = {}
    for deadly in range(1, stage.checkpoints[number].points + 1):
        found = stage.killed(number, deadly)
        if found != stage.undisturbed:
            wrong[deadly] = {
                name: (getattr(found, name), getattr(stage.undisturbed, name))
                for name in ("directories", "trash", "states", "told")
                if getattr(found, name) != getattr(stage.undisturbed, name)
            }

    assert wrong == {}
