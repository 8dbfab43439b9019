from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_cleanup.model.ledger_home import LedgerServer
from tests.kit.site import Site
from tests.kit.world import World


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Make a site, and stop what was started there."""
    made = Site(tmp_path.resolve())
    yield made
    for monitor in made.monitors:
        assert monitor.stop(30)


@pytest.fixture
def world(tmp_path: Path, ledger_server: LedgerServer | None) -> Iterator[World]:
    """A world with an empty tracking database, seen once already."""
    made = World.make(tmp_path / "home", ledger=ledger_server)
    made.cycle()
    yield made
    made.close()
