"""Servers that tests share: one of each in a test process, made when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.servers.seaweedfs import SeaweedFS, seaweedfs


@pytest.fixture(scope="session")
def s3_server() -> Iterator[SeaweedFS]:
    """Give a running S3 server."""
    with seaweedfs() as server:
        yield server
