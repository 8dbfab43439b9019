"""Keys of every kind are listed, measured and purged exactly, on every server that keeps them."""

from __future__ import annotations

import pytest

from mlflow_cleanup.errors import UnsafePlace
from mlflow_cleanup.model.inventory import Listed, Unseen
from mlflow_cleanup.model.item import Held, Size
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.stores.base import Purged
from mlflow_cleanup.stores.objects.bucket import Bucket
from mlflow_cleanup.stores.objects.store import ObjectStore
from mlflow_cleanup.stores.opening import open_store
from tests.kit.grounds import OURS, always, item_at, place
from tests.kit.object_grounds import ObjectGround

ODD = (
    "sp ace/b c",
    "ü/模型",
    "e\u0301 decomposed",
    "pct%2F/x%20y",
    "%",
    "q?a#b=c&d",
    "plus+and+",
    "a~b*'()",
    "new\nline",
    "double//slash",
    "end/",
    "ends//",
    "//",
    "trailing./x.",
    "a:b;c,d@e",
)


def put(ground: ObjectGround, key: str, content: bytes = b"12345") -> None:
    """Store an object below the root."""
    ground.objects.put(f"root/{key}", content)


def content_of(odd: str) -> bytes:
    """Give what ends with a slash no bytes: it stands for a directory."""
    return b"" if odd.endswith("/") else b"12345"


def keys(ground: ObjectGround) -> set[str]:
    """Name everything below the root."""
    return {key.removeprefix("root/") for key in ground.objects.read()}


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_odd_key_goes_and_its_neighbours_stay(any_ground: ObjectGround, odd: str) -> None:
    """An object is purged with its place under whatever name; what only begins alike stays."""
    content = content_of(odd)
    for beside in (f"ab/{odd}", f"a2/{odd}", "a.txt"):
        put(any_ground, beside, content)
    stays = keys(any_ground)
    put(any_ground, f"a/{odd}", content)
    is_kept_as_it_is = f"a/{odd}" in keys(any_ground)  # SeaweedFS makes one slash of two
    store, item = any_ground.store(), item_at(place(any_ground, "a"), held=Held.IN_PLACE)

    assert store.measure(item, always) == Size(1, len(content))
    purged = store.purge(item, always)

    assert purged == Purged(Size(1, len(content)), complete=True)
    assert keys(any_ground) == stays
    assert is_kept_as_it_is or any_ground.objects.uri.startswith("s3:")


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_odd_key_is_listed_in_its_directory(any_ground: ObjectGround, odd: str) -> None:
    """What is listed adds up, and each byte is in the directory that its key says."""
    content = content_of(odd)
    put(any_ground, f"a/{odd}", content)
    put(any_ground, "b/plain", b"1")
    (key,) = keys(any_ground) - {"b/plain"}

    found = list(any_ground.store().listing(None, always))

    assert not [one for one in found if isinstance(one, Unseen)]
    sizes = {one.inside: one.size for one in found if isinstance(one, Listed)}
    expected = Size(1, 5) if content else Size()  # a directory's own object is no file
    assert sizes[tuple(key.split("/")[:-1])] == expected
    assert sum(one.files for one in sizes.values()) == 1 + expected.files


def test_place_with_an_empty_name_is_exactly_that(any_ground: ObjectGround) -> None:
    """`a//b` is purged for itself: `a/b` is another place."""
    put(any_ground, "a/b/x")
    put(any_ground, "a//b/x")
    if len(keys(any_ground)) == 1:
        pytest.skip("this server makes one slash of two")
    store = any_ground.store()

    purged = store.purge(item_at(place(any_ground, "a", "", "b"), held=Held.IN_PLACE), always)

    assert purged == Purged(Size(1, 5), complete=True)
    assert keys(any_ground) == {"a/b/x"}


def test_directory_object_goes_with_its_directory(any_ground: ObjectGround) -> None:
    """The empty objects that stand for directories are purged, and none beside."""
    for key in ("a/", "a/sub/", "ab/"):
        put(any_ground, key, b"")
    put(any_ground, "a/sub/x")
    put(any_ground, "a.txt")

    store = any_ground.store()
    purged = store.purge(item_at(place(any_ground, "a"), held=Held.IN_PLACE), always)

    assert purged.complete
    assert purged.freed.bytes == 5
    assert keys(any_ground) == {"ab/", "a.txt"}
    assert not store.exists(place(any_ground, "a"))


def test_object_that_is_named_like_the_place_stays(any_ground: ObjectGround) -> None:
    """`a` is not `a/`: only the second is the place's own, however alike their paths are."""
    if any_ground.objects.uri.startswith("s3:"):
        pytest.skip("SeaweedFS keeps no object that is named like a directory")
    put(any_ground, "a")
    put(any_ground, "a/", b"")
    put(any_ground, "a/x")
    store, item = any_ground.store(), item_at(place(any_ground, "a"), held=Held.IN_PLACE)

    assert store.purge(item, always).complete

    assert keys(any_ground) == {"a"}


