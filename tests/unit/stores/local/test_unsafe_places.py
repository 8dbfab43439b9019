from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from mlflow_cleanup.errors import CleanupError, QuarantineFailed, StoreUnreachable, UnsafePlace
from mlflow_cleanup.model.item import Held, Item
from mlflow_cleanup.stores.local.store import LocalStore
from tests.kit.children import as_nobody
from tests.kit.faults import before, once
from tests.kit.grounds import INSIDE, NOTE, RUN, LocalGround, always, item_at, place
from tests.kit.trees import File, Link, files_of, look, open_descriptors, plant

Method = Callable[[LocalStore, Item], object]

LOOKING: dict[str, Method] = {
    "find": lambda store, item: store.find(item),
    "exists": lambda store, item: store.exists(item.location),
    "newest_write": lambda store, item: store.newest_write(item.location),
    "holds_file": lambda store, item: store.holds_file(item.location, "theirs"),
    "measure": lambda store, item: store.measure(item.location, always),
    "measure in place": lambda store, item: store.measure(in_place(item), always),
}
ACTING: dict[str, Method] = {
    "quarantine": lambda store, item: store.quarantine(item.location, "new", NOTE),
    "restore": lambda store, item: store.restore(item),
    "purge in place": lambda store, item: store.purge(in_place(item), always),
}
TRASHED: dict[str, Method] = {
    "find": lambda store, item: store.find(item),
    "measure": lambda store, item: store.measure(item, always),
    "restore": lambda store, item: store.restore(item),
    "purge": lambda store, item: store.purge(item, always),
}


def in_place(item: Item) -> Item:
    """Give the item as if its bytes had never moved."""
    return item_at(item.location, item.id, Held.IN_PLACE)


def outside_of(ground: LocalGround) -> Path:
    """Make a directory beside the root in which everything lies that a link could lead to."""
    theirs = {"theirs": File(b"theirs")}
    return plant(
        ground.path.with_name("outside"),
        {
            **theirs,
            "artifacts": theirs,
            RUN: {"artifacts": theirs},
            "trash": {"item1": {"content": theirs, "origin.json": File(b"{}")}},
            "item1": {"content": theirs, "origin.json": File(b"{}")},
            "content": theirs,
        },
    )


@pytest.mark.parametrize("link", [("7",), ("7", RUN)], ids=["experiment", "run"])
@pytest.mark.parametrize("method", [*LOOKING.values(), *ACTING.values()], ids=[*LOOKING, *ACTING])
def test_link_on_the_way_is_refused(
    ground: LocalGround, method: Method, link: tuple[str, ...]
) -> None:
    """A location that runs through a link is an unsafe place, for looking and for acting."""
    outside = outside_of(ground)
    plant(ground.trash("item1", "content"), {"held": File(b"1")})
    plant(ground.at(*link).parent, {link[-1]: Link(os.fspath(outside))})
    intact = look(ground.path.parent)

    with pytest.raises(UnsafePlace):
        method(ground.store(), item_at(place(ground)))

    assert look(ground.path.parent) == intact


@pytest.mark.parametrize("kind", ["file", "dangling link"])
@pytest.mark.parametrize("method", [*LOOKING.values(), *ACTING.values()], ids=[*LOOKING, *ACTING])
def test_way_that_ends_at_no_directory_is_refused(
    ground: LocalGround, method: Method, kind: str
) -> None:
    """A location below a file or a link to nothing cannot be seen: that is not the same as gone."""
    plant(ground.trash("item1", "content"), {"held": File(b"1")})
    plant(ground.at("7"), {RUN: File(b"1") if kind == "file" else Link("nowhere")})
    intact = look(ground.path)

    with pytest.raises(UnsafePlace):
        method(ground.store(), item_at(place(ground)))

    assert look(ground.path) == intact


