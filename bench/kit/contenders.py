"""Who is measured: mlflow-cleanup, the simple loop, and a Python that only sleeps."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.kit.machine import environment
from bench.kit.world import World

_STARTS_S = 120.0
_SETTLES_S = 2.0
"""After the first look: what belongs to starting ends within that."""


class ContenderFailed(RuntimeError):
    """A contender did not start, or ended by itself."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A process to start; it has looked at its world once when its `ready_file` exists."""

    name: str
    words: Callable[[World], list[str]]
    ready_file: Callable[[World], Path]


def monitor(name: str, *flags: str) -> Contender:
    """Return `mlflow-cleanup watch` with flags; its first look ends with the owner marker."""
    return Contender(
        name=name,
        words=lambda world: [
            *(sys.executable, "-m", "mlflow_cleanup", "watch", *flags),
            *("--backend-store-uri", f"sqlite:///{world.database}"),
            *("--artifacts-destination", str(world.root)),
        ],
        ready_file=lambda world: world.root / ".mlflow-cleanup" / "owner.json",
    )


EVENTS = monitor("mlflow-cleanup, file events")
POLLING = monitor("mlflow-cleanup, polling alone", "--no-file-events")
SIMPLE_LOOP = Contender(
    name="simple two-second loop",
    words=lambda world: [
        *(sys.executable, str(Path(__file__).parents[1] / "simple_loop.py")),
        *(str(world.database), str(world.root), str(world.directory / "ready")),
    ],
    ready_file=lambda world: world.directory / "ready",
)
SLEEPER = Contender(
    name="Python asleep",
    words=lambda _: [sys.executable, "-c", "import time; time.sleep(1e6)"],
    ready_file=lambda world: world.database,
)


@contextmanager
def running(contender: Contender, world: World) -> Iterator[int]:
    """Start a contender, wait until it is ready, give its process id, and end it."""
    log = world.directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            contender.words(world),
            env=environment(),
            cwd=world.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _await_ready(contender, world, process)
        yield process.pid
        if process.poll() is not None:
            raise ContenderFailed(f"{contender.name} ended by itself: {log.read_text()[-2000:]}")
    finally:
        process.terminate()
        process.wait()


def _await_ready(contender: Contender, world: World, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + _STARTS_S
    while not contender.ready_file(world).exists():
        if process.poll() is not None or time.monotonic() > ends:
            log = (world.directory / "log").read_text()
            raise ContenderFailed(f"{contender.name} did not start: {log[-2000:]}")
        time.sleep(0.05)
    time.sleep(_SETTLES_S)
