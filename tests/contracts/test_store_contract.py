"""What `stores/base.py` promises, asked of every kind of store in `tests.kit.grounds.BUILDERS`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_cleanup.errors import (
    CleanupError,
    ForeignOwner,
    QuarantineFailed,
    StoreUnreachable,
)
from mlflow_cleanup.model.item import Held, Item, Size
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.stores.base import ArtifactStore, Presence, Purged, Restored
from tests.contracts.conftest import NewGround
from tests.kit.grounds import (
    NOTE,
    RUN,
    THEIRS,
    Ground,
    always,
    item_at,
    never,
    place,
)

MODEL = {"MLmodel": b"flavours", "data/model.pkl": b"\x00" * 1_000, "data/empty": b""}
MODEL_SIZE = Size(files=3, bytes=1_008)


def quarantined(ground: Ground, item_id: str = "item1") -> Item:
    """Quarantine the usual location and return its item."""
    held = ground.store().quarantine(place(ground), item_id, NOTE)
    assert held is not None
    return item_at(place(ground), item_id, held)


# ── The root and its owner ───────────────────────────────────────────────────────────────────────


def test_store_names_its_root(ground: Ground) -> None:
    """The root is told as locations under it name it."""
    assert ground.store().root == place(ground).root


def test_root_without_a_marker_passes_the_check(ground: Ground) -> None:
    """A root that nobody has marked yet may be looked at, and checking it writes nothing."""
    ground.store().check()

    with pytest.raises(StoreUnreachable):
        ground.store(is_marked=True).check()


def test_first_mark_makes_the_root_ours(ground: Ground) -> None:
    """Marking an unmarked root writes the marker, so that later starts find it."""
    ground.store().mark()

    ground.store(is_marked=True).check()
    ground.store(is_marked=True).mark()


@pytest.mark.parametrize("is_marked", [False, True])
@pytest.mark.parametrize("method", ["check", "mark"])
def test_marker_of_another_database_is_refused(
    ground: Ground, method: str, *, is_marked: bool
) -> None:
    """A root marked for another tracking database is refused, and stays theirs."""
    ground.store(THEIRS).mark()

    with pytest.raises(ForeignOwner) as refused:
        getattr(ground.store(is_marked=is_marked), method)()

    assert refused.value.owner == THEIRS.database
    ground.store(THEIRS, is_marked=True).check()


@pytest.mark.parametrize("method", ["check", "mark"])
def test_marker_that_was_there_and_is_gone_means_unreachable(ground: Ground, method: str) -> None:
    """A root that lost its marker is taken for unmounted: not marked again, not clean."""
    ground.store().mark()
    ground.lose_marker()

    with pytest.raises(StoreUnreachable):
        getattr(ground.store(is_marked=True), method)()
    ground.store(THEIRS).mark()  # nothing had been written


def test_marker_lost_while_the_store_is_open_is_noticed(ground: Ground) -> None:
    """The store remembers that it marked the root, without being told again."""
    store = ground.store()
    store.mark()
    ground.lose_marker()

    with pytest.raises(StoreUnreachable):
        store.check()


METHODS: dict[str, Callable[[ArtifactStore, Item], object]] = {
    "check": lambda store, _: store.check(),
    "mark": lambda store, _: store.mark(),
    "quarantine": lambda store, item: store.quarantine(item.location, "item2", NOTE),
    "restore": lambda store, item: store.restore(item),
    "purge": lambda store, item: store.purge(item, always),
    "find": lambda store, item: store.find(item),
    "tidy": lambda store, item: store.tidy(item),
    "exists": lambda store, item: store.exists(item.location),
    "measure a place": lambda store, item: store.measure(item.location, always),
    "measure an item": lambda store, item: store.measure(item, always),
    "newest_write": lambda store, item: store.newest_write(item.location),
    "holds_file": lambda store, item: store.holds_file(item.location, "MLmodel"),
}


@pytest.mark.parametrize("held", Held)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_missing_root_is_unreachable_never_clean(
    ground: Ground, method: Callable[[ArtifactStore, Item], object], held: Held
) -> None:
    """Whatever is asked of a root that is not there, the answer is that it cannot be seen."""
    ground.put(place(ground), MODEL)
    ground.hide()

    with pytest.raises(StoreUnreachable) as unseen:
        method(ground.store(), item_at(place(ground), held=held))

    assert unseen.value.root == ground.root
    ground.reveal()
    assert len(ground.files()) == len(MODEL)


def test_root_that_comes_back_is_used_again(ground: Ground) -> None:
    """A store that could not see its root goes on when it can."""
    ground.put(place(ground), MODEL)
    store = ground.store()
    ground.hide()
    with pytest.raises(StoreUnreachable):
        store.quarantine(place(ground), "item1", NOTE)
    ground.reveal()

    assert store.quarantine(place(ground), "item1", NOTE) is not None


# ── Quarantine ───────────────────────────────────────────────────────────────────────────────────


def test_quarantine_takes_the_bytes_out_of_sight(moving: Ground) -> None:
    """After a quarantine the location is empty and the trash has it."""
    moving.put(place(moving), MODEL)

    item = quarantined(moving)

    assert item.held is Held.TRASH
    assert moving.files() == {}
    assert not moving.store().exists(place(moving))
    assert moving.store().find(item) == Presence(at_origin=False, in_trash=True)


def test_quarantine_loses_no_byte(ground: Ground) -> None:
    """What is held is as much as there was."""
    ground.put(place(ground), MODEL)
    before = ground.store().measure(place(ground), always)

    item = quarantined(ground)

    assert ground.store().measure(item, always) == before == MODEL_SIZE


def test_nothing_to_quarantine_is_none(ground: Ground) -> None:
    """A location where nothing lies gives None, and nothing changes."""
    ground.put(place(ground, "7", "other", "artifacts"), MODEL)
    before = ground.files()

    assert ground.store().quarantine(place(ground), "item1", NOTE) is None

    assert ground.files() == before
    assert ground.store().find(item_at(place(ground))) == Presence(False, False)


def test_quarantine_touches_nothing_else(ground: Ground) -> None:
    """Neighbours stay, also those whose names begin alike."""
    neighbours = [
        ("7", f"{RUN}0", "artifacts"),
        ("7", RUN[:-1], "artifacts"),
        ("7", RUN, "artifacts2"),
        ("7", RUN, "artifact"),
        ("70", RUN, "artifacts"),
    ]
    for inside in neighbours:
        ground.put(place(ground, *inside), MODEL)
    before = ground.files()
    ground.put(place(ground), MODEL)

    item = quarantined(ground)
    assert before.items() <= ground.files().items()

    ground.store().purge(item, always)
    assert ground.files() == before


def test_quarantine_again_after_it_was_done_is_nothing_to_do(moving: Ground) -> None:
    """The same quarantine once more finds nothing, and the trash keeps what it has."""
    moving.put(place(moving), MODEL)
    item = quarantined(moving)

    assert moving.store().quarantine(place(moving), item.id, NOTE) is None

    assert moving.store().measure(item, always) == MODEL_SIZE


def test_late_writer_does_not_replace_what_is_held(moving: Ground) -> None:
    """What is written after a quarantine needs an item of its own; the first keeps its bytes."""
    moving.put(place(moving), MODEL)
    first = quarantined(moving)
    moving.put(place(moving), {"late": b"12345"})
    assert moving.store().find(first) == Presence(at_origin=True, in_trash=True)

    with pytest.raises(QuarantineFailed):
        moving.store().quarantine(place(moving), first.id, NOTE)
    assert moving.store().measure(first, always) == MODEL_SIZE
    assert list(moving.files().values()) == [b"12345"]

    second = quarantined(moving, "item2")
    assert moving.store().measure(second, always) == Size(1, 5)


def test_location_directly_under_the_root(ground: Ground) -> None:
    """A location of one name is quarantined and restored like any other."""
    ground.put(place(ground, "alone"), MODEL)
    before = ground.files()

    held = ground.store().quarantine(place(ground, "alone"), "item1", NOTE)
    assert held is not None
    assert ground.store().restore(item_at(place(ground, "alone"), held=held)) == Restored()

    assert ground.files() == before


@pytest.mark.parametrize("name", ["quarantine", "restore", "purge"])
@pytest.mark.parametrize(
    "inside",
    [(), ("..", "outside"), ("7", "..", "..", "outside"), ("7/../../outside",)],
    ids=str,
)
def test_location_that_leads_outside_is_refused(
    ground: Ground, inside: tuple[str, ...], name: str
) -> None:
    """A location that is the root itself, or climbs out of it, is refused; nothing is touched."""
    ground.put(place(ground), MODEL)
    ground.put_outside(b"theirs")
    item = item_at(Location(ground.root, inside), held=Held.IN_PLACE)

    with pytest.raises(CleanupError):
        METHODS[name](ground.store(), item)

    assert len(ground.files()) == len(MODEL)
    assert ground.read_outside() == b"theirs"


# ── Restore ──────────────────────────────────────────────────────────────────────────────────────


def test_restored_bytes_are_those_that_were_there(ground: Ground) -> None:
    """A restore gives everything back, byte for byte."""
    ground.put(place(ground), MODEL)
    before = ground.files()
    item = quarantined(ground)

    assert ground.store().restore(item) == Restored()

    assert ground.files() == before
    presence = ground.store().find(item)
    assert presence == Presence(at_origin=True, in_trash=False)


def test_restore_again_is_nothing_to_do(ground: Ground) -> None:
    """The same restore once more changes nothing and raises nothing."""
    ground.put(place(ground), MODEL)
    before = ground.files()
    item = quarantined(ground)
    ground.store().restore(item)

    assert ground.store().restore(item) == Restored()

    assert ground.files() == before


def test_restore_never_overwrites(moving: Ground) -> None:
    """What lies at the origin now stays; the rest goes back; what collided is named and held."""
    moving.put(place(moving), MODEL | {"data/deep/kept": b"old", "data/deep/free": b"free"})
    item = quarantined(moving)
    moving.put(place(moving), {"MLmodel": b"new", "data/deep/kept": b"new", "data/more": b"more"})

    restored = moving.store().restore(item)

    assert sorted(restored.collisions) == ["MLmodel", "data/deep/kept"]
    prefix = "/".join(place(moving).inside)
    assert moving.files() == {
        f"{prefix}/{name}": content
        for name, content in {
            **MODEL,
            "MLmodel": b"new",
            "data/deep/kept": b"new",
            "data/deep/free": b"free",
            "data/more": b"more",
        }.items()
    }
    assert moving.store().find(item).in_trash
    assert moving.store().measure(item, always) == Size(2, len(b"flavours") + len(b"old"))


def test_collided_rest_goes_back_when_its_place_is_free(moving: Ground) -> None:
    """Once nothing lies in the way any more, another restore completes the first."""
    moving.put(place(moving), MODEL)
    before = moving.files()
    item = quarantined(moving)
    moving.put(place(moving), {"MLmodel": b"new"})
    assert moving.store().restore(item).collisions == ("MLmodel",)
    moving.store().quarantine(place(moving), "item2", NOTE)
    moving.store().restore(item)

    second = moving.store().restore(item_at(place(moving), "item2"))

    assert second.collisions == ("MLmodel",)
    assert moving.files() == before


# ── Purge ────────────────────────────────────────────────────────────────────────────────────────


def test_purge_frees_what_it_says(ground: Ground) -> None:
    """A purge removes everything and tells how much that was."""
    ground.put(place(ground), MODEL)
    item = quarantined(ground)

    purged = ground.store().purge(item, always)

    assert purged == Purged(MODEL_SIZE, complete=True)
    assert ground.files() == {}
    assert ground.store().find(item) == Presence(at_origin=False, in_trash=False)
    assert ground.store().measure(item, always) == Size()


def test_purge_again_frees_nothing_more(ground: Ground) -> None:
    """What is already gone is no error, and is not counted twice."""
    ground.put(place(ground), MODEL)
    item = quarantined(ground)
    ground.store().purge(item, always)

    assert ground.store().purge(item, always) == Purged(Size(), complete=True)


@pytest.mark.parametrize("held", Held)
def test_purge_of_what_never_was_is_complete(ground: Ground, held: Held) -> None:
    """An item of which nothing exists is purged, with nothing freed."""
    item = item_at(place(ground), held=held)

    assert ground.store().purge(item, always) == Purged(Size(), complete=True)


def test_purge_of_the_trash_spares_a_late_writer(moving: Ground) -> None:
    """Purging an item removes what is held of it, not what was written at its origin since."""
    moving.put(place(moving), MODEL)
    item = quarantined(moving)
    moving.put(place(moving), {"late": b"12345"})
    before = moving.files()

    assert moving.store().purge(item, always).freed == MODEL_SIZE

    assert moving.files() == before


def test_purge_told_to_stop_goes_on_later(ground: Ground) -> None:
    """A purge that is told to stop is incomplete without failures; the next one does the rest."""
    ground.put(place(ground), MODEL)
    item = quarantined(ground)

    first = ground.store().purge(item, never)
    second = ground.store().purge(item, always)

    assert (first.complete, first.failures) == (False, ())
    assert (second.complete, second.failures) == (True, ())
    assert first.freed + second.freed == MODEL_SIZE


# ── Tidying ──────────────────────────────────────────────────────────────────────────────────────


def test_tidying_keeps_whatever_holds_bytes(ground: Ground) -> None:
    """Neither what is held nor what lies at the origin is touched, whenever it is asked for."""
    ground.put(place(ground), MODEL)
    before = ground.files()
    ground.store().tidy(item_at(place(ground)))
    assert ground.files() == before

    item = quarantined(ground)
    ground.store().tidy(item)
    assert ground.store().measure(item, always) == MODEL_SIZE

    ground.store().restore(item)
    ground.store().tidy(item)
    assert ground.files() == before


@pytest.mark.parametrize("held", Held)
def test_tidying_where_nothing_is_changes_nothing(ground: Ground, held: Held) -> None:
    """An item of which nothing exists, or not even a trash, is no error."""
    ground.put(place(ground, "7", "other", "artifacts"), MODEL)
    before = ground.files()

    ground.store().tidy(item_at(place(ground), held=held))

    assert ground.files() == before


# ── Looking ──────────────────────────────────────────────────────────────────────────────────────


def test_measuring_stops_when_told_to(ground: Ground) -> None:
    """A measurement that is told to stop has no answer."""
    ground.put(place(ground), MODEL)

    assert ground.store().measure(place(ground), never) is None


def test_nothing_measures_as_nothing(ground: Ground) -> None:
    """A place where nothing lies holds no files and no bytes."""
    assert ground.store().measure(place(ground), always) == Size()
    assert ground.store().measure(item_at(place(ground)), always) == Size()


def test_existing_is_told_from_missing(ground: Ground) -> None:
    """A location exists when something lies there, and only then."""
    ground.put(place(ground), MODEL)

    assert ground.store().exists(place(ground))
    assert not ground.store().exists(place(ground, "7", "other", "artifacts"))


def test_file_is_held_directly_and_by_its_name(ground: Ground) -> None:
    """Neither what lies deeper, nor a directory of that name, nor anything where nothing lies."""
    ground.put(place(ground), {"a/weights": b"w", "MLmodel": b"m"})
    store = ground.store()

    assert store.holds_file(place(ground), "MLmodel")
    assert not store.holds_file(place(ground), "weights")
    assert not store.holds_file(place(ground), "a")
    assert not store.holds_file(place(ground, "7", "other", "artifacts"), "MLmodel")


def test_newest_write_is_that_of_the_youngest_file(ground: Ground) -> None:
    """The newest write is no older than the last file written, and None where nothing lies."""
    assert ground.store().newest_write(place(ground)) is None
    began = time.time()
    ground.put(place(ground), MODEL)

    newest = ground.store().newest_write(place(ground))

    assert newest is not None
    assert began - 2 <= newest <= time.time() + 2  # file systems' clocks are coarser than ours


# ── Names and random trees ───────────────────────────────────────────────────────────────────────

ODD_NAMES = (
    "new\nline",
    "quo'te\"s",
    "ünïcödé – 模型",
    "e\u0301 decomposed",
    " spaces ",
    "-rf *",
    "percent%2Fcent",
    "question?query#fragment",
    "semi;colon&and|pipe",
    "$HOME `id`",
    "trailing.",
)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_odd_names_go_there_and_back(ground: Ground, name: str) -> None:
    """Names that mean something to shells, URIs or terminals are only names."""
    ground.put(place(ground), {name: b"a", f"{name} dir/{name}": b"bc"})
    before = ground.files()
    item = quarantined(ground)
    ground.store().restore(item)
    assert ground.files() == before

    held = ground.store().quarantine(place(ground), "item2", NOTE)
    assert held is not None
    purged = ground.store().purge(item_at(place(ground), "item2", held), always)

    assert purged == Purged(Size(2, 3), complete=True)
    assert ground.files() == {}


# The fixture is a maker of fresh roots: nothing is left from one example to the next.
_EXAMPLES = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

_PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)


def _without_files_as_directories(files: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out each path that lies under another file's."""
    return {
        path: content
        for path, content in files.items()
        if not any(other != path and path.startswith(f"{other}/") for other in files)
    }


