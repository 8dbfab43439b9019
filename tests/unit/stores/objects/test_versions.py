"""Buckets that keep versions, or that hold what was never finished."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import pytest

from mlflow_cleanup.model.item import Held, Item, Size
from mlflow_cleanup.stores.base import ArtifactStore, Purged
from mlflow_cleanup.stores.objects.store import KEPT_VERSIONS
from mlflow_cleanup.stores.opening import open_store
from tests.kit.grounds import INSIDE, OURS, always, item_at, place
from tests.kit.object_grounds import ObjectGround, S3Objects, use_s3
from tests.kit.servers.proxy import Proxy, Reply
from tests.kit.servers.seaweedfs import SeaweedFS

PREFIX = "root/" + "/".join(INSIDE)


def ground_in(server: SeaweedFS, bucket: str, monkeypatch: pytest.MonkeyPatch) -> ObjectGround:
    """Give a root in a bucket."""
    use_s3(server.endpoint, monkeypatch)
    return ObjectGround(S3Objects(server, bucket), "root")


@pytest.fixture
def versioned(s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> ObjectGround:
    """Give a root in a bucket that keeps versions, with two of one file in it."""
    ground = ground_in(s3_server, s3_server.bucket(versioned=True), monkeypatch)
    for content in (b"1" * 10, b"2" * 100):
        ground.put(place(ground), {"weights": content})
    ground.put(place(ground, "7", "other"), {"theirs": b"x"})
    return ground


def held(ground: ObjectGround) -> Item:
    """Give the item of the usual place."""
    return item_at(place(ground), held=Held.IN_PLACE)


def thorough(ground: ObjectGround) -> ArtifactStore:
    """Open a root so that versions are purged, too."""
    return open_store(ground.root, OURS, wait=ground.waits.append, purges_versions=True)


def versions(ground: ObjectGround, prefix: str = PREFIX) -> list[int]:
    """Return the sizes of all versions below a prefix; -1 for what says that it was deleted."""
    assert isinstance(ground.objects, S3Objects)
    told = ground.objects.server.client.list_object_versions(
        Bucket=ground.objects.bucket, Prefix=prefix
    )
    sizes = [one["Size"] for one in told.get("Versions", ())]
    return sorted([*sizes, *(-1 for _ in told.get("DeleteMarkers", ()))])


@pytest.mark.parametrize("is_marked", [False, True])
def test_purge_says_that_versions_hold_the_bytes(
    versioned: ObjectGround, *, is_marked: bool
) -> None:
    """What is out of sight is purged; nothing counts as freed, with the reason."""
    store = versioned.store()
    if is_marked:
        store.mark()

    purged = store.purge(held(versioned), always)

    assert purged == Purged(Size(), complete=True, unfreed=KEPT_VERSIONS)
    assert not store.exists(place(versioned))
    assert versions(versioned) == [-1, 10, 100]


@pytest.mark.parametrize("is_deleted", [False, True])
def test_purge_of_versions_leaves_none(versioned: ObjectGround, *, is_deleted: bool) -> None:
    """Every version and every mark of a deletion goes, and what they held is freed."""
    if is_deleted:
        versioned.store().purge(held(versioned), always)

    purged = thorough(versioned).purge(held(versioned), always)

    assert purged == Purged(Size(3 if is_deleted else 2, 110), complete=True)
    assert versions(versioned) == []
    assert versions(versioned, "root/7/other") == [1]


def test_purge_of_versions_where_there_are_none_is_a_purge(s3_ground: ObjectGround) -> None:
    """A bucket without versions is purged as ever."""
    s3_ground.put(place(s3_ground), {"weights": b"1" * 10})

    assert thorough(s3_ground).purge(held(s3_ground), always) == Purged(Size(1, 10), complete=True)


def test_store_that_tells_of_no_versions_is_not_empty(
    faulty_ground: ObjectGround, proxy: Proxy
) -> None:
    """Some servers know no versions and say that there are none; the objects are there."""
    none = b"<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>"
    faulty_ground.put(place(faulty_ground), {"weights": b"1" * 10})
    proxy.fault = lambda asked: Reply(200, none) if "versions" in asked.path else None

    purged = thorough(faulty_ground).purge(held(faulty_ground), always)

    assert (purged.freed, purged.complete) == (Size(), False)
    assert "tells no versions" in purged.failures[0]


def test_locked_versions_stay_and_say_so(
    s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock keeps its version; the item has failed with the store's reason for each key."""
    ground = ground_in(s3_server, s3_server.bucket(locked=True), monkeypatch)
    assert isinstance(ground.objects, S3Objects)
    s3_server.client.put_object(
        Bucket=ground.objects.bucket,
        Key=f"{PREFIX}/locked",
        Body=b"12345",
        ObjectLockMode="COMPLIANCE",
        ObjectLockRetainUntilDate=datetime.now(timezone.utc) + timedelta(days=1),
    )
    ground.put(place(ground), {"free": b"1"})

    purged = thorough(ground).purge(held(ground), always)

    assert (purged.freed, purged.complete) == (Size(1, 1), False)
    (failure,) = purged.failures
    assert failure.startswith(f"{PREFIX}/locked: AccessDenied")
    assert versions(ground) == [5]


def test_versions_cannot_be_purged_without_boto3(
    versioned: ObjectGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure names what to install, and nothing is gone."""
    monkeypatch.setattr("mlflow_cleanup.stores.objects.s3.find_spec", lambda _: None)

    purged = thorough(versioned).purge(held(versioned), always)

    assert not purged.complete
    assert 'pip install "mlflow-cleanup[s3]"' in purged.failures[0]
    assert versions(versioned) == [10, 100]


def test_bucket_that_keeps_no_new_versions_frees_its_bytes(
    versioned: ObjectGround, s3_server: SeaweedFS
) -> None:
    """While versions are suspended, what is written and deleted is really gone."""
    assert isinstance(versioned.objects, S3Objects)
    s3_server.client.put_bucket_versioning(
        Bucket=versioned.objects.bucket, VersioningConfiguration={"Status": "Suspended"}
    )
    versioned.store().mark()
    versioned.put(place(versioned, "8"), {"x": b"123"})

    item = item_at(place(versioned, "8"), held=Held.IN_PLACE)
    assert versioned.store().purge(item, always) == Purged(Size(1, 3), complete=True)


def test_unfinished_uploads_are_found_and_given_up(
    s3_ground: ObjectGround, s3_server: SeaweedFS
) -> None:
    """With the bytes of their parts, below the root only; once more there is nothing to do."""
    assert isinstance(s3_ground.objects, S3Objects)
    bucket, client = s3_ground.objects.bucket, s3_server.client
    for key in (f"{PREFIX}/big model", "rootless/other"):
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x" * 1_000)
    store = s3_ground.store()

    (found,) = store.unfinished(always)

    assert found.path == "/".join((*INSIDE, "big model"))
    assert found.bytes == 1_000
    assert abs(found.begun_at - time.time()) < 60
    assert store.give_up(found) is True
    assert list(store.unfinished(always)) == []
    store.give_up(found)  # SeaweedFS answers as if it had been there
    left = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [one["Key"] for one in left] == ["rootless/other"]
