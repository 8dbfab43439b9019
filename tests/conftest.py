"""Servers that tests share: one of each in a test process, made when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.servers.azurite import Azurite, azurite
from tests.kit.servers.gcs import FakeGCS, fake_gcs
from tests.kit.servers.seaweedfs import SeaweedFS, seaweedfs


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
