from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world with an empty tracking database, seen once already."""
    made = World.make(tmp_path / "home")
    made.cycle()
    yield made
    made.close()
