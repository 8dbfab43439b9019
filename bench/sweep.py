"""How long everything takes that lists all files: a full cycle, and `usage`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.kit.machine import environment, peak_of_all_mib, say, spending
from bench.kit.report import Aim, Result, Series
from bench.kit.world import FILE_BYTES, Lab, World
from mlflow_cleanup.stores.local.crew import spare_cores

FILES_A_RUN = 10
_MANY_RUNS = 100_000
_DU = "du -s"
_LISTING = {"full cycle": "plan", "usage": "usage"}


def measure(lab: Lab) -> Result:
    """List 200,000 files of 20,000 runs (a fifth when quick), and once a million for its memory."""
    rounds, runs = (3, 4_000) if lab.is_quick else (7, 20_000)
    world = _world(lab, runs)
    took: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for contender in CONTENDERS.values():
        contender(world)  # once for nothing: from then on all that is listed is in memory
    for number in range(rounds):
        say(f"sweep: round {number + 1} of {rounds}")
        for name, contender in CONTENDERS.items():
            took[name].append(contender(world))
    world.remove()
    group = f"{runs * FILES_A_RUN} files, s"
    series = [Series(group, name, tuple(took[name]), name == _DU) for name in CONTENDERS]
    about = f"{runs} runs of {FILES_A_RUN} files, {spare_cores()} process(es) beside the first"
    if lab.is_quick:  # what does not grow with the tree is too large a part of so small a one
        return Result("sweep", about, tuple(series))
    medians = {one.contender: one.quantile(0.5) for one in series}
    aims = [
        Aim(f"{name}: times {_DU}, median", medians[name] / medians[_DU], 1.3) for name in _LISTING
    ]
    memory = _memory(lab)
    aims += [Aim(f"{one.contender} over {one.group}", one.samples[0], 200) for one in memory]
    return Result("sweep", about, (*series, *memory), tuple(aims))


def _memory(lab: Lab) -> list[Series]:
    world = _world(lab, _MANY_RUNS)
    group, series = f"{_MANY_RUNS * FILES_A_RUN} files, memory of all processes, MiB", []
    for name, what in _LISTING.items():
        say(f"sweep: {name} over {_MANY_RUNS * FILES_A_RUN} files")
        with _start(world, what) as process:
            series.append(Series(group, name, (peak_of_all_mib(process),)))
            _values_of(process, world)
    world.remove()
    return series


def _world(lab: Lab, runs: int) -> World:
    """Make a world in which every run has ten files, half of them in a directory of their own."""
    say(f"sweep: building {runs * FILES_A_RUN} files")
    world, content = lab.world(runs), bytes(FILE_BYTES)
    for run_id in world.run_ids:
        model = world.place(run_id) / "model"
        model.mkdir(parents=True)
        for place in (world.place(run_id), model):
            for number in range(FILES_A_RUN // 2):
                (place / f"file{number}").write_bytes(content)
    return world


def _start(world: World, what: str) -> subprocess.Popen[bytes]:
    """Start it in a process of its own, whose start does not count."""
    program = Path(__file__).with_name("full_cycle.py")
    words = [sys.executable, str(program), str(world.database), str(world.root), what]
    return subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE)


def _values_of(process: subprocess.Popen[bytes], world: World) -> dict[str, Any]:
    """Return what it printed; raises RuntimeError when it did not count every file."""
    values: dict[str, Any] = json.loads(process.communicate()[0])
    if values["files"] != len(world.run_ids) * FILES_A_RUN:
        raise RuntimeError(f"it counted {values['files']} files")
    return values


def _apart(world: World, what: str) -> float:
    with _start(world, what) as process:
        took_s: float = _values_of(process, world)["took_s"]
    return took_s


def _command(world: World, *words: str) -> float:
    """Return how long a command takes from start to end."""
    with spending() as spent:
        subprocess.run(
            words,
            env=environment(),
            cwd=world.directory,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return spent.wall_s


CONTENDERS: dict[str, Callable[[World], float]] = {
    _DU: lambda world: _command(world, "du", "-s", str(world.root)),
    "full cycle": lambda world: _apart(world, "plan"),
    "usage": lambda world: _apart(world, "usage"),
    "mlflow-cleanup plan": lambda world: _command(world, *_OURS, "plan"),
    "mlflow-cleanup usage": lambda world: _command(world, *_OURS, "usage"),
}
_OURS = (sys.executable, "-m", "mlflow_cleanup")
