from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.rows import Filled
from tests.kit.served import Served

SERVERS = ("postgresql", "mariadb")


@pytest.fixture(params=["sqlite", *SERVERS])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Filled]:
    """A database of the newest release, without a row, of each kind."""
    if request.param == "sqlite":
        yield Filled(tmp_path / "mlflow.db")
        return
    served = Served(request.getfixturevalue(request.param))
    yield served
    served.release()


@pytest.fixture
def in_sqlite(tmp_path: Path) -> Filled:
    """A database of SQLite, for what only that does."""
    return Filled(tmp_path / "mlflow.db")
