from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlflow_cleanup.cli.app import app
from tests.kit.world import World

Say = Callable[..., Result]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world of today in the working directory, seen once already, with much that is in use."""
    made = World.make(tmp_path / "home")
    made.clock.wall_s = time.time()  # the verbs read the real clock
    made.run({"large": 10_000})
    made.cycle()
    monkeypatch.chdir(made.home)
    yield made
    made.close()


@pytest.fixture
def say() -> Say:
    """Give what runs a verb as the command does."""
    return lambda *words: CliRunner().invoke(app, list(words), prog_name="mlflow-cleanup")
