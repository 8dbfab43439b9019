"""Generated scenes full of traps: no byte outside of a root is touched, and none that is in use."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mlflow_cleanup.cycle import workplace
from mlflow_cleanup.observe.places import fold_for
from tests.kit.children import with_own_mounts
from tests.stories.hostile import (
    Scene,
    differences,
    make,
    mount,
    spell_alike,
    swaps,
    untouchable,
)

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the scenes need a file system that takes every name as it is"
)

FEW = range(25)
MANY = range(1_000, 1_130)
"""Seeds; each scene has eight hostile locations."""


def play(scene: Scene) -> int:
    """Do everything that deletes; returns how many bytes were freed by all of it."""
    world, before_it = scene.world, untouchable(scene)

    def check(when: str) -> None:
        changed = differences(before_it, untouchable(scene))
        assert not changed, "\n".join([when, *changed[:9], *map(repr, scene.said), *scene.done])

    world.cycle()
    check("after a cycle")
    world.sweep()
    check("after a full cycle")
    world.purge_by_hand()
    check("after a purge by hand")
    world.advance(days=9)
    world.restart(retention=timedelta(0))
    world.cycle()
    world.sweep()
    world.sweep()
    check("after everything fell due")
    return world.ledger.items.freed().bytes


def in_scene(tmp_path: Path, seed: int, act: Callable[[Scene], Any]) -> None:
    """Make a scene and act in it; nothing is left of it."""
    home = tmp_path / str(seed)
    scene = make(home, seed)
    try:
        act(scene)
    finally:
        scene.world.close()
        shutil.rmtree(home)


def left_alone_but_for_the_garbage(scene: Scene) -> None:
    """Everything that may not change did not, and what has to go is gone."""
    assert play(scene) > 0
    assert [path for path in scene.going if os.path.lexists(path)] == []


def left_alone_in_the_middle(scene: Scene) -> None:
    """Whatever becomes a link meanwhile leads nowhere, and stops nothing."""
    with swaps(scene):
        play(scene)


def left_alone_in_any_spelling(scene: Scene) -> None:
    """Where names are folded, another spelling of a claimed place is claimed."""
    spell_alike(scene)
    assert play(scene) > 0


@pytest.mark.parametrize("seed", FEW)
def test_hostile_locations_reach_nothing(tmp_path: Path, seed: int) -> None:
    """Whatever a location says, only its own directory goes."""
    in_scene(tmp_path, seed, left_alone_but_for_the_garbage)


@pytest.mark.parametrize("seed", FEW)
def test_links_swapped_in_reach_nothing(tmp_path: Path, seed: int) -> None:
    """At each level, at any step, in the trash too."""
    in_scene(tmp_path, seed, left_alone_in_the_middle)


@pytest.mark.parametrize("seed", FEW[:5])
def test_other_spellings_of_what_is_claimed_reach_nothing(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that ignores case and normal forms."""
    monkeypatch.setattr(workplace, "fold_for", lambda _: fold_for("Darwin"))
    in_scene(tmp_path, seed, left_alone_in_any_spelling)


@pytest.mark.parametrize("seeds", [FEW[:3], FEW[3:6]])
def test_mounts_are_left_alone(tmp_path: Path, seeds: Iterable[int]) -> None:
    """What is mounted at or in a directory that goes is not its own."""
    in_mounted_scenes(tmp_path, seeds)


def in_mounted_scenes(tmp_path: Path, seeds: Iterable[int]) -> None:
    """Play scenes with mounts, which end with the process that made them."""

    def body() -> None:
        for seed in seeds:
            scene = make(tmp_path / str(seed), seed)
            mount(scene)
            play(scene)
            scene.world.close()

    with_own_mounts(body)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_a_thousand_hostile_locations_reach_nothing(tmp_path: Path, seed: int) -> None:
    """More of the same, a thousand and some."""
    in_scene(tmp_path, seed, left_alone_but_for_the_garbage)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_many_links_swapped_in_reach_nothing(tmp_path: Path, seed: int) -> None:
    """The same again, each scene with swaps of its own."""
    in_scene(tmp_path, seed, left_alone_in_the_middle)


@pytest.mark.slow
def test_many_mounts_are_left_alone(tmp_path: Path) -> None:
    """Scene by scene, in one process."""
    in_mounted_scenes(tmp_path, MANY[:60])
