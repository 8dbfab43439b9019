"""What networks and stores do wrong in the middle of a purge: what is there is never gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from mlflow_cleanup.errors import StoreUnreachable
from mlflow_cleanup.model.inventory import Listed, Unseen
from mlflow_cleanup.model.item import Held, Item, Size
from mlflow_cleanup.stores.base import Purged
from mlflow_cleanup.stores.objects import removal
from mlflow_cleanup.stores.objects.bucket import Bucket
from mlflow_cleanup.stores.objects.terms import RETRIES
from tests.kit.grounds import INSIDE, NOTE, RUN, always, item_at, place
from tests.kit.object_grounds import ObjectGround, S3Objects, use_s3
from tests.kit.servers.proxy import (
    RESET,
    SILENCE,
    Asked,
    Proxy,
    Reply,
    error,
    proxy_to,
    refused_keys,
)
from tests.kit.servers.seaweedfs import READER, READER_SECRET, seaweedfs

FILES = {f"f{number}": b"12345" for number in range(10)}
SIZE = Size(10, 50)


@pytest.fixture
def item(faulty_ground: ObjectGround) -> Item:
    """Give an item of ten files, beside a neighbour."""
    faulty_ground.put(place(faulty_ground), FILES)
    faulty_ground.put(place(faulty_ground, "7", f"{RUN}0", "artifacts"), {"theirs": b"x"})
    return item_at(place(faulty_ground), held=Held.IN_PLACE)


def left(ground: ObjectGround) -> int:
    """Count the item's files that are there."""
    return sum(f"7/{RUN}/" in key for key in ground.files())


def on_deletes(reply: Reply, times: float = float("inf")) -> Callable[[Asked], Reply | None]:
    """Answer so to the first bulk deletes."""
    numbers = count()

    def fault(asked: Asked) -> Reply | None:
        return reply if asked.is_bulk_delete and next(numbers) < times else None

    return fault


def test_answer_without_a_deed_is_not_believed(
    faulty_ground: ObjectGround, proxy: Proxy, item: Item
) -> None:
    """A proxy that answers well to every delete and passes none on has freed nothing."""
    proxy.fault = on_deletes(Reply(200, b"<DeleteResult></DeleteResult>"))

    purged = faulty_ground.store().purge(item, always)

    assert (purged.freed, purged.complete) == (Size(), False)
    assert len(purged.failures) == 10
    assert all(removal.STILL_THERE in one for one in purged.failures)
    assert left(faulty_ground) == 10


def test_half_of_a_bulk_reply_failing_is_half_a_failure(
    faulty_ground: ObjectGround, proxy: Proxy, item: Item
) -> None:
    """Each key that would not go is named with the store's reason; the others are freed."""
    locked = {key for key in _keys() if int(key[-1]) % 2}

    def fault(asked: Asked) -> Reply | None:
        if not asked.is_bulk_delete:
            return None
        for key in set(asked.keys) - locked:
            faulty_ground.objects.delete(key)
        return refused_keys(sorted(locked & set(asked.keys)))

    proxy.fault = fault
    purged = faulty_ground.store().purge(item, always)

    assert (purged.freed, purged.complete) == (Size(5, 25), False)
    assert [one.partition(": ")[0] for one in purged.failures] == sorted(locked)
    assert all("AccessDenied" in one for one in purged.failures)
    assert left(faulty_ground) == 5

    proxy.fault = None
    assert faulty_ground.store().purge(item, always) == Purged(Size(5, 25), complete=True)


@pytest.mark.parametrize("code", ["SlowDown", "ServiceUnavailable"])
def test_throttling_for_a_while_is_waited_out(
    faulty_ground: ObjectGround, proxy: Proxy, item: Item, code: str
) -> None:
    """Told to slow down, it pauses longer and longer, asks again, and is done in the end."""
    proxy.fault = on_deletes(error(503, code), times=9)

    assert faulty_ground.store().purge(item, always) == Purged(SIZE, complete=True)

    pauses = [one for one in faulty_ground.waits if one]
    assert pauses == sorted(pauses)
    assert len(pauses) >= 2


def test_throttling_without_an_end_fails_and_says_so(
    faulty_ground: ObjectGround, proxy: Proxy, item: Item
) -> None:
    """What is never let through stays, with the store's word for it."""
    proxy.fault = on_deletes(error(503, "SlowDown"))

    purged = faulty_ground.store().purge(item, always)

    assert (purged.freed, purged.complete) == (Size(), False)
    assert any("SlowDown" in one for one in purged.failures)
    assert left(faulty_ground) == 10


@pytest.mark.parametrize("reply", [error(501, "NotImplemented"), error(405, "MethodNotAllowed")])
def test_store_without_bulk_delete_is_asked_for_each_key(
    faulty_ground: ObjectGround, proxy: Proxy, item: Item, reply: Reply
) -> None:
    """Asked for all at once, as often as obstore tries, and then one by one for good."""
    proxy.fault = on_deletes(reply)

    assert faulty_ground.store().purge(item, always) == Purged(SIZE, complete=True)

    assert len(proxy.deletes) in (1, 1 + RETRIES["max_retries"])
    assert sum(asked.method == "DELETE" for asked in proxy.asked) == 10


