from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.ledger.sqlite import LedgerFile
from mlflow_cleanup.model.ledger_home import LedgerHome
from tests.kit.homes import FILE, POSTGRESQL, asked_server


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


@pytest.fixture(params=[FILE, POSTGRESQL])
def home(request: pytest.FixtureRequest, state_dir: Path) -> LedgerHome:
    """Where the ledger lives: each test that asks for it is made for both homes."""
    return asked_server(request) or state_dir


@pytest.fixture
def ledger(home: LedgerHome) -> Iterator[Ledger]:
    """An empty ledger, open to write."""
    opened = Ledger.open(home)
    yield opened
    opened.close()
