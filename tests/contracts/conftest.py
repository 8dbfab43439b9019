"""Roots of every kind of store."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.kit.grounds import BUILDERS, Ground

NewGround = Callable[[], Ground]


@pytest.fixture(params=BUILDERS.values(), ids=list(BUILDERS))
def new_ground(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> NewGround:
    """Give a maker of roots of one kind."""
    number = count()

    def make() -> Ground:
        home = tmp_path / str(next(number))
        home.mkdir()
        return request.param(home / "root", monkeypatch)

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