@pytest.mark.parametrize("link", [".", "trash", "trash/item1"])
@pytest.mark.parametrize("method", TRASHED.values(), ids=TRASHED.keys())
def test_trash_behind_a_link_is_refused(ground: LocalGround, method: Method, link: str) -> None:
    """A trash that is a link, or is reached through one, is not looked into, filled or emptied."""
    outside = outside_of(ground)
    leads_to = {".": outside, "trash": outside / "trash", "trash/item1": outside / "item1"}[link]
    path = ground.own(link)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(leads_to)
    intact = look(ground.path.parent)

    with pytest.raises((UnsafePlace, StoreUnreachable)):
        method(ground.store(), item_at(place(ground)))

    assert look(ground.path.parent) == intact


@pytest.mark.parametrize("link", [".", "trash", "trash/item1"])
def test_nothing_is_tidied_behind_a_link(ground: LocalGround, link: str) -> None:
    """Tidying removes nothing through a link, whether it says so or not."""
    outside = plant(
        ground.path.with_name("outside"),
        {"trash": {"item1": {"origin.json": File(b"{}")}}, "item1": {"origin.json": File(b"{}")}},
    )
    leads_to = {".": outside, "trash": outside / "trash", "trash/item1": outside / "item1"}[link]
    ground.own(link).parent.mkdir(parents=True, exist_ok=True)
    ground.own(link).symlink_to(leads_to)
    intact = look(ground.path.parent)

    with suppress(UnsafePlace):
        ground.store().tidy(item_at(place(ground)))

    assert look(ground.path.parent) == intact


@pytest.mark.parametrize("kind", ["link", "file"])
@pytest.mark.parametrize("what", [".", "trash", "trash/new"])
def test_nothing_is_quarantined_into_what_is_no_directory(
    ground: LocalGround, what: str, kind: str
) -> None:
    """Where our directory, the trash or the item's place is a link or a file, nothing moves."""
    outside = outside_of(ground)
    plant(ground.at(*INSIDE), {"a": File(b"1")})
    path = ground.own(what)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "link":
        path.symlink_to(outside)
    else:
        path.write_bytes(b"in the way")
    intact = look(ground.path.parent)

    with pytest.raises((UnsafePlace, StoreUnreachable, QuarantineFailed)):
        ground.store().quarantine(place(ground), "new", NOTE)

    assert look(ground.path.parent) == intact


def test_link_in_place_of_the_artifacts_is_not_quarantined(ground: LocalGround) -> None:
    """An artifact directory that is a link stays, and so does what it leads to."""
    outside = outside_of(ground)
    plant(ground.at("7", RUN), {"artifacts": Link(os.fspath(outside))})
    intact = look(ground.path.parent)

    with pytest.raises((UnsafePlace, QuarantineFailed)):
        ground.store().quarantine(place(ground), "new", NOTE)

    assert look(ground.path.parent) == intact


def test_link_in_place_of_what_is_held_in_place_is_not_followed(ground: LocalGround) -> None:
    """A purge in place never reaches through a link that took the location's place."""
    outside = outside_of(ground)
    intact = look(outside)
    plant(ground.at("7", RUN), {"artifacts": Link(os.fspath(outside))})

    ground.store().purge(in_place(item_at(place(ground))), always)

    assert look(outside) == intact


