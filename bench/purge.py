"""How fast a tree is removed for good."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from bench.kit.machine import file_system, say
from bench.kit.report import Aim, Result, Series
from bench.kit.world import FILE_BYTES, Lab
from mlflow_cleanup.stores.local.directory import open_root
from mlflow_cleanup.stores.local.removal import remove_tree

FILES_A_DIRECTORY = 4
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - measured in a fresh directory there


def measure(lab: Lab) -> Result:
    """Remove trees of 20,000 files (4,000 when quick), each tree once, in turns."""
    rounds, files = (3, 4_000) if lab.is_quick else (7, 20_000)
    series = _on(lab.directory, rounds, files)
    if _SHARED_MEMORY.is_dir():
        with tempfile.TemporaryDirectory(dir=_SHARED_MEMORY) as directory:
            series += _on(Path(directory), rounds, files)
    aims = [
        Aim(f"{ours.group}: times rm -rf", ours.quantile(0.5) / rm.quantile(0.5), 1.1)
        for ours, rm in pairwise(series)
        if rm.is_baseline
    ]
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


def _on(directory: Path, rounds: int, files: int) -> list[Series]:
    took_s: dict[str, list[float]] = {name: [] for name in REMOVERS}
    group = f"{file_system(directory)}, s"
    # All trees are built before the first is removed: ext4 makes files very slowly for some minutes
    # after many were removed, as it does not use their inodes again so soon.
    trees = [directory / f"tree{number}" for number in range(rounds * len(REMOVERS))]
    for tree in trees:
        say(f"purge: {file_system(directory)}, building {tree.name} of {len(trees)}")
        _build(tree, files)
    for tree, name in zip(trees, _turns(rounds), strict=True):
        os.sync()
        begun = time.perf_counter()
        REMOVERS[name](tree)
        took_s[name].append(time.perf_counter() - begun)
        say(f"purge: {file_system(directory)}, {name}: {took_s[name][-1]:.3f} s")
    return [
        Series(group, name, tuple(values), is_baseline=name == "rm -rf")
        for name, values in took_s.items()
    ]


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
