"""How fast deleted runs are removed with files and rows, start-up included, beside `mlflow gc`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

from bench.kit.machine import Spent, environment, file_system, peak_of_all_mib, say, spending
from bench.kit.report import Aim, Result, Series
from bench.kit.world import Lab, World
from bench.kit.writer import Writer

METRICS = 50
FILES = 5
_DELETED_MS = 1_700_000_000_000
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - measured in a fresh directory there
_BESIDE_WRITER, _WRITES_EVERY_S = 200, 0.002
_TELLING = 1_000
"""For fewer runs the start is all that is measured."""
_HERE = Path(__file__).parent

Remove = Callable[[World], list[str]]


def measure(lab: Lab) -> Result:
    """Remove 200, 1,000 and 15,000 runs (quick: 200) of 5 files and 50 metrics each."""
    sizes = [200] if lab.is_quick else [200, 1_000, 15_000]
    return _measure(lab, [(deleted, deleted + 1) for deleted in sizes])


def measure_at_scale(lab: Lab) -> Result:
    """Remove 1,000 runs among 1,000,000 (quick: among 20,000)."""
    return _measure(lab, [(1_000, 20_000 if lab.is_quick else 1_000_000)])


def _measure(lab: Lab, sizes: list[tuple[int, int]]) -> Result:
    series: list[Series] = []
    aims: list[Aim] = []
    for deleted, runs in sizes:
        for place in (lab.directory, _SHARED_MEMORY):
            with tempfile.TemporaryDirectory(dir=place) as directory:
                found = _on(Lab(Path(directory), is_quick=lab.is_quick), deleted, runs)
            series += found
            aims += _aims(found) if deleted >= _TELLING else _aims_beside(found)
    return Result("gc", f"{FILES} files and {METRICS} metrics a run", tuple(series), tuple(aims))


def ours(world: World) -> list[str]:
    """Remove everything with mlflow-cleanup."""
    return [sys.executable, "-m", "mlflow_cleanup", "gc", "--backend-store-uri", _uri(world)]


def out_of_sight(world: World) -> list[str]:
    """Move the files to the trash, which also makes them restorable."""
    return [*ours(world), "--retention", "7d"]


def theirs(world: World) -> list[str]:
    """Remove everything with MLflow."""
    return [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", _uri(world)]


def floor(world: World) -> list[str]:
    """Remove everything with as little as can be done: one delete for each table, and `rm -rf`."""
    return [sys.executable, str(_HERE / "gc_floor.py"), str(world.database), str(world.root / "1")]


CONTENDERS: dict[str, Remove] = {
    "mlflow gc": theirs,
    "mlflow-cleanup gc": ours,
    "mlflow-cleanup gc --retention 7d": out_of_sight,
    "plain SQL and rm -rf": floor,
}


def _on(lab: Lab, deleted: int, runs: int) -> list[Series]:
    """Measure each contender alone, and a small task beside a writer that logs metrics as well."""
    title = f"{file_system(lab.directory)}, {deleted} of {runs}"
    spent: dict[str, Spent] = {}
    peaks: dict[str, float] = {}
    waits: dict[str, list[float]] = {}
    notes: dict[str, str] = {}
    for name, command in CONTENDERS.items():
        say(f"gc: {title}, {name}")
        world = _world(lab, deleted, runs)
        with spending() as spent[name]:
            peaks[name], code = _run(command(world), world)
        if code:
            raise SystemExit(f"{name} failed")
        _expect_gone(world, name, deleted)
        world.remove()
        say(f"gc: {title}, {name}: {spent[name].wall_s:.2f} s")
        if deleted != _BESIDE_WRITER:
            continue
        say(f"gc: {title}, {name}, beside a writer")
        world = _world(lab, deleted, runs)
        with Writer(world.database, world.run_ids[-1], _WRITES_EVERY_S) as writer:
            _, code = _run(command(world), world)
        notes[name] = "it failed" if code else ""
        waits[name] = writer.took_ms
        world.remove()
    return [
        *_series(f"{title}, s", {name: [one.wall_s] for name, one in spent.items()}),
        *_series(f"{title}, CPU s", {name: [one.cpu_s] for name, one in spent.items()}),
        *_series(f"{title}, MiB", {name: [peak] for name, peak in peaks.items()}),
        *_series(f"{title}, a metric beside it, ms", waits, notes),
    ]


def _world(lab: Lab, deleted: int, runs: int) -> World:
    """Make a world whose first runs are deleted; its places are paths, as MLflow alone needs."""
    world = lab.world(runs, with_files=deleted, files=FILES)
    gone = world.run_ids[:deleted]
    with closing(world.connect()) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executemany(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
            "VALUES ('loss', 0.1, ?, ?, ?, 0)",
            ((_DELETED_MS + step, run_id, step) for step in range(METRICS) for run_id in gone),
        )
        connection.executemany(
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
            "VALUES ('loss', 0.1, ?, ?, 0, ?)",
            ((_DELETED_MS, METRICS - 1, run_id) for run_id in gone),
        )
        connection.executemany(
            "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = ? WHERE run_uuid = ?",
            ((_DELETED_MS, run_id) for run_id in gone),
        )
        for table, column in (("runs", "artifact_uri"), ("experiments", "artifact_location")):
            connection.execute(
                f"UPDATE {table} SET {column} = replace({column}, 'mlflow-artifacts:', ?)",
                (str(world.root),),
            )
    os.sync()
    return world


def _run(command: list[str], world: World) -> tuple[float, int]:
    """Run a command to its end; returns the most memory that it had, in MiB, and its exit code."""
    process = subprocess.Popen(
        command,
        cwd=world.directory,
        env={**environment(), "MLFLOW_TRACKING_URI": _uri(world)},
        stdout=subprocess.DEVNULL,
    )
    return peak_of_all_mib(process), process.returncode


def _expect_gone(world: World, name: str, deleted: int) -> None:
    """Make sure that a contender did what it is measured for."""
    left = sum(world.place(run_id).exists() for run_id in world.run_ids[:deleted])
    with closing(world.connect()) as connection:
        rows = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
    expected = len(world.run_ids) - (0 if "retention" in name else deleted)
    if left or rows != expected:
        raise SystemExit(f"{name} left {left} directories and {rows - expected} rows")


def _series(
    group: str, samples: dict[str, list[float]], notes: Mapping[str, str] = MappingProxyType({})
) -> list[Series]:
    return [
        Series(group, name, tuple(values), name == "mlflow gc", notes.get(name, ""))
        for name, values in samples.items()
    ]


def _aims(found: list[Series]) -> list[Aim]:
    by_name = {(one.group.rpartition(", ")[2], one.contender): one for one in found}
    title = found[0].group.rpartition(", ")[0]
    theirs_s, ours_s, sight_s, floor_s = (by_name["s", name].quantile(0.5) for name in CONTENDERS)
    return [
        Aim(f"{title}: share of MLflow's time", ours_s / theirs_s, 1 / 20),
        Aim(f"{title}: share until out of sight", sight_s / theirs_s, 1 / 50),
        Aim(f"{title}: times the floor", ours_s / floor_s, 1.5),
        Aim(f"{title}: MiB", by_name["MiB", "mlflow-cleanup gc"].quantile(1.0), 100 / 1.048576),
    ]


def _aims_beside(found: list[Series]) -> list[Aim]:
    waits = next(
        one for one in found if one.group.endswith("ms") and one.contender == "mlflow-cleanup gc"
    )
    return [Aim(f"{waits.group}: p99", waits.quantile(0.99), 50)]


def _uri(world: World) -> str:
    return f"sqlite:///{world.database}"
