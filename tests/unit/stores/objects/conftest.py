from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.object_grounds import OBJECT_BUILDERS, ObjectGround, S3Objects, use_s3
from tests.kit.servers.proxy import Proxy, proxy_to
from tests.kit.servers.seaweedfs import SeaweedFS


@pytest.fixture
def s3_ground(s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> ObjectGround:
    """Give a root on S3."""
    use_s3(s3_server.endpoint, monkeypatch)
    return ObjectGround(S3Objects(s3_server, s3_server.bucket()), "root")


@pytest.fixture(params=OBJECT_BUILDERS)
def any_ground(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ObjectGround:
    """Give a root on each kind of store."""
    return OBJECT_BUILDERS[request.param](request, monkeypatch)("root")


@pytest.fixture
def proxy(s3_server: SeaweedFS) -> Iterator[Proxy]:
    """Give a proxy before the S3 server."""
    with proxy_to(s3_server.port) as running:
        yield running


@pytest.fixture
def faulty_ground(
    s3_ground: ObjectGround, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> ObjectGround:
    """Give a root on S3 whose store comes through the proxy."""
    use_s3(proxy.endpoint, monkeypatch)
    return s3_ground
