"""Roots of every kind of store."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.kit.grounds import BUILDERS, Ground
from tests.kit.object_grounds import OBJECT_BUILDERS

NewGround = Callable[[], Ground]


@pytest.fixture(params=[*BUILDERS, *OBJECT_BUILDERS])
def new_ground(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> NewGround:
    """Give a maker of roots of one kind."""
    number = count()
    if request.param in OBJECT_BUILDERS:
        server = OBJECT_BUILDERS[request.param](request, monkeypatch)
        return lambda: server(f"root-{next(number)}")
    builder = BUILDERS[request.param]

    def make() -> Ground:
        home = tmp_path / str(next(number))
        home.mkdir()
        return builder(home / "root", monkeypatch)

    return make


@pytest.fixture
def ground(new_ground: NewGround) -> Ground:
    """Give one empty root."""
    return new_ground()


@pytest.fixture
def moving(ground: Ground) -> Ground:
    """Give a root whose store takes quarantined bytes elsewhere."""
    if not ground.moves:
        pytest.skip("this store holds quarantined bytes in place")
    return ground
