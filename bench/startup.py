"""How long `mlflow-cleanup --help` takes: the shortest way through the command line."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.kit.machine import environment, say
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
    took_ms: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for name in COMMANDS:
        _run(name)
    for number in range(rounds):
        say(f"startup: round {number + 1} of {rounds}")
        for name in COMMANDS:
            took_ms[name].append(_run(name))
    series = tuple(
        Series("ms", name, tuple(values), is_baseline=name == "python -c pass")
        for name, values in took_ms.items()
    )
    aims = (Aim("mlflow-cleanup --help, median ms", series[0].quantile(0.5), 120),)
    return Result("startup", "a process from start to end, bytecode compiled", series, aims)


def _run(name: str) -> float:
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, *COMMANDS[name]],
        env=environment(),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return (time.perf_counter() - begun) * 1000
