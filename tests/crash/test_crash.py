"""Killed at any point, the next start finishes or reverts what was open; nothing is lost.

A process plays the scenario and is killed at its N-th point, for every N of every cycle. Another
one takes over where it fell, and in the end everything must be as if nothing had happened.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from mlflow_cleanup.model.item import ItemState
from tests.crash.points import Points
from tests.crash.scenario import STEPS, Cast, Outcome, cycle, open_intents, open_stage, outcome
from tests.kit.clock import HandClock
from tests.kit.world import World

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes"),
]

LARGEST = 7_770
"""Bytes of the largest item: what was removed right before a kill may be missing in the account."""

CYCLES = [number for number, step in enumerate(STEPS) if step is cycle]


@dataclass(frozen=True)
class Progress:
    """How many steps are done, and what the clocks show."""

    step: int
    clock: HandClock

    def encode(self) -> bytes:
        """Write as a line."""
        return f"{self.step} {self.clock.wall_s} {self.clock.uptime_s}\n".encode()

    @classmethod
    def decode(cls, line: str) -> Progress:
        """Read what `encode` wrote."""
        step, wall_s, uptime_s = line.split()
        return cls(int(step), HandClock(wall_s=float(wall_s), uptime_s=float(uptime_s)))


@dataclass(frozen=True)
class Checkpoint:
    """The world right before one cycle, and how many points that cycle passes."""

    progress: Progress
    copy: Path
    points: int


@dataclass(frozen=True)
class Ending:
    """How the scenario ended."""

    outcome: Outcome
    freed_bytes: int


@dataclass(frozen=True)
class Stage:
    """Where the scenario is played again and again."""

    world: World
    cast: Cast
    checkpoints: dict[int, Checkpoint]
    undisturbed: Ending
    bring_back: Callable[[int], None] = lambda _: None
    """Puts a ledger that lives elsewhere back to where it was before a step."""

    def begin(self, checkpoint: Checkpoint) -> Progress:
        """Put everything back to where it was right before a cycle."""
        home, database = self.world.home, self.world.db.path
        # The very same file, as another one would be a database that was put back.
        kept = database.rename(home.with_name("kept.db"))
        shutil.rmtree(home)
        shutil.copytree(checkpoint.copy, home, symlinks=True)
        kept.write_bytes(database.read_bytes())
        kept.replace(database)
        self.bring_back(checkpoint.progress.step)
        return Progress.decode(checkpoint.progress.encode().decode())

    def play(self, progress: Progress, deadly: int) -> Progress:
        """Let a process go on until it is killed, or through; return how far it got."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self._play_and_exit(progress, deadly, writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            told = pipe.read().splitlines()
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"ended with {status}"
        return Progress.decode(told[-1]) if told else progress

    def finish(self, progress: Progress) -> tuple[Ending, list[Any]]:
        """Take over where others fell, to the end and a bit further; return what is still open."""
        world = World.at(self.world.home, self.world.settings, progress.clock)
        for step in (*STEPS[progress.step :], cycle, cycle):
            step(world, self.cast)
        ending = Ending(outcome(world, self.cast), world.ledger.items.freed().bytes)
        still_open = open_intents(world)
        world.close()
        return ending, still_open

    def complaints(self, progress: Progress, kills: int = 1) -> list[str]:
        """Say in what the ending differs from the undisturbed one."""
        ending, still_open = self.finish(progress)
        found = [f"still open: {still_open}"] if still_open else []
        for field in fields(Outcome):
            is_now = getattr(ending.outcome, field.name)
            should_be = getattr(self.undisturbed.outcome, field.name)
            if is_now != should_be:
                found.append(f"{field.name}: {_difference(is_now, should_be)}")
        freed, right = ending.freed_bytes, self.undisturbed.freed_bytes
        if not right - kills * LARGEST <= freed <= right:
            found.append(f"freed {freed} bytes, not {right}")
        return found

    def _play_and_exit(self, progress: Progress, deadly: int, pipe: int) -> None:
        status = 1
        try:
            world = World.at(self.world.home, self.world.settings, progress.clock)
            with Points(deadly).set_up():
                for number in range(progress.step, len(STEPS)):
                    STEPS[number](world, self.cast)
                    os.write(pipe, Progress(number + 1, world.clock).encode())
            status = 0
        finally:
            os._exit(status)


