"""Servers that tests share: one of each kind for a test process, started when first asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlflow_cleanup.model.ledger_home import LedgerServer
from tests.kit.homes import asked_server
from tests.kit.servers.azurite import Azurite, azurite
from tests.kit.servers.gcs import FakeGCS, fake_gcs
from tests.kit.servers.mariadb import MariaDB
from tests.kit.servers.postgresql import PostgreSQL
from tests.kit.servers.seaweedfs import SeaweedFS, seaweedfs


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server; each test makes databases of its own there."""
    with PostgreSQL.running() as server:
        yield server


@pytest.fixture
def ledger_server(request: pytest.FixtureRequest) -> LedgerServer | None:
    """Where the ledger lives: None for a file; see `tests.kit.homes`."""
    return asked_server(request)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB server; each test makes databases of its own there."""
    with MariaDB.running() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[SeaweedFS]:
    """Give a running S3 server."""
    with seaweedfs() as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[FakeGCS]:
    """Give a running Google Cloud Storage server."""
    with fake_gcs() as server:
        yield server


@pytest.fixture(scope="session")
def azure_server() -> Iterator[Azurite]:
    """Give a running Azure Blob server."""
    with azurite() as server:
        yield server