def test_bucket_itself_can_be_the_root(any_ground: ObjectGround) -> None:
    """A root without a prefix is listed whole, our own directory left out, and purged by place."""
    uri = any_ground.objects.uri
    for key in ("7/run/artifacts/x", "7/run/artifacts2/x", "top"):
        any_ground.objects.put(key, b"12345")
    store = open_store(uri, OURS, wait=any_ground.waits.append)
    store.mark()

    sizes = {
        one.inside: one.size.files for one in store.listing(None, always) if isinstance(one, Listed)
    }
    assert sizes == {
        ("7", "run", "artifacts"): 1,
        ("7", "run", "artifacts2"): 1,
        ("7", "run"): 0,
        ("7",): 0,
        (): 1,
    }

    place_ = Location(uri, ("7", "run", "artifacts"))
    assert store.purge(item_at(place_, held=Held.IN_PLACE), always) == Purged(Size(1, 5), True)
    assert {"7/run/artifacts2/x", "top"} < set(any_ground.objects.read())


def test_directory_object_is_an_empty_directory(any_ground: ObjectGround) -> None:
    """It is listed as a directory with nothing in it, and can be removed as one."""
    put(any_ground, "7/shell/", b"")
    put(any_ground, "7/empty-file", b"")
    put(any_ground, "7/full/", b"")
    put(any_ground, "7/full/x")
    store = any_ground.store()

    found = {one.inside: one for one in store.listing(None, always) if isinstance(one, Listed)}
    assert found[("7", "shell")].is_empty
    assert found[("7",)].size == Size(1, 0)
    assert found[("7", "full")].size == Size(1, 5)

    assert not store.remove_empty(place(any_ground, "7", "full"))
    assert not store.remove_empty(place(any_ground, "7", "empty-file"))
    assert not store.remove_empty(place(any_ground, "7", "missing"))
    assert store.remove_empty(place(any_ground, "7", "shell"))
    assert keys(any_ground) == {"7/empty-file", "7/full/", "7/full/x"}


def test_what_cannot_be_named_is_unseen_and_never_gone(any_ground: ObjectGround) -> None:
    """Without another way to ask, a listing says so and a purge is not complete."""
    put(any_ground, "a/plain")
    put(any_ground, "a/new\nline")
    put(any_ground, "b/plain")
    store = any_ground.store()
    assert isinstance(store, ObjectStore)
    blind(store)

    found = list(store.listing(None, always))
    assert [one.path for one in found if isinstance(one, Unseen)] == [any_ground.root]

    purged = store.purge(item_at(place(any_ground, "a"), held=Held.IN_PLACE), always)
    assert not purged.complete
    assert any("only another way" in one for one in purged.failures)
    assert "a/new\nline" in keys(any_ground)
    assert store.exists(place(any_ground, "a"))
    with pytest.raises(UnsafePlace):
        store.measure(place(any_ground, "a"), always)


def test_directory_object_is_not_gone_without_another_way(any_ground: ObjectGround) -> None:
    """A key whose last slash would be lost is left, and told, where nothing else can delete it."""
    put(any_ground, "a/x")
    put(any_ground, "a/sub/", b"")
    store = any_ground.store()
    assert isinstance(store, ObjectStore)
    blind(store)

    purged = store.purge(item_at(place(any_ground, "a"), held=Held.IN_PLACE), always)

    assert purged.complete is ("a/sub/" not in keys(any_ground))
    assert purged.complete or purged.failures


@pytest.mark.parametrize(
    "inside",
    [
        (),
        ("",),
        (".mlflow-cleanup",),
        (".mlflow-cleanup", "owner.json"),
        (".",),
        ("a", ".."),
        ("a/b",),
    ],
    ids=str,
)
def test_root_and_our_own_are_never_a_place(
    s3_ground: ObjectGround, inside: tuple[str, ...]
) -> None:
    """Neither the bucket's root, nor our directory, nor what could lead elsewhere is purged."""
    s3_ground.store().mark()
    put(s3_ground, "a/x")
    before = keys(s3_ground)
    location = Location(s3_ground.root, inside)

    for ask in (
        lambda: s3_ground.store().purge(item_at(location, held=Held.IN_PLACE), always),
        lambda: s3_ground.store().quarantine(location, "item1", None),
        lambda: s3_ground.store().remove_empty(location),
    ):
        with pytest.raises(UnsafePlace):
            ask()

    assert keys(s3_ground) == before


def blind(store: ObjectStore) -> None:
    """Take the other way to name keys from a store."""
    bucket: Bucket = store._bucket
    bucket.exact, bucket.why_not_exact = None, "only another way could name it"