_FILES = st.dictionaries(_PATHS, st.binary(max_size=8), min_size=1, max_size=6).map(
    _without_files_as_directories
)


@settings(_EXAMPLES, max_examples=40)
@given(old=_FILES, new=_FILES)
def test_restore_loses_neither_old_nor_new(
    new_ground: NewGround, old: dict[str, bytes], new: dict[str, bytes]
) -> None:
    """Whatever lies at the origin meanwhile is unchanged, and what cannot go back is still held."""
    ground = new_ground()
    ground.put(place(ground), old)
    item = quarantined(ground)
    if item.held is Held.IN_PLACE:
        return
    ground.put(place(ground), new)

    restored = ground.store().restore(item)

    prefix = "/".join(place(ground).inside)
    now = {path.removeprefix(f"{prefix}/"): content for path, content in ground.files().items()}
    assert new.items() <= now.items()
    assert now.items() <= (old | new).items()
    left = ground.store().measure(item, always)
    missing = {path: content for path, content in old.items() if path not in now or path in new}
    assert left == Size(len(missing), sum(map(len, missing.values())))
    assert bool(restored.collisions) == bool(missing)
    assert ground.store().find(item).in_trash == bool(missing)


@settings(_EXAMPLES, max_examples=25)
@given(files=_FILES)
def test_any_tree_goes_there_and_back(new_ground: NewGround, files: dict[str, bytes]) -> None:
    """Quarantine and restore give back exactly what was there."""
    ground = new_ground()
    ground.put(place(ground), files)
    before = ground.files()
    item = quarantined(ground)

    assert ground.store().restore(item) == Restored()

    assert ground.files() == before