def test_odd_names_go_without_bulk_delete_too(
    faulty_ground: ObjectGround, proxy: Proxy, item: Item
) -> None:
    """What obstore cannot name is asked for by itself as well."""
    faulty_ground.put(item.location, {"new\nline": b"1"})
    proxy.fault = on_deletes(error(405, "MethodNotAllowed"))

    purged = faulty_ground.store().purge(item, always)

    assert purged == Purged(Size(11, 51), complete=True)


def test_reset_after_the_deed_is_no_failure(
    faulty_ground: ObjectGround, proxy: Proxy, item: Item
) -> None:
    """The connection breaks before the answer comes: what is gone is found to be gone."""

    def fault(asked: Asked) -> Reply | None:
        if not asked.is_bulk_delete:
            return None
        for key in asked.keys:
            faulty_ground.objects.delete(key)
        return RESET

    proxy.fault = fault

    assert faulty_ground.store().purge(item, always) == Purged(SIZE, complete=True)


def test_reset_before_the_deed_is_tried_again(
    faulty_ground: ObjectGround, proxy: Proxy, item: Item
) -> None:
    """The connection breaks once, and nothing was done: it is asked again."""
    proxy.fault = on_deletes(RESET, times=1)

    assert faulty_ground.store().purge(item, always) == Purged(SIZE, complete=True)


@pytest.mark.parametrize(
    "reply",
    [error(403, "ExpiredToken"), error(403, "AccessDenied"), error(404, "NoSuchBucket"), RESET],
    ids=["expired", "denied", "no bucket", "reset"],
)
def test_root_that_cannot_be_listed_is_unreachable_not_empty(
    faulty_ground: ObjectGround, proxy: Proxy, item: Item, reply: Reply
) -> None:
    """Nothing is purged, nothing is listed, nothing counts as gone."""
    proxy.fault = lambda asked: reply if asked.is_listing else None
    store = faulty_ground.store()

    for ask in (
        lambda: store.purge(item, always),
        lambda: store.exists(item.location),
        lambda: store.measure(item, always),
        lambda: list(store.listing(None, always)),
        lambda: store.newest_write(item.location),
    ):
        with pytest.raises(StoreUnreachable):
            ask()
    assert left(faulty_ground) == 10


def test_listing_that_fails_after_the_deletes_is_not_taken_for_empty(
    faulty_ground: ObjectGround, proxy: Proxy, item: Item
) -> None:
    """Credentials that expire in the middle leave the outcome open."""
    listings = count()
    proxy.fault = lambda asked: (
        error(403, "ExpiredToken") if asked.is_listing and next(listings) else None
    )

    with pytest.raises(StoreUnreachable, match="ExpiredToken"):
        faulty_ground.store().purge(item, always)


def test_bucket_that_vanishes_in_the_middle_is_unreachable(
    faulty_ground: ObjectGround, proxy: Proxy, item: Item
) -> None:
    """A bucket that is gone after the listing is no success."""

    def fault(asked: Asked) -> Reply | None:
        if asked.is_bulk_delete:
            proxy.fault = lambda _: error(404, "NoSuchBucket")
            return error(404, "NoSuchBucket")
        return None

    proxy.fault = fault
    with pytest.raises(StoreUnreachable, match="NoSuchBucket"):
        faulty_ground.store().purge(item, always)


