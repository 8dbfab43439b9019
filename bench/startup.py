"""How long `mlflow-cleanup --help` takes: the shortest way through the command line."""

from __future__ import annotations

import subprocess
import sys

from bench.kit.machine import Spent, environment, say, spending
from bench.kit.report import Aim, Result, Series
from bench.kit.world import Lab

COMMANDS = {
    "mlflow-cleanup --help": ("-m", "mlflow_cleanup", "--help"),
    "python -c pass": ("-c", "pass"),
    "mlflow --help": ("-m", "mlflow", "--help"),
}


def measure(lab: Lab) -> Result:
    """Start each 20 times (5 when quick), in turns, after one run that leaves compiled bytecode."""
    rounds = 5 if lab.is_quick else 20
    runs: dict[str, list[Spent]] = {name: [] for name in COMMANDS}
    for name in COMMANDS:
        _run(name)
    for number in range(rounds):
        say(f"startup: round {number + 1} of {rounds}")
        for name in COMMANDS:
            runs[name].append(_run(name))
    wall = [_series("ms", name, [run.wall_s for run in runs[name]]) for name in COMMANDS]
    cpu = [_series("CPU ms", name, [run.cpu_s for run in runs[name]]) for name in COMMANDS]
    aims = (Aim("mlflow-cleanup --help, median ms", wall[0].quantile(0.5), 120),)
    about = "a process from start to end, bytecode compiled"
    return Result("startup", about, (*wall, *cpu), aims)


def _series(group: str, name: str, seconds: list[float]) -> Series:
    samples = tuple(value * 1000 for value in seconds)
    return Series(group, name, samples, is_baseline=name == "python -c pass")


def _run(name: str) -> Spent:
    with spending() as spent:
        subprocess.run(
            [sys.executable, *COMMANDS[name]],
            env=environment(),
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return spent
