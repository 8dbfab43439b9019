"""How long everything takes that lists all files: a full cycle, and `usage`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.kit.machine import environment, say, spending
from bench.kit.report import Aim, Result, Series
from bench.kit.world import FILE_BYTES, Lab, World
from mlflow_cleanup.stores.local.crew import spare_cores

FILES_A_RUN = 10
_DU = "du -s"


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
    medians = {one.contender: one.quantile(0.5) for one in series}
    aims = [
        Aim(f"{name}: times {_DU}, median", medians[name] / medians[_DU], 1.3)
        for name in ("full cycle", "usage")
    ]
    if not lab.is_quick:
        memory = _memory(lab)
        series += memory
        most = sum(max(one.samples) for one in memory if one.contender.startswith("full cycle"))
        aims.append(Aim("full cycle over 1,000,000 files, all processes, MiB", most, 200))
    about = f"{runs} runs of {FILES_A_RUN} files, {spare_cores()} process(es) beside the first"
    return Result("sweep", about, tuple(series), tuple(aims))


def _memory(lab: Lab) -> list[Series]:
    world = _world(lab, 100_000)
    group, series = f"{100_000 * FILES_A_RUN} files, peak memory, MiB", []
    for what, name in (("plan", "full cycle"), ("usage", "usage")):
        say(f"sweep: {name} over {100_000 * FILES_A_RUN} files")
        told = _apart(world, what)
        series.append(Series(group, name, (told["mib"],)))
        listers = told["lister_mib"] * spare_cores()
        series.append(Series(group, f"{name}, its other processes", (listers,)))
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


def _apart(world: World, what: str) -> dict[str, Any]:
    """Do it in a process of its own, whose start does not count."""
    program = Path(__file__).with_name("full_cycle.py")
    told = subprocess.run(
        [sys.executable, str(program), str(world.database), str(world.root), what],
        env=environment(),
        check=True,
        stdout=subprocess.PIPE,
    )
    values: dict[str, Any] = json.loads(told.stdout)
    if values["files"] != len(world.run_ids) * FILES_A_RUN:
        raise RuntimeError(f"{what} counted {values['files']} files")
    return values


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
    "full cycle": lambda world: _apart(world, "plan")["took_s"],
    "usage": lambda world: _apart(world, "usage")["took_s"],
    "mlflow-cleanup plan": lambda world: _command(world, *_OURS, "plan"),
    "mlflow-cleanup usage": lambda world: _command(world, *_OURS, "usage"),
}
_OURS = (sys.executable, "-m", "mlflow_cleanup")
