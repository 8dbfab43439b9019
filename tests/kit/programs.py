"""Programs as processes: what one writes, what it starts in turn, and that nothing of it is left.

Linux only: the processes that belong to a program are found in `/proc`, by a mark in the
environment that every one inherits, whatever process group, session or parent it ends up with.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

MOMENTS_S = 20.0
"""What `within moments` may mean at worst: a loaded machine, not our usual second."""

ENDS_S = 60.0
"""How long a program may take to end when asked to."""

MARK = "TEST_PROGRAM_MARK"
_LOOK_S = 0.05

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, deadline_s: float = MOMENTS_S) -> T:
    """Ask again and again until the answer is true, and return it; fails after the deadline."""
    ends = time.monotonic() + deadline_s
    while not (answer := condition()):
        if time.monotonic() > ends:
            raise AssertionError(f"after {deadline_s:g} s still not: {what}")
        time.sleep(_LOOK_S)
    return answer


@dataclass(frozen=True, slots=True)
class Living:
    """A process that lives, as `/proc` tells it."""

    pid: int
    parent: int
    command: str


def living(mark: str) -> list[Living]:
    """List the processes that carry a mark in their environment; those that ended do not count."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if f"{MARK}={mark}".encode() not in (entry / "environ").read_bytes():
                continue
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it has just ended, or is somebody else's
        if state != "Z":
            found.append(Living(int(entry.name), int(parent), command.strip()))
    return found


def end_all(mark: str) -> list[Living]:
    """Kill every process that carries a mark; returns those that were alive."""
    found = living(mark)
    left = found
    while left:
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(_LOOK_S)
        left = living(mark)
    return found


class Program:
    """One process, what it writes, and all that it starts."""

    def __init__(
        self, words: Sequence[str], directory: Path, environment: Mapping[str, str]
    ) -> None:
        self.words = tuple(words)
        self._mark = uuid.uuid4().hex
        self._log = directory / f"program-{self._mark[:8]}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self.words,
                cwd=directory,
                env={**environment, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Tell whether the process itself, not its offspring, still runs."""
        return self._process.poll() is None

    def output(self) -> str:
        """Return all that it and its offspring have written so far, to stdout and stderr."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def ours(self, *words: str) -> list[str]:
        """Return mlflow-cleanup's own lines that hold all the given words."""
        lines = [line for line in self.output().splitlines() if line.startswith("mlflow-cleanup ")]
        return [line for line in lines if all(word in line for word in words)]

    def line(self, *words: str, deadline_s: float = MOMENTS_S) -> str:
        """Wait for the first line of mlflow-cleanup's that holds all the given words."""
        return self.until(lambda: self.ours(*words), f"a line with {words}", deadline_s)[0]

    def until(self, condition: Callable[[], T], what: str, deadline_s: float = MOMENTS_S) -> T:
        """Wait for a condition; a failure shows what the program wrote."""
        try:
            return until(condition, what, deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._told()}") from None

    def family(self) -> list[Living]:
        """List the process and everything that it started, as far as it lives."""
        return living(self._mark)

    def children(self) -> list[Living]:
        """List the processes whose parent it is."""
        return [process for process in self.family() if process.parent == self.pid]

    def send(self, number: int) -> None:
        """Send a signal to the process itself."""
        self._process.send_signal(number)

    def ended(self, deadline_s: float = ENDS_S) -> int:
        """Wait for its end and return its exit code."""
        self.until(lambda: not self.is_running, "its end", deadline_s)
        return self._process.wait()

    def ends_alone(self) -> None:
        """Fail unless everything that it started has ended with it."""
        self.until(lambda: not self.family(), "nothing of it left", deadline_s=2.0)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; return its exit code once nothing of it is left."""
        self.send(number)
        code = self.ended()
        self.ends_alone()
        return code

    def end(self) -> None:
        """End it and all that it started, by force where asking is not enough."""
        if self.is_running:
            self._process.terminate()
            try:
                self._process.wait(ENDS_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        end_all(self._mark)
        self._process.wait()

    def _told(self) -> str:
        alive = "\n".join(f"{item.pid} {item.command[:120]}" for item in self.family())
        return f"$ {' '.join(self.words)}\n{self.output()[-8_000:]}\nalive:\n{alive or 'nothing'}"
