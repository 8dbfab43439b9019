"""How fast a tree is removed for good."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.kit.machine import Spent, file_system, say, spending
from bench.kit.report import Aim, Result, Series
from bench.kit.world import FILE_BYTES, Lab
from mlflow_cleanup.stores.local.directory import open_root
from mlflow_cleanup.stores.local.removal import remove_tree

FILES_A_DIRECTORY = 4
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - measured in a fresh directory there


def measure(lab: Lab) -> Result:
    """Remove trees of 20,000 files (4,000 when quick), each tree once, in turns."""
    rounds, files = (3, 4_000) if lab.is_quick else (5, 20_000)
    wall, cpu = _on(lab.directory, rounds, files)
    series, aims = [*wall, *cpu], [_aim(wall)]
    if _SHARED_MEMORY.is_dir():
        with tempfile.TemporaryDirectory(dir=_SHARED_MEMORY) as directory:
            wall, cpu = _on(Path(directory), rounds, files)
        series, aims = [*series, *wall, *cpu], [*aims, _aim(wall)]
    about = f"{files} files of {FILE_BYTES} bytes, {FILES_A_DIRECTORY} a directory"
    return Result("purge", about, tuple(series), tuple(aims))


def remove_ours(tree: Path) -> None:
    """Remove a tree as a purge does."""
    with open_root(str(tree.parent)) as parent:
        removal = remove_tree(parent, tree.name, lambda: True, time.sleep)
    if removal.failures:
        raise OSError(removal.failures[0])


def remove_by_rm(tree: Path) -> None:
    """Remove a tree with `rm -rf`."""
    subprocess.run(["rm", "-rf", str(tree)], check=True)


def remove_by_find(tree: Path) -> None:
    """Remove a tree with `find -delete`."""
    subprocess.run(["find", str(tree), "-delete"], check=True)


REMOVERS: dict[str, Callable[[Path], object]] = {
    "mlflow-cleanup": remove_ours,
    "rm -rf": remove_by_rm,
    "find -delete": remove_by_find,
    "shutil.rmtree": shutil.rmtree,
}


def _on(directory: Path, rounds: int, files: int) -> tuple[list[Series], list[Series]]:
    runs: dict[str, list[Spent]] = {name: [] for name in REMOVERS}
    kind = file_system(directory)
    # All trees are built before the first is removed: ext4 without a journal makes files slowly for
    # some minutes after many were removed, as it passes over their inodes one by one.
    trees = [directory / f"tree{number}" for number in range(rounds * len(REMOVERS))]
    for tree in trees:
        say(f"purge: {kind}, building {tree.name} of {len(trees)}")
        _build(tree, files)
    for tree, name in zip(trees, _turns(rounds), strict=True):
        os.sync()
        with spending() as spent:
            REMOVERS[name](tree)
        runs[name].append(spent)
        say(f"purge: {kind}, {name}: {spent.wall_s:.3f} s")
    wall = [_series(f"{kind}, s", name, [run.wall_s for run in runs[name]]) for name in REMOVERS]
    cpu = [_series(f"{kind}, CPU s", name, [run.cpu_s for run in runs[name]]) for name in REMOVERS]
    return wall, cpu


def _series(group: str, name: str, seconds: list[float]) -> Series:
    return Series(group, name, tuple(seconds), is_baseline=name == "rm -rf")


def _aim(wall: list[Series]) -> Aim:
    medians = {series.contender: series.quantile(0.5) for series in wall}
    times = medians["mlflow-cleanup"] / medians["rm -rf"]
    return Aim(f"{wall[0].group}: times rm -rf, median", times, 1.1)


def _turns(rounds: int) -> list[str]:
    """Return who removes which tree; whoever goes first changes from round to round."""
    names = list(REMOVERS)
    turned = [
        names[number % len(names) :] + names[: number % len(names)] for number in range(rounds)
    ]
    return [name for turn in turned for name in turn]


def _build(tree: Path, files: int) -> None:
    content = bytes(FILE_BYTES)
    for number in range(files // FILES_A_DIRECTORY):
        place = tree / f"{number:032x}"
        place.mkdir(parents=True)
        for name in range(FILES_A_DIRECTORY):
            (place / f"file{name}").write_bytes(content)
