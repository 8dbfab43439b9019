from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.rows import Filled


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    """A database of the newest release, without a row."""
    return Filled(tmp_path / "mlflow.db")
