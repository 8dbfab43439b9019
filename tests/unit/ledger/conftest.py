from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.ledger.sqlite import LedgerFile


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A state directory that is not there yet."""
    return tmp_path / ".mlflow-cleanup"


@pytest.fixture
def file(state_dir: Path) -> Iterator[LedgerFile]:
    """An empty ledger's file, open to write."""
    opened = LedgerFile.open_to_write(state_dir)
    yield opened
    opened.close()


@pytest.fixture
def ledger(state_dir: Path) -> Iterator[Ledger]:
    """An empty ledger, open to write."""
    opened = Ledger.open(state_dir)
    yield opened
    opened.close()
