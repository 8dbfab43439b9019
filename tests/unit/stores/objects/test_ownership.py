"""Whose root it is, when two ask at the same moment, or the bucket is not what it seems."""

from __future__ import annotations

import pytest

from mlflow_cleanup.errors import ForeignOwner, StoreUnreachable
from mlflow_cleanup.stores.marker import LARGEST_BYTES, NAME
from tests.kit.grounds import OURS, THEIRS
from tests.kit.object_grounds import ObjectGround, S3Objects, use_s3
from tests.kit.servers.proxy import Asked, Proxy, Reply
from tests.kit.servers.seaweedfs import READER, READER_SECRET, SeaweedFS

MARKER = f"root/.mlflow-cleanup/{NAME}"


@pytest.mark.parametrize("method", ["mark", "adopt"])
def test_of_two_that_mark_at_the_same_moment_one_is_let_through(
    faulty_ground: ObjectGround, proxy: Proxy, method: str
) -> None:
    """Whoever comes second by a moment is refused, and the first one's marker stays."""

    def fault(asked: Asked) -> Reply | None:
        if asked.method == "PUT":
            faulty_ground.objects.put(MARKER, THEIRS.encode())
        return None

    proxy.fault = fault
    with pytest.raises(StoreUnreachable, match="at the same moment"):
        getattr(faulty_ground.store(), method)()

    assert faulty_ground.objects.read()[MARKER] == THEIRS.encode()


def test_marker_that_changed_since_it_was_read_is_not_overwritten(
    faulty_ground: ObjectGround, proxy: Proxy
) -> None:
    """Another database adopted the root in between: a new token of ours is not written."""
    faulty_ground.store().mark("first")

    def fault(asked: Asked) -> Reply | None:
        if asked.method == "PUT":
            faulty_ground.objects.put(MARKER, THEIRS.encode())
        return None

    proxy.fault = fault
    store = faulty_ground.store()
    store._tokens = frozenset({"first"})  # type: ignore[attr-defined]
    with pytest.raises(StoreUnreachable, match="at the same moment"):
        store.mark("second")

    assert faulty_ground.objects.read()[MARKER] == THEIRS.encode()


@pytest.mark.parametrize("content", [b"", b"garbled", b"[" * 60_000, b" " * (LARGEST_BYTES + 1)])
def test_marker_that_cannot_be_understood_is_somebody_elses(
    any_ground: ObjectGround, content: bytes
) -> None:
    """It is refused, and left as it is."""
    any_ground.objects.put(MARKER, content)

    for method in ("check", "mark"):
        with pytest.raises(ForeignOwner):
            getattr(any_ground.store(), method)()

    assert any_ground.objects.read()[MARKER] == content


def test_missing_bucket_is_not_made(s3_server: SeaweedFS, s3_ground: ObjectGround) -> None:
    """Some servers make a bucket with the first object: one that is gone is not marked anew."""
    assert isinstance(s3_ground.objects, S3Objects)
    s3_ground.objects.take_away()

    for method in ("check", "mark", "adopt", "is_adopted", "held_ids"):
        with pytest.raises(StoreUnreachable):
            getattr(s3_ground.store(), method)()

    buckets = [one["Name"] for one in s3_server.client.list_buckets()["Buckets"]]
    assert s3_ground.objects.bucket not in buckets


def test_root_that_may_only_be_read_is_looked_at_and_not_marked(
    s3_server: SeaweedFS, s3_ground: ObjectGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A marker that cannot be written makes the root unreachable, with the store's reason."""
    use_s3(s3_server.endpoint, monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)

    s3_ground.store().check()
    with pytest.raises(StoreUnreachable, match="AccessDenied"):
        s3_ground.store().mark()


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_credentials_are_unreachable(
    s3_ground: ObjectGround, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Never the same as an empty root."""
    s3_ground.store().mark()
    monkeypatch.setenv(name, "wrong")

    with pytest.raises(StoreUnreachable):
        s3_ground.store(is_marked=True).check()


def test_nobody_listening_is_unreachable(
    s3_ground: ObjectGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a connection nothing is known."""
    use_s3("http://127.0.0.1:1", monkeypatch)

    with pytest.raises(StoreUnreachable, match="no connection"):
        s3_ground.store(OURS).check()
