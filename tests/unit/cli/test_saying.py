"""What cannot be said, because nobody listens or there is no room for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.kit.world import World

pytestmark = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="there is no device here that is always full"
)

VERBS = [
    ["status"],
    ["plan", "--json"],
    ["usage", "--csv"],
    ["history"],
    ["trash", "list"],
    ["pin"],
    ["doctor"],
    ["sweep", "--apply"],
    ["--help"],
    ["plan", "--help"],
    ["--version"],
]


def run(world: World, words: Sequence[str], **more: object) -> subprocess.CompletedProcess[str]:
    """Run a verb as a program."""
    command = [sys.executable, "-m", "mlflow_cleanup", *words]
    return subprocess.run(  # type: ignore[call-overload]
        command, check=False, cwd=world.home, text=True, stderr=subprocess.PIPE, **more
    )


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_full_output_is_told_in_a_line(world: World, words: list[str]) -> None:
    """With exit code 1, and where to read of what was done."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        told = run(world, words, stdout=full)

    assert told.returncode == 1
    assert told.stderr.count("\n") == 1
    assert "No space left on device" in told.stderr
    assert "mlflow-cleanup history" in told.stderr


def test_closed_output_is_told_too(world: World) -> None:
    """Nobody would know otherwise that there was something to read."""
    told = run(world, ["status"], preexec_fn=lambda: os.close(1))

    assert told.returncode == 1
    assert "standard output is closed" in told.stderr
    assert told.stderr.count("\n") == 1


def test_reader_that_went_away_is_told_in_a_line(world: World) -> None:
    """As with `| head -1`, which ends after the first line."""
    reading, writing = os.pipe()
    os.close(reading)
    told = run(world, ["plan"], stdout=writing)
    os.close(writing)

    assert told.returncode == 1
    assert told.stderr.count("\n") == 1
    assert "Broken pipe" in told.stderr


def test_what_was_done_is_done_though_it_cannot_be_told(world: World) -> None:
    """The runs are in the trash, and the history has them."""
    run_ = world.run({"a": 100})
    world.cycle()
    world.delete(run_)

    with open("/dev/full", "w", encoding="utf-8") as full:
        told = run(world, ["sweep", "--apply"], stdout=full)

    assert told.returncode == 1
    assert world.bytes_in_trash(run_) == 100
    assert "quarantined" in world.history(run_)