def test_silence_ends_with_a_time_out(
    faulty_ground: ObjectGround, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes a request and never answers is unreachable after a while."""
    monkeypatch.setattr("mlflow_cleanup.stores.objects.s3.ANSWER_S", 0.2)
    proxy.fault = lambda _: SILENCE

    with pytest.raises(StoreUnreachable, match="no answer in time"):
        faulty_ground.store().check()


def test_stopping_ends_waiting_for_a_busy_store(
    faulty_ground: ObjectGround, proxy: Proxy, item: Item
) -> None:
    """Told to stop while the store is busy, it does not go on asking."""
    stop = threading.Event()

    def fault(asked: Asked) -> Reply | None:
        if asked.is_bulk_delete:
            stop.set()
            return error(503, "SlowDown")
        return None

    proxy.fault = fault
    purged = faulty_ground.store().purge(item, lambda: not stop.is_set())

    assert (purged.freed, purged.complete, purged.failures) == (Size(), False, ())
    assert left(faulty_ground) == 10


def test_listing_that_breaks_off_does_not_look_whole(
    faulty_ground: ObjectGround, proxy: Proxy
) -> None:
    """A second page that fails makes the whole listing fail: no directory is told as complete."""
    faulty_ground.put(place(faulty_ground, "a"), {f"{number:04}": b"" for number in range(1_100)})
    proxy.fault = lambda asked: (
        error(500, "InternalError")
        if asked.is_listing and "continuation-token" in asked.path
        else None
    )

    found: list[Listed | Unseen] = []
    with pytest.raises(StoreUnreachable):
        found.extend(faulty_ground.store().listing(None, always))
    assert not [one for one in found if not isinstance(one, Unseen)]


def test_listing_that_never_ends_is_no_listing(
    faulty_ground: ObjectGround, proxy: Proxy, item: Item
) -> None:
    """A store that names a page as its own next has told nothing of what there is."""
    content = "".join(
        f"<Contents><Key>{_keys()[0]}{number:04}</Key><Size>5</Size><ETag>x</ETag>"
        "<LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents>"
        for number in range(1_000)
    )
    endless = (
        "<ListBucketResult><IsTruncated>true</IsTruncated>"
        f"<NextContinuationToken>again</NextContinuationToken>{content}</ListBucketResult>"
    )
    proxy.fault = lambda asked: Reply(200, endless.encode()) if asked.is_listing else None
    store = faulty_ground.store()

    with pytest.raises(StoreUnreachable, match="again and again"):
        store.measure(item, always)
    with pytest.raises(StoreUnreachable, match="again and again"):
        list(store.listing(None, always))
    with pytest.raises(StoreUnreachable, match="again and again"):
        store.purge(item, always)


def test_no_secret_is_in_any_error(
    faulty_ground: ObjectGround, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a key nor a signature is told, whatever the store sends back."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-indeed")
    text = "<StringToSign>AWS4 Signature=abcdef0123</StringToSign>"
    proxy.fault = lambda _: Reply(
        403,
        f"<Error><Code>SignatureDoesNotMatch</Code><Message>X-Amz-Signature=abcdef0123 key="
        f"very-secret-indeed</Message>{text}</Error>".encode(),
    )
    store = faulty_ground.store()
    for ask in (store.check, lambda: store.quarantine(place(faulty_ground), "item1", NOTE)):
        with pytest.raises(StoreUnreachable) as raised:
            ask()
        told = f"{raised.value} {store!r}"
        assert "SignatureDoesNotMatch" in told
        assert "very-secret" not in told
        assert "abcdef0123" not in told


def _keys() -> list[str]:
    return [f"root/7/{RUN}/artifacts/{name}" for name in FILES]


def test_server_killed_in_the_middle_is_unreachable_and_nothing_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that dies with a batch in hand leaves the outcome open; no item is purged by it."""
    with seaweedfs() as server, proxy_to(server.port) as proxy:
        use_s3(proxy.endpoint, monkeypatch)
        ground = ObjectGround(S3Objects(server, server.bucket()), "root")
        ground.put(place(ground), FILES)

        def fault(asked: Asked) -> Reply | None:
            if asked.is_bulk_delete and server.process is not None:
                server.process.kill()
                server.process.wait()
            return None

        proxy.fault = fault
        with pytest.raises(StoreUnreachable):
            ground.store().purge(item_at(place(ground), held=Held.IN_PLACE), always)


def test_key_that_is_missing_by_then_does_not_keep_the_others(
    any_ground: ObjectGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else removed some after they were listed: that is done, and so is the rest."""
    any_ground.put(place(any_ground), FILES)
    delete = Bucket.delete

    def late(bucket: Bucket, keys: Sequence[str]) -> None:
        for key in (keys[0], keys[5]):
            any_ground.objects.delete(key)
        monkeypatch.setattr(Bucket, "delete", delete)
        delete(bucket, keys)

    monkeypatch.setattr(Bucket, "delete", late)
    purged = any_ground.store().purge(item_at(place(any_ground), held=Held.IN_PLACE), always)

    assert (purged.complete, purged.failures) == (True, ())
    assert any_ground.files() == {}


def test_item_that_may_not_be_deleted_stays_with_a_reason_for_each_key(
    s3_ground: ObjectGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the credentials may only read, nothing is gone, and the failure says why."""
    s3_ground.put(place(s3_ground), FILES)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)

    purged = s3_ground.store().purge(item_at(place(s3_ground), held=Held.IN_PLACE), always)

    assert (purged.freed, purged.complete) == (Size(), False)
    assert len(purged.failures) == 10
    assert all("AccessDenied" in one for one in purged.failures)
    assert len(s3_ground.files()) == 10


def test_large_item_goes_in_several_batches(s3_ground: ObjectGround) -> None:
    """More than one page: all of it goes, and all is counted."""
    objects = s3_ground.objects
    assert isinstance(objects, S3Objects)
    inside = "/".join(INSIDE)
    with ThreadPoolExecutor(16) as pool:
        keys = [f"root/{inside}/{number:05}" for number in range(2_300)]
        list(pool.map(lambda key: objects.put(key, b"1"), keys))
    store, item = s3_ground.store(), item_at(place(s3_ground), held=Held.IN_PLACE)

    (listed,) = [
        one for one in store.listing(None, always) if isinstance(one, Listed) and one.files
    ]
    assert listed.size == Size(2_300, 2_300)
    assert store.purge(item, always) == Purged(Size(2_300, 2_300), complete=True)
    assert s3_ground.files() == {}