def _difference(is_now: Any, should_be: Any) -> str:  # noqa: ANN401 - mappings, sets and counters
    if isinstance(is_now, frozenset):
        return f"more {set(is_now - should_be)}, less {set(should_be - is_now)}"
    both = {key: (is_now.get(key), should_be.get(key)) for key in is_now.keys() | should_be.keys()}
    return str({key: (now, right) for key, (now, right) in both.items() if now != right})


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The stage, with the scenario played once undisturbed."""
    base = tmp_path_factory.mktemp("crash")
    return set_stage(base, *open_stage(base / "home"))


def set_stage(
    base: Path, world: World, cast: Cast, keep: Callable[[int], None] = lambda _: None
) -> Stage:
    """Play the scenario once undisturbed; `keep` saves a ledger that lives elsewhere."""
    checkpoints = {}
    for number, step in enumerate(STEPS):
        points = Points()
        if step is cycle:
            world.close()
            shutil.copytree(world.home, base / str(number), symlinks=True)
            keep(number)
            world = World.at(world.home, world.settings, world.clock)
        progress = Progress.decode(Progress(number, world.clock).encode().decode())
        with points.set_up():
            step(world, cast)
        checkpoints[number] = Checkpoint(progress, base / str(number), points.passed)
    for _ in range(2):
        world.cycle()
    undisturbed = Ending(outcome(world, cast), world.ledger.items.freed().bytes)
    world.close()
    return Stage(world, cast, checkpoints, undisturbed)


def test_scenario_holds_everything_that_can_happen(stage: Stage) -> None:
    """Undisturbed it quarantines, restores, collides, holds again and purges, and frees exactly."""
    assert stage.undisturbed.outcome.states == {
        "plain: purged": 1,
        "back: restored": 1,
        "back: purged": 1,
        "late: restored": 2,
        "clash: purged": 2,
        "vanishes: purged": 1,
        "vanishes_too: purged": 1,
        "rest: conflict": 1,
        "waits: quarantined": 1,
    }
    assert stage.undisturbed.freed_bytes == 1_110 + 3_000 + 7_770 + 2_220 + 19 + 23
    told = stage.undisturbed.outcome.told
    assert {event for event in told if event.startswith("nobody")} == {
        "nobody: backlog",
        "nobody: refused",
        "nobody: confirmed",
    }
    assert told["clash: conflict"] == 1
    assert all(stage.checkpoints[number].points > 1 for number in CYCLES)


@pytest.mark.parametrize("number", CYCLES)
def test_killed_at_any_point_of_a_cycle(stage: Stage, number: int) -> None:
    """Wherever a cycle is killed, the outcome is the same in the end, byte for byte."""
    checkpoint = stage.checkpoints[number]
    wrong = {}
    for deadly in range(1, checkpoint.points + 1):
        progress = stage.play(stage.begin(checkpoint), deadly)
        assert progress.step == number, "it was killed in another step"
        if complaints := stage.complaints(progress):
            wrong[deadly] = complaints
    assert not wrong, _shown(wrong)


@pytest.mark.parametrize("number", CYCLES)
def test_killed_again_while_it_recovers(stage: Stage, number: int) -> None:
    """Killed, and killed again while that is made good: the outcome is the same in the end."""
    checkpoint, dice = stage.checkpoints[number], random.Random(number)
    wrong = {}
    for _ in range(12):
        first = dice.randint(1, checkpoint.points)
        second = dice.randint(1, checkpoint.points)
        progress = stage.play(stage.begin(checkpoint), first)
        progress = stage.play(progress, second)
        if complaints := stage.complaints(progress, kills=2):
            wrong[first, second] = complaints
    assert not wrong, _shown(wrong)


def test_killed_in_a_purge_and_wanted_again(stage: Stage) -> None:
    """Killed while it purges a run that is restored then: no loss is silent."""
    checkpoint = stage.checkpoints[CYCLES[-2]]
    purged, wrong = stage.cast.plain, {}
    whole = {"model.bin", "deep/er/one.txt", "deep/two.txt"}
    endings = set()
    for deadly in range(1, checkpoint.points + 1):
        progress = stage.play(stage.begin(checkpoint), deadly)
        world = World.at(stage.world.home, stage.world.settings, progress.clock)
        if world.states(purged) != [ItemState.PURGED]:
            world.undelete(purged)
            world.cycle()
            is_whole = set(world.files_at(purged)) == whole
            told = world.history(purged)[-1]
            if told != "lost" and not (is_whole and told == "restored"):
                wrong[deadly] = [f"told {told} of {sorted(world.files_at(purged))}"]
            endings.add(told)
        world.close()
    assert not wrong, _shown(wrong)
    assert endings == {"restored", "lost"}, "it was never killed in the middle of the purge"


def _shown(wrong: dict[Any, list[str]]) -> str:
    return "\n".join(f"killed at {point}: {'; '.join(found)}" for point, found in wrong.items())
