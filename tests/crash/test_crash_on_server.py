"""The same scenario with the ledger on a server: killed at some points of every cycle."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from mlflow_cleanup.config import ledger_server_of
from mlflow_cleanup.model.ledger_home import LedgerServer
from tests.crash.scenario import open_stage
from tests.crash.test_crash import CYCLES, Stage, set_stage
from tests.kit.servers.postgresql import PostgreSQL

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes"),
]

_KILLS = 4
"""In each cycle; the first and the last point are always among them."""


@dataclass(frozen=True)
class Shelf:
    """A database with the ledger, and copies of it."""

    server: PostgreSQL
    name: str = "crash_ledger"

    @property
    def ledger(self) -> LedgerServer:
        """The ledger that is played with."""
        return ledger_server_of(self.server.url(self.name))

    def keep(self, number: int) -> None:
        """Make a copy of it as it is now."""
        self._copy(self.name, f"{self.name}_{number}")

    def bring_back(self, number: int) -> None:
        """Put a copy in its place; whoever was connected has died."""
        self._copy(f"{self.name}_{number}", self.name)

    def _copy(self, source: str, name: str) -> None:
        for statement in (
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            f"WHERE datname IN ('{source}', '{name}')",
            f"DROP DATABASE IF EXISTS {name}",
            f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY FILE_COPY",
        ):
            self.server.execute(statement)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQL) -> Stage:
    """Play it once undisturbed, keeping the ledger before each cycle."""
    shelf = Shelf(postgresql)
    postgresql.execute(f"CREATE DATABASE {shelf.name}")
    base = tmp_path_factory.mktemp("crash")
    world, cast = open_stage(base / "home", shelf.ledger)
    return replace(set_stage(base, world, cast, shelf.keep), bring_back=shelf.bring_back)


def _points(number: int, points: int) -> list[int]:
    within = range(2, points)
    chosen = random.Random(number).sample(within, min(_KILLS - 2, len(within)))
    return sorted({1, points, *chosen})


def _killed_once(stage: Stage, number: int, deadly: int) -> list[str]:
    progress = stage.play(stage.begin(stage.checkpoints[number]), deadly)
    assert progress.step == number, "it was killed in another step"
    return stage.complaints(progress)


def _killed_twice(stage: Stage, number: int, deadly: int) -> list[str]:
    progress = stage.play(stage.begin(stage.checkpoints[number]), deadly)
    return stage.complaints(stage.play(progress, deadly), kills=2)


@pytest.mark.parametrize("kill", [_killed_once, _killed_twice])
@pytest.mark.parametrize("number", CYCLES)
def test_killed_with_the_ledger_on_a_server(
    stage: Stage, number: int, kill: Callable[[Stage, int, int], list[str]]
) -> None:
    """The next one finds the lease free, and the outcome is the same in the end."""
    wrong = {}
    for deadly in _points(number, stage.checkpoints[number].points):
        if complaints := kill(stage, number, deadly):
            wrong[deadly] = complaints

    assert wrong == {}
