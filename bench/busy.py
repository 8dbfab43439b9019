"""What watching takes from four writers that log metrics as fast as they can."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.kit.contenders import EVENTS, POLLING, SIMPLE_LOOP, Contender, running
from bench.kit.machine import cpu_s, environment, memory_mib, say
from bench.kit.report import Result, Series
from bench.kit.world import Lab, World

RUNS = 10_000
WRITERS = 4
_NOBODY = "nobody watches"


@dataclass(slots=True)
class Case:
    """One contender, or nobody, with one journal mode, and one sample of each figure a round."""

    journal: str
    contender: Contender | None
    rate: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Name the case in the table."""
        return self.contender.name if self.contender else _NOBODY

    def series(self, figure: str, samples: list[float]) -> Series:
        """Return one figure of every round."""
        return Series(
            f"{self.journal} journal, {figure}",
            self.label,
            tuple(samples),
            is_baseline=self.contender is None,
        )


def measure(lab: Lab) -> Result:
    """Let the writers work for each case, in interleaved rounds: 5 of 20 s, quick 3 of 5 s."""
    rounds, seconds = (3, 5.0) if lab.is_quick else (5, 20.0)
    cases = [
        Case(journal, contender)
        for journal in ("delete", "wal")
        for contender in (None, EVENTS, POLLING, SIMPLE_LOOP)
    ]
    for number in range(rounds):
        for case in cases:
            say(f"busy: round {number + 1} of {rounds}, {case.journal}, {case.label}")
            _round(case, lab.world(RUNS, journal=case.journal), seconds)
    series: list[Series] = []
    for journal in ("delete", "wal"):
        some = [case for case in cases if case.journal == journal]
        series += [case.series("metrics/s", case.rate) for case in some]
        series += [case.series("a metric's p99, ms", case.p99_ms) for case in some]
        series += [
            case.series("watcher's CPU, % of one core", case.cpu) for case in some if case.cpu
        ]
        series += [
            case.series("watcher's memory (RSS), MiB", case.rss) for case in some if case.rss
        ]
    about = f"{WRITERS} writers, {RUNS} runs, {rounds} rounds of {seconds:.0f} s"
    return Result("busy", about, tuple(series))


def _round(case: Case, world: World, seconds: float) -> None:
    with ExitStack() as stack:
        pid = stack.enter_context(running(case.contender, world)) if case.contender else None
        writers = [_writer(world, seconds, number) for number in range(WRITERS)]
        for writer in writers:
            _read_line(writer)
        before = cpu_s(pid) if pid else 0.0
        for writer in writers:
            _go(writer)
        took_ms = [took for writer in writers for took in json.loads(_read_line(writer))]
        if pid:
            case.cpu.append((cpu_s(pid) - before) / seconds * 100)
            case.rss.append(memory_mib(pid)[0])
        for writer in writers:
            writer.communicate()
    case.rate.append(len(took_ms) / seconds)
    case.p99_ms.append(Series("", "", tuple(took_ms)).quantile(0.99))
    world.remove()


def _writer(world: World, seconds: float, number: int) -> subprocess.Popen[str]:
    program = Path(__file__).with_name("metric_writer.py")
    return subprocess.Popen(
        [sys.executable, str(program), str(world.database), str(seconds), world.run_ids[number]],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _read_line(writer: subprocess.Popen[str]) -> str:
    line = writer.stdout.readline() if writer.stdout else ""
    if not line:
        raise RuntimeError("a writer failed; its error is above")
    return line


def _go(writer: subprocess.Popen[str]) -> None:
    if writer.stdin:
        writer.stdin.write("go\n")
        writer.stdin.flush()
