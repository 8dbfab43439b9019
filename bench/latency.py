"""How long from the commit of a delete until the run's directory has left the artifact root."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field

from bench.kit.contenders import EVENTS, POLLING, SIMPLE_LOOP, Contender, running
from bench.kit.machine import say
from bench.kit.report import Aim, Result, Series
from bench.kit.world import Lab, World

RUNS = 200
MANY_RUNS = 10_000
FILES = 5
_MISSED_S = 30.0
_GIVES_UP = 3
"""Deletes missed by a contender, 30 s each, after which it is not tried further."""
_LOOK_S = 0.0001


@dataclass(slots=True)
class Case:
    """One contender with one size of database and one journal mode, and how it did.

    Before each delete there is a random pause of up to `pause_s`: without it, a poll would always
    be met right after its last look.
    """

    runs: int
    journal: str
    contender: Contender
    pause_s: float
    took_ms: list[float] = field(default_factory=list)
    missed: int = 0

    @property
    def group(self) -> str:
        """Name what the case is compared with."""
        return f"{self.journal} journal, {self.runs} runs, ms"

    @property
    def label(self) -> str:
        """Name the case in the table."""
        return f"{self.contender.name}, {'deletes apart' if self.pause_s else 'back to back'}"

    def series(self) -> Series:
        """Return the samples with what was missed."""
        tried = len(self.took_ms) + self.missed
        end = ", given up" if self.missed >= _GIVES_UP else ""
        return Series(
            group=self.group,
            contender=self.label,
            samples=tuple(self.took_ms),
            is_baseline=self.contender is SIMPLE_LOOP,
            note=f"missed {self.missed} of {tried}{end}",
        )


def measure(lab: Lab) -> Result:
    """Delete 200 runs for each case (40 when quick), in interleaved rounds."""
    rounds, deletes = (2, 20) if lab.is_quick else (4, 50)
    ways = ((EVENTS, 0.0), (EVENTS, 2.0), (POLLING, 2.0), (SIMPLE_LOOP, 2.0))
    cases = [Case(RUNS, journal, *way) for journal in ("delete", "wal") for way in ways]
    cases += [Case(MANY_RUNS, "delete", *way) for way in ways if way[0] is not POLLING]
    for number in range(rounds):
        for case in cases:
            if case.missed < _GIVES_UP:
                say(f"latency: round {number + 1} of {rounds}, {case.group}: {case.label}")
                world = lab.world(case.runs, with_files=deletes, files=FILES, journal=case.journal)
                _round(case, world, world.run_ids[:deletes], number)
    return Result(
        "latency",
        f"from a delete's commit to its {FILES} files gone, {rounds} rounds of {deletes}",
        tuple(case.series() for case in cases),
        tuple(_aims(cases)),
    )


def _round(case: Case, world: World, run_ids: tuple[str, ...], seed: int) -> None:
    pauses = random.Random(seed)
    with running(case.contender, world), closing(world.connect()) as connection:
        for run_id in run_ids:
            time.sleep(pauses.uniform(0, case.pause_s))
            took_ms = _delete_and_wait(connection, world, run_id)
            if took_ms is not None:
                case.took_ms.append(took_ms)
                continue
            case.missed += 1
            if case.missed >= _GIVES_UP:
                break
    world.remove()


def _delete_and_wait(connection: sqlite3.Connection, world: World, run_id: str) -> float | None:
    """Delete a run as MLflow does; return how long its directory stayed, None if it never went."""
    place = os.fspath(world.place(run_id))
    with connection:
        connection.execute(
            "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = ? WHERE run_uuid = ?",
            (time.time_ns() // 1_000_000, run_id),
        )
    committed = time.perf_counter()
    while os.path.lexists(place):
        if time.perf_counter() - committed > _MISSED_S:
            return None
        time.sleep(_LOOK_S)
    return (time.perf_counter() - committed) * 1000


def _aims(cases: list[Case]) -> list[Aim]:
    aims = []
    for case in cases:
        name, series = f"{case.group}: {case.label}", case.series()
        if case.contender is EVENTS:
            aims.append(Aim(f"{name}, p50", series.quantile(0.5), 50))
            aims.append(Aim(f"{name}, p99", series.quantile(0.99), 250))
        if case.contender is POLLING:
            aims.append(Aim(f"{name}, max", series.quantile(1), 2200))
        if case.contender is not SIMPLE_LOOP:
            aims.append(Aim(f"{name}, missed", case.missed, 0))
    return aims