ROOTS: dict[str, Callable[[LocalGround], object]] = {
    "link": lambda ground: ground.path.symlink_to(ground.path.with_name("real")),
    "file": lambda ground: ground.path.write_bytes(b""),
    "pipe": lambda ground: os.mkfifo(ground.path),
    "link to nothing": lambda ground: ground.path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("make", ROOTS.values(), ids=ROOTS.keys())
@pytest.mark.parametrize(
    "method",
    [*LOOKING.values(), *ACTING.values(), TRASHED["purge"], lambda store, _: store.check()],
    ids=[*LOOKING, *ACTING, "purge", "check"],
)
def test_root_that_is_no_directory_is_unreachable(
    ground: LocalGround, method: Method, make: Callable[[LocalGround], object]
) -> None:
    """A root that became a link or a file cannot be seen, and is not taken for clean."""
    plant(ground.at(*INSIDE), {"a": File(b"1")})
    plant(ground.trash("item1", "content"), {"b": File(b"2")})
    ground.path.rename(ground.path.with_name("real"))
    make(ground)
    intact = look(ground.path.parent)

    with pytest.raises(StoreUnreachable):
        method(ground.store(), item_at(place(ground)))

    assert look(ground.path.parent) == intact


@pytest.mark.parametrize("mode", [0o000, 0o200], ids=oct)
@pytest.mark.parametrize(
    "name", ["check", "mark", "find", "exists", "measure", "quarantine", "purge", "restore"]
)
def test_root_that_may_not_be_read_is_unreachable(
    name: str, mode: int, *, is_by_descriptor: bool
) -> None:
    """A root without permission to look into it cannot be seen, and is not taken for clean."""
    methods = {
        **LOOKING,
        **ACTING,
        "purge": TRASHED["purge"],
        "check": lambda store, _: store.check(),
        "mark": lambda store, _: store.mark(),
    }

    def body(top: Path) -> None:
        ground = LocalGround(top / "root", is_by_descriptor)
        plant(ground.at(*INSIDE), {"a": File(b"1")})
        plant(ground.trash("item1", "content"), {"b": File(b"2")})
        ground.path.chmod(mode)

        with pytest.raises(StoreUnreachable):
            methods[name](ground.store(), item_at(place(ground)))

    as_nobody(body)


# ── Places that change underneath ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("victim", ["7", RUN])
def test_directory_swapped_on_the_way_does_not_lead_outside(
    held_ground: LocalGround, victim: str
) -> None:
    """A directory that becomes a link while a quarantine runs is refused; nothing outside moves."""
    ground = held_ground
    outside = outside_of(ground)
    intact = look(outside)
    plant(ground.at(*INSIDE), {"a": File(b"1")})

    def swap() -> None:
        path = ground.at("7") if victim == "7" else ground.at("7", RUN)
        path.rename(ground.path.with_name("aside"))
        path.symlink_to(outside)

    few = open_descriptors()
    with before("open", once(swap, when=victim)), pytest.raises(UnsafePlace):
        ground.store().quarantine(place(ground), "new", NOTE)

    assert look(outside) == intact
    assert list(files_of(look(ground.path.with_name("aside"))).values()) == [b"1"]
    assert open_descriptors() == few


def test_run_directory_swapped_right_before_the_move(held_ground: LocalGround) -> None:
    """What moves is what was looked at, though its path leads elsewhere in the last moment."""
    ground = held_ground
    outside = outside_of(ground)
    intact = look(outside)
    plant(ground.at(*INSIDE), {"a": File(b"1")})

    def swap() -> None:
        ground.at("7", RUN).rename(ground.path.with_name("aside"))
        ground.at("7", RUN).symlink_to(outside)

    with before("rename", once(swap, when="artifacts")):
        ground.store().quarantine(place(ground), "item1", NOTE)

    assert look(outside) == intact
    assert files_of(look(ground.trash("item1", "content"))) == {"a": b"1"}


def test_trash_swapped_while_it_is_purged(held_ground: LocalGround) -> None:
    """A held directory that becomes a link while it is being purged does not lead outside."""
    ground = held_ground
    outside = outside_of(ground)
    intact = look(outside)
    plant(ground.trash("item1", "content", "artifacts"), {"a": File(b"1")})

    def swap() -> None:
        ground.trash("item1", "content").rename(ground.path.with_name("aside"))
        ground.trash("item1", "content").symlink_to(outside)

    with before("open", once(swap, when="artifacts")):
        ground.store().purge(item_at(place(ground)), always)

    assert look(outside) == intact


def test_purge_closes_what_it_opened_when_it_fails(held_ground: LocalGround) -> None:
    """Neither success nor refusal leaves a descriptor open."""
    ground = held_ground
    plant(ground.trash("item1", "content"), {"a": {"b": File(b"1")}})
    ground.at("7").symlink_to("elsewhere")
    few = open_descriptors()

    with pytest.raises(CleanupError):
        ground.store().purge(in_place(item_at(place(ground))), always)
    ground.store().purge(item_at(place(ground)), always)

    assert open_descriptors() == few
