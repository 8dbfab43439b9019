"""How fast deleted runs' rows are removed, and how long a writer beside that has to wait."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from bench.kit.machine import environment, say
from bench.kit.report import Aim, Result, Series
from bench.kit.world import Lab, World
from bench.kit.writer import Writer

METRICS = 50
_PARAMS = 5
_DELETED_MS = 1_700_000_000_000
_HERE = Path(__file__).parent
_ALONE_S = 3.0
_P99_MS, _TIMES_FLOOR = 50.0, 1.5

_SPEED = {
    "mlflow-cleanup": "ours",
    "mlflow-cleanup, unpaced": "unpaced",
    "plain SQL": "floor",
    "MLflow's store, one by one": "mlflow",
}
_PACED = "beside mlflow-cleanup"
_BESIDE = {_PACED: "ours", "beside mlflow-cleanup, unpaced": "unpaced", "beside plain SQL": "floor"}


def measure(lab: Lab) -> Result:
    """Remove 1,000 of 20,000 runs with 50 metrics each (quick: 200 of 2,000), in both journals."""
    runs, deleted, rounds = (2_000, 200, 2) if lab.is_quick else (20_000, 1_000, 3)
    series: list[Series] = []
    aims: list[Aim] = []
    for journal in ("delete", "wal"):
        say(f"rows: {journal} journal, making {runs} runs")
        world = lab.world(runs, journal=journal)
        _log(world, deleted)
        speed, waits = _speed(world, journal, rounds), _waits(world, journal, rounds)
        series += [*speed, *waits]
        aims += _aims(journal, {one.contender: one for one in [*speed, *waits]})
        world.remove()
    about = f"{deleted} deleted of {runs} runs, {METRICS} metrics each, {rounds} rounds"
    return Result("rows", about, tuple(series), tuple(aims))


def _aims(journal: str, by_name: dict[str, Series]) -> list[Aim]:
    floor_s = by_name["plain SQL"].quantile(0.5)
    times = by_name["mlflow-cleanup, unpaced"].quantile(0.5) / floor_s
    waited_ms = by_name[_PACED].quantile(0.99)
    return [
        Aim(f"{journal} journal: unpaced, times plain SQL, median", times, _TIMES_FLOOR),
        Aim(f"{journal} journal: a writer's p99 beside it, ms", waited_ms, _P99_MS),
    ]


def _speed(world: World, journal: str, rounds: int) -> list[Series]:
    took_s: dict[str, list[float]] = {name: [] for name in _SPEED}
    for number in range(rounds):
        for name, how in _SPEED.items():
            say(f"rows: {journal} journal, round {number + 1} of {rounds}, {name}")
            took_s[name].append(float(_finish(_remover(how, _copied(world)))))
    group = f"{journal} journal, s"
    return [
        Series(group, name, tuple(took_s[name]), is_baseline=name == "plain SQL") for name in _SPEED
    ]


def _waits(world: World, journal: str, rounds: int) -> list[Series]:
    took_ms: dict[str, list[float]] = {"alone": [], **{name: [] for name in _BESIDE}}
    for number in range(rounds):
        say(f"rows: {journal} journal, round {number + 1} of {rounds}, a writer")
        with Writer(_copied(world), world.run_ids[0]) as writer:
            time.sleep(_ALONE_S)
        took_ms["alone"] += writer.took_ms
        for name, how in _BESIDE.items():
            database = _copied(world)
            with Writer(database, world.run_ids[0]) as writer:
                _finish(_remover(how, database))
            took_ms[name] += writer.took_ms
    group = f"{journal} journal, a metric, ms"
    return [
        Series(group, name, tuple(samples), is_baseline=name == "alone")
        for name, samples in took_ms.items()
    ]


def _remover(how: str, database: Path) -> subprocess.Popen[str]:
    return _start("row_remover.py", how, str(database))


def _start(program: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(_HERE / program), *words],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> str:
    output, _rest = process.communicate()
    if process.returncode:
        raise RuntimeError("a contender failed; its error is above")
    return output.splitlines()[-1]


def _copied(world: World) -> Path:
    """Return a fresh copy of the database, which nobody has open."""
    copy = world.directory / "copy.db"
    for old in world.directory.glob("copy.db*"):
        old.unlink()
    shutil.copyfile(world.database, copy)
    return copy


def _log(world: World, deleted: int) -> None:
    """Give every run metrics and parameters, and delete some, but never the first one."""
    same_every_time = random.Random(deleted)
    gone = same_every_time.sample(world.run_ids[1:], deleted)
    with closing(world.connect()) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executemany(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
            "VALUES ('loss', ?, ?, ?, ?, 0)",
            (
                (1 / (step + 1), _DELETED_MS + step, run_id, step)
                for step in range(METRICS)
                for run_id in world.run_ids
            ),
        )
        connection.executemany(
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
            "VALUES ('loss', 0.02, ?, ?, 0, ?)",
            ((_DELETED_MS, METRICS - 1, run_id) for run_id in world.run_ids),
        )
        connection.executemany(
            "INSERT INTO params (key, value, run_uuid) VALUES (?, '1', ?)",
            ((f"param{n}", run_id) for run_id in world.run_ids for n in range(_PARAMS)),
        )
        connection.executemany(
            "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = ? WHERE run_uuid = ?",
            ((_DELETED_MS, run_id) for run_id in gone),
        )
