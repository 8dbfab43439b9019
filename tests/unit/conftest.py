from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Make a site, and stop what was started there."""
    made = Site(tmp_path.resolve())
    yield made
    for monitor in made.monitors:
        assert monitor.stop(30)
