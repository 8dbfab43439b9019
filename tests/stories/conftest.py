from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_cleanup.model.ledger_home import LedgerServer
from tests.kit.world import Run, World


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stories kill or restart are processes, and those lose nothing that was written."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def world(tmp_path: Path, ledger_server: LedgerServer | None) -> Iterator[World]:
    """A world with an empty tracking database and a retention of a week, seen once already."""
    made = World.make(tmp_path / "home", ledger=ledger_server)
    made.cycle()
    yield made
    made.close()


@pytest.fixture
def deleted(world: World) -> Run:
    """A run of 10 bytes that is deleted, and that no cycle has seen as such."""
    run = world.run()
    world.cycle()
    world.delete(run)
    return run
