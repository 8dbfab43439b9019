"""The machine, its processes and what they cost."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF
from typing import Any

_LOOK_S = 0.02


def describe(directory: Path) -> dict[str, Any]:
    """Say on what is measured; `directory` is where."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "file_system": "{} ({})".format(*_mount(directory)),
        "kernel": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "mlflow": importlib.metadata.version("mlflow"),
    }


def file_system(directory: Path) -> str:
    """Return the type of the file system that a directory lies on."""
    return _mount(directory)[0]


def environment() -> dict[str, str]:
    """Return the environment of child processes: bytecode is kept, settings of MLflow are not."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true"}


def cpu_s(pid: int) -> float:
    """Return the processor seconds that a process has used, all its threads together; Linux only.

    The clock id of another process is made as in clock_getcpuclockid(3).
    """
    _require_linux()
    return time.clock_gettime(~pid << 3 | 2)


@dataclass(slots=True)
class Spent:
    """Wall and processor seconds, children's included."""

    wall_s: float = 0.0
    cpu_s: float = 0.0


@contextmanager
def spending() -> Iterator[Spent]:
    """Measure what is done inside; children count once they have ended."""
    spent, before, begun = Spent(), _own_cpu_s(), time.perf_counter()
    yield spent
    spent.wall_s = time.perf_counter() - begun
    spent.cpu_s = _own_cpu_s() - before


def memory_mib(pid: int) -> tuple[float, float]:
    """Return the resident (RSS) and the proportional (PSS) memory of a process; Linux only."""
    _require_linux()
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return kib["Rss"] / 1024, kib["Pss"] / 1024


def peak_of_all_mib(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process; return the most memory (PSS) that it and its children had at a time."""
    _require_linux()
    peak = 0.0
    while process.poll() is None:
        now = 0.0
        for pid in (process.pid, *_children(process.pid)):
            with suppress(OSError, KeyError):  # it has just ended
                now += memory_mib(pid)[1]
        peak = max(peak, now)
        time.sleep(_LOOK_S)
    return peak


def say(text: str) -> None:
    """Tell on stderr how far we are."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _children(pid: int) -> list[int]:
    try:
        tasks = [task.joinpath("children").read_text("ascii") for task in _tasks(pid)]
    except OSError:
        return []
    return [int(child) for task in tasks for child in task.split()]


def _tasks(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def _mount(directory: Path) -> tuple[str, str]:
    """Return type and options of the file system."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    except OSError:
        return "unknown", "unknown"
    fits = [(len(at), kind, how) for _, at, kind, how, *_ in mounts if directory.is_relative_to(at)]
    return max(fits)[1:]


def _own_cpu_s() -> float:
    mine, children = (resource.getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN))
    return mine.ru_utime + mine.ru_stime + children.ru_utime + children.ru_stime


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _require_linux() -> None:
    if sys.platform != "linux":
        raise SystemExit("what other processes cost is measured on Linux only")
