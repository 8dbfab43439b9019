"""What `stores/base.py` promises of a full look at a root, asked of every kind of store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_cleanup.errors import CleanupError, ForeignOwner, StoreUnreachable
from mlflow_cleanup.model.inventory import Listed, Unseen
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import RESERVED, Location
from mlflow_cleanup.stores.base import KeepGoing, Mark
from tests.contracts.conftest import NewGround
from tests.kit.children import mount_bind, mount_tmpfs, with_own_mounts
from tests.kit.grounds import NOTE, RUN, THEIRS, Ground, always, never, place, times
from tests.kit.trees import File, names, open_descriptors, plant

T0 = 1_700_000_000.0


@pytest.fixture
def wooded(ground: Ground) -> Ground:
    """Give a root in which directories and links are things of their own."""
    if not ground.has_directories:
        pytest.skip("this store has neither directories nor links")
    return ground


def top(ground: Ground) -> Location:
    """Name the root itself."""
    return Location(ground.root, ())


def list_(
    ground: Ground, mark: Mark | None = None, keep_going: KeepGoing = always
) -> list[Listed | Unseen]:
    """List a root to its end."""
    return list(ground.store().listing(mark, keep_going))


def seen(found: Iterable[Listed | Unseen]) -> dict[str, Listed]:
    """Keep what could be listed, by its path inside the root."""
    listed = [one for one in found if isinstance(one, Listed)]
    by_path = {"/".join(one.inside): one for one in listed}
    assert len(by_path) == len(listed), "a directory was listed twice"
    return by_path


def unseen(found: Iterable[Listed | Unseen]) -> list[Unseen]:
    """Keep what could not be seen."""
    return [one for one in found if isinstance(one, Unseen)]


def sizes(found: Iterable[Listed | Unseen]) -> dict[str, tuple[int, int]]:
    """Say for each directory how many files, and bytes, lie directly in it."""
    return {path: (one.size.files, one.size.bytes) for path, one in seen(found).items()}


# ── What is listed ───────────────────────────────────────────────────────────────────────────────


def test_each_directory_is_listed_once_with_what_lies_directly_in_it(ground: Ground) -> None:
    """Sizes are those of files; directories count nothing, and are only said to be there."""
    ground.put(place(ground, "7"), {"note": b"1"})
    ground.put(place(ground), {"a": b"22", "b": b"", "deep/c": b"333" * 10})

    found = list_(ground)

    assert sizes(found) == {
        "": (0, 0),
        "7": (1, 1),
        f"7/{RUN}": (0, 0),
        f"7/{RUN}/artifacts": (2, 2),
        f"7/{RUN}/artifacts/deep": (1, 30),
    }
    assert {path for path, one in seen(found).items() if not one.has_directories} == {
        f"7/{RUN}/artifacts/deep"
    }
    assert not any(one.is_empty for one in seen(found).values())


def test_empty_root_is_listed_as_empty(ground: Ground) -> None:
    """The root itself is the first directory, and may be all there is."""
    (top,) = list_(ground)

    assert isinstance(top, Listed)
    assert (top.inside, top.size, top.is_empty) == ((), Size(), True)


def test_parents_are_listed_on_one_side_of_what_they_hold(ground: Ground) -> None:
    """Before it, or where keys come one after the other, after it: never in between."""
    ground.put(place(ground, "a", "b", "c"), {"x": b""})
    ground.put(place(ground, "a", "d"), {"x": b""})

    order = list(seen(list_(ground)))
    if not ground.parents_first:
        order.reverse()

    assert order[0] == ""
    assert all(order.index(os.path.dirname(path)) < order.index(path) for path in order[1:])


def test_our_own_directory_is_not_listed(ground: Ground) -> None:
    """Neither marker nor trash are artifacts: only at the top, where they are ours."""
    ground.put(place(ground), {"a": b"1"})
    ground.put(place(ground, "7", RESERVED), {"theirs": b"22"})
    ground.store().mark()
    ground.put(place(ground, "8", RUN, "artifacts"), {"b": b"4444"})
    assert ground.store().quarantine(place(ground, "8", RUN, "artifacts"), "item1", NOTE)

    found = sizes(list_(ground))

    assert found[f"7/{RESERVED}"] == (1, 2)
    assert not [path for path in found if path.split("/")[0] == RESERVED]
    assert sum(size for _, size in found.values()) == 1 + 2 + (0 if ground.moves else 4)


def test_newest_is_the_youngest_of_a_directory_and_its_files(wooded: Ground) -> None:
    """What lies deeper counts there; and a directory's own time tells that something left it."""
    wooded.put(place(wooded, "a"), {"old": b"", "young": b"", "below/youngest": b""})
    for number, inside in enumerate(
        [("a", "below", "youngest"), ("a", "young"), ("a", "old"), ("a", "below"), ("a",), ()]
    ):
        wooded.touch(place(wooded, *inside) if inside else top(wooded), T0 - 100 * number)

    found = {path: one.newest for path, one in seen(list_(wooded)).items()}
    assert found == {"": T0 - 500, "a": T0 - 100, "a/below": T0}

    wooded.touch(place(wooded, "a"), T0 + 1_000)
    assert seen(list_(wooded))["a"].newest == T0 + 1_000


@pytest.mark.parametrize("marked", [["b"], ["a", "c"], [], ["a", "b", "c"]])
def test_marked_names_are_counted_apart(ground: Ground, marked: list[str]) -> None:
    """What the lister was asked to tell apart is a part of the size, never more."""
    files = {"a": b"1", "b": b"x" * 10, "c": b"x" * 100}
    ground.put(place(ground), files)
    ground.put(place(ground, "7", "b"), {"z": b"x" * 1_000})  # a directory's name is not asked

    found = seen(list_(ground, lambda name: name in marked))

    one = found[f"7/{RUN}/artifacts"]
    assert one.size == Size(3, 111)
    assert one.marked == Size(len(marked), sum(len(files[name]) for name in marked))
    assert found["7/b"].marked == Size()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize(
    "name", [b"\xff\xfe", b"caf\xe9", b"new\nline", b"\x1b[2J", b" ", b"-rf *"]
)
def test_names_of_any_bytes_are_listed(ground: Ground, name: bytes) -> None:
    """A name that is no UTF-8 comes back as the system's own spelling of it, where it may be."""
    odd = os.fsdecode(name) if ground.takes_any_bytes else name.decode("latin-1")
    if not ground.takes_control_characters:
        odd = odd.replace("\x1b", "")
    ground.put(place(ground, odd, RUN, "artifacts"), {odd: b"12345"})

    found = sizes(list_(ground, lambda told: told == odd))

    assert found[f"{odd}/{RUN}/artifacts"] == (1, 5)
    assert ground.store().newest_write(place(ground, odd)) is not None


def test_tree_of_300_levels_is_listed_whole(wooded: Ground) -> None:
    """However deep, and with few directories open at a time."""
    levels = [f"level-{number}" for number in range(300)]
    wooded.put(place(wooded, *levels), {"leaf": b"1" * 10})
    wooded.put(place(wooded, *levels[:250]), {"on the way": b"2" * 100})
    few, most = open_descriptors(), 0
    found = []
    for one in wooded.store().listing(None, always):
        most = max(most, open_descriptors())
        found.append(one)

    assert len(seen(found)) == 301
    assert sum(size for _, size in sizes(found).values()) == 110
    assert sizes(found)["/".join(levels)] == (1, 10)
    assert most - few < 256  # the limit of open files on macOS
    assert open_descriptors() == few


# ── What is not followed, and not seen ───────────────────────────────────────────────────────────


def test_links_are_files_and_lead_nowhere(wooded: Ground) -> None:
    """A link counts as the small thing that it is, wherever it leads; a way round ends at once."""
    outside = plant(Path(wooded.root).with_name("outside"), {"theirs": File(b"x" * 1_000)})
    wooded.put(place(wooded, "a"), {"own": b"1"})
    targets = {"to a file": f"{outside}/theirs", "to a directory": str(outside), "round": "."}
    for name, target in targets.items():
        wooded.link(place(wooded, "a", name), target)

    found = list_(wooded)

    assert sizes(found) == {"": (0, 0), "a": (4, 1 + sum(map(len, targets.values())))}
    assert seen(found)["a"].has_directories is False
    assert unseen(found) == []


def test_file_with_several_names_counts_no_bytes(wooded: Ground) -> None:
    """Removing one of its names frees nothing: it counts as a file of 0 bytes."""
    outside = plant(Path(wooded.root).with_name("outside"), {"shared": File(b"x" * 1_000)})
    wooded.put(place(wooded, "a"), {"own": b"1"})
    wooded.second_name(place(wooded, "a", "shared"), outside / "shared")

    found = seen(list_(wooded, lambda name: name == "shared"))

    assert found["a"].size == Size(2, 1)
    assert found["a"].marked == Size(1, 0)


def test_unreadable_directory_is_unseen_and_the_rest_is_listed(wooded: Ground) -> None:
    """What could not be listed is named with the reason, and is never taken for empty."""
    wooded.put(place(wooded, "a", "closed", "below"), {"x": b"1"})
    wooded.put(place(wooded, "b"), {"y": b"22"})

    with wooded.unlistable(place(wooded, "a", "closed")):
        found = list_(wooded)

    (one,) = unseen(found)
    assert one.path == place(wooded, "a", "closed").path
    assert one.why == "Permission denied"
    assert sizes(found) == {"": (0, 0), "a": (0, 0), "b": (1, 2)}
    assert seen(found)["a"].has_directories


def test_root_that_cannot_be_listed_is_unseen_itself(wooded: Ground) -> None:
    """It is unreachable or unseen: not a single directory is told as if it were all."""
    wooded.put(place(wooded, "a"), {"x": b"1"})

    found: list[Listed | Unseen] = []
    with wooded.unlistable(top(wooded)), suppress(StoreUnreachable):
        found = list_(wooded)

    assert seen(found) == {}
    assert {(one.path, one.why) for one in unseen(found)} <= {(wooded.root, "Permission denied")}


@pytest.mark.parametrize("kind", ["another file system", "the same one, mounted twice"])
@pytest.mark.parametrize("depth", [1, 3])
def test_mount_is_unseen(wooded: Ground, kind: str, depth: int) -> None:
    """What is mounted below the root is not the root's, whichever file system it is of."""
    inside = ("a", "b", "c")[:depth]
    wooded.put(place(wooded, "a"), {"own": b"1"})
    at = Path(place(wooded, *inside).path)
    theirs = plant(Path(wooded.root).with_name("theirs"), {"d": {"precious": File(b"x" * 100)}})

    def body() -> None:
        if kind == "another file system":
            mount_tmpfs(at)
            plant(at, {"d": {"precious": File(b"x" * 100)}})
        else:
            mount_bind(theirs, at)
        found = list_(wooded)
        assert [one.path for one in unseen(found)] == [place(wooded, *inside).path]
        assert "mounted" in unseen(found)[0].why
        assert not [path for path in seen(found) if path.startswith("/".join(inside))]
        assert seen(found)["/".join(inside[:-1])].has_directories

    with_own_mounts(body)


def test_directory_that_vanishes_before_it_is_listed_is_no_empty_one(wooded: Ground) -> None:
    """Whoever removed or moved it does its own work: it is neither unseen nor an empty shell."""
    for name in ("a", "b", "c"):
        wooded.put(place(wooded, name), {"x": b"1"})
    found: list[Listed | Unseen] = []
    for one in wooded.store().listing(None, always):
        found.append(one)
        if len(found) == 1:
            for name in ("a", "b"):
                assert wooded.store().quarantine(place(wooded, name), name, NOTE)

    assert unseen(found) == []
    assert sizes(found)["c"] == (1, 1)
    assert not any(one.is_empty for one in seen(found).values())


def test_directory_that_vanishes_while_it_is_listed_stops_nothing(wooded: Ground) -> None:
    """Removed in the very moment: the others are listed, and nothing is raised."""
    for name in ("a", "b", "c"):
        wooded.put(place(wooded, name), {"x": b"1"})

    with wooded.vanishing(place(wooded, "b")):
        found = list_(wooded)

    assert unseen(found) == []
    assert {path: size for path, size in sizes(found).items() if path != "b"} == {
        "": (0, 0),
        "a": (1, 1),
        "c": (1, 1),
    }
    assert sizes(found).get("b", (0, 0)) == (0, 0)


def test_files_that_vanish_while_they_are_listed_are_left_out(wooded: Ground) -> None:
    """Those that are gone count nothing, those that are there count."""
    wooded.put(place(wooded, "a"), {str(number): b"x" for number in range(10)})
    at = Path(place(wooded, "a").path)

    def mark(name: str) -> bool:
        for path in at.iterdir():
            if path.name != name:
                path.unlink()
        return True

    assert sizes(list_(wooded, mark))["a"] == (1, 1)


# ── Stopping ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("steps", [0, 1, 2, 10, 30, 100])
def test_listing_stops_when_told_to_and_says_so(ground: Ground, steps: int) -> None:
    """What was not listed is not known: the root counts as not seen, and nothing stays open."""
    for number in range(10):
        ground.put(place(ground, str(number), "below"), {"x": b"1"})
    few = open_descriptors()

    found = list_(ground, keep_going=never if steps == 0 else times(steps))

    assert len(seen(found)) <= steps + 1
    is_whole = len(seen(found)) == 21
    assert [one.path for one in unseen(found)] == ([] if is_whole else [ground.root])
    assert open_descriptors() <= few + ground.connections


def test_listing_told_to_stop_at_its_end_is_whole(ground: Ground) -> None:
    """Nothing was left to list, so nothing is missing, whenever the word comes."""
    ground.put(place(ground, "a"), {"x": b"1"})
    for steps in range(10):
        found = list_(ground, keep_going=times(steps))
        assert (unseen(found) == []) is (len(seen(found)) == 2)


def test_listing_that_is_not_read_to_its_end_leaves_nothing_open(ground: Ground) -> None:
    """Whoever lists may go away at any point."""
    ground.put(place(ground, "a", "b", "c", "d"), {"x": b"1"})
    few = open_descriptors()
    listing = ground.store().listing(None, always)
    for _ in range(4):
        next(listing)
    listing.close()  # type: ignore[attr-defined]

    assert open_descriptors() <= few + ground.connections


def test_missing_root_is_unreachable(ground: Ground) -> None:
    """Nothing is listed of a root that is not there: never the same as finding nothing."""
    ground.hide()
    store = ground.store()

    for ask in (
        lambda: list(store.listing(None, always)),
        store.is_adopted,
        store.moved_from,
        lambda: store.remove_empty(place(ground, "a")),
        lambda: store.newest_write(place(ground, "a")),
    ):
        with pytest.raises(StoreUnreachable):
            ask()


# ── Empty directories ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("inside", [("a",), ("7", RUN), ("7", "models", "m-1")])
def test_empty_directory_is_removed(wooded: Ground, inside: tuple[str, ...]) -> None:
    """The one that was named, and none around it; once more there is nothing to do."""
    wooded.make(place(wooded, *inside))

    assert wooded.store().remove_empty(place(wooded, *inside)) is True
    assert wooded.store().remove_empty(place(wooded, *inside)) is False

    assert list(seen(list_(wooded))) == ["/".join(inside[:depth]) for depth in range(len(inside))]


def test_what_is_not_empty_is_not_removed(wooded: Ground) -> None:
    """A file, a hidden one, a directory that is empty itself, a link: each of them keeps it."""
    fill: dict[str, Callable[[str], object]] = {
        "file": lambda name: wooded.put(place(wooded, name), {"x": b""}),
        "hidden": lambda name: wooded.put(place(wooded, name), {".x": b"1"}),
        "directory": lambda name: wooded.make(place(wooded, name, "below")),
        "link": lambda name: wooded.link(place(wooded, name, "link"), "nowhere"),
    }
    for name, make in fill.items():
        make(name)
    before = list_(wooded)

    for name in fill:
        assert wooded.store().remove_empty(place(wooded, name)) is False

    assert list_(wooded) == before


def test_what_is_no_directory_is_not_removed(wooded: Ground) -> None:
    """Neither a file nor a link, not even one to an empty directory."""
    wooded.put(place(wooded, "a"), {"file": b""})
    wooded.make(place(wooded, "empty"))
    wooded.link(place(wooded, "link"), "empty")
    before = list_(wooded)

    for inside in (("a", "file"), ("link",), ("missing",), ("missing", "below")):
        assert wooded.store().remove_empty(place(wooded, *inside)) is False

    assert list_(wooded) == before


@pytest.mark.parametrize("target", ["inside", "outside"])
def test_nothing_is_removed_through_a_link(wooded: Ground, target: str) -> None:
    """A way that runs through a link is refused, wherever it leads."""
    outside = Path(wooded.root).with_name("outside")
    (outside / "empty").mkdir(parents=True)
    wooded.make(place(wooded, "real", "empty"))
    wooded.link(place(wooded, "link"), str(outside) if target == "outside" else "real")
    before = list_(wooded)

    with pytest.raises(CleanupError):
        wooded.store().remove_empty(place(wooded, "link", "empty"))

    assert list_(wooded) == before
    assert (outside / "empty").is_dir()


@pytest.mark.parametrize(
    "inside", [(), ("..", "outside"), (".",), ("a/b",), ("a", "", "b"), ("a", "..")]
)
def test_root_and_what_is_not_below_it_are_never_removed(
    wooded: Ground, inside: tuple[str, ...]
) -> None:
    """However empty they are."""
    outside = Path(wooded.root).with_name("outside")
    outside.mkdir()
    wooded.make(place(wooded, "a", "b"))
    location = place(wooded, *inside) if inside else top(wooded)
    if inside == ():
        wooded.store().remove_empty(place(wooded, "a", "b"))
        wooded.store().remove_empty(place(wooded, "a"))
    before = list_(wooded)

    with pytest.raises(CleanupError):
        wooded.store().remove_empty(location)

    assert list_(wooded) == before
    assert Path(wooded.root).is_dir()
    assert outside.is_dir()


def test_mount_point_is_not_removed(wooded: Ground) -> None:
    """An empty file system that is mounted there is not an empty directory of ours."""
    at = Path(place(wooded, "7", RUN).path)

    def body() -> None:
        mount_tmpfs(at)
        assert wooded.store().remove_empty(place(wooded, "7", RUN)) is False
        assert at.is_dir()

    with_own_mounts(body)


# ── The newest write ─────────────────────────────────────────────────────────────────────────────


def test_newest_write_is_the_youngest_of_everything_below(wooded: Ground) -> None:
    """Of files and of directories, however deep; a link's own time counts, not its target's."""
    outside = plant(Path(wooded.root).with_name("outside"), {"theirs": File()})
    wooded.put(place(wooded, "a"), {"x": b"", "deep/er/y": b""})
    wooded.link(place(wooded, "a", "link"), str(outside))
    spots = [("a", "deep", "er", "y"), ("a", "deep", "er"), ("a", "deep"), ("a", "link")]
    spots += [("a", "x"), ("a",)]
    for inside in reversed(spots):
        wooded.touch(place(wooded, *inside), T0)
    assert wooded.store().newest_write(place(wooded, "a")) == T0

    for number, inside in enumerate(spots):
        wooded.touch(place(wooded, *inside), T0 + 10 * (number + 1))
        assert wooded.store().newest_write(place(wooded, "a")) == T0 + 10 * (number + 1)


def test_newest_change_is_seen_by_listing_and_looking_alike(wooded: Ground) -> None:
    """Of whatever lies there, by a time that setting modification times only moves forward."""
    wooded.put(place(wooded, "a"), {"x": b"", "deep/er/y": b""})
    wooded.touch(place(wooded, "a", "deep", "er", "y"), T0)
    store = wooded.store()
    found = store.newest_times(place(wooded, "a"))
    listed = [
        one.changed
        for one in store.listing(None, always)
        if isinstance(one, Listed) and one.inside[:1] == ("a",)
    ]

    assert found is not None
    assert found == (store.newest_write(place(wooded, "a")), max(listed))
    assert store.newest_times(place(wooded, "missing")) is None


def test_newest_write_where_nothing_lies_is_none(wooded: Ground) -> None:
    """Missing is told from empty: an empty directory has a time of its own."""
    wooded.make(place(wooded, "empty"))
    wooded.touch(place(wooded, "empty"), T0)

    assert wooded.store().newest_write(place(wooded, "missing")) is None
    assert wooded.store().newest_write(place(wooded, "empty", "missing")) is None
    assert wooded.store().newest_write(place(wooded, "empty")) == T0


def test_newest_write_of_what_cannot_be_seen_is_an_error(wooded: Ground) -> None:
    """An unreadable directory may hold something younger, and a link leads elsewhere."""
    wooded.put(place(wooded, "a", "closed"), {"x": b""})
    wooded.link(place(wooded, "link"), "a")

    with wooded.unlistable(place(wooded, "a", "closed")), pytest.raises(OSError, match="denied"):
        wooded.store().newest_write(place(wooded, "a"))
    for inside in (("link",), ("link", "closed")):
        with pytest.raises(CleanupError):
            wooded.store().newest_write(place(wooded, *inside))


# ── Whose root it is ─────────────────────────────────────────────────────────────────────────────


def test_root_is_adopted_on_an_operators_word_only(ground: Ground) -> None:
    """Neither an unmarked root nor one that we marked by ourselves is; once said, it stays so."""
    assert ground.store().is_adopted() is False
    ground.store().mark()
    assert ground.store(is_marked=True).is_adopted() is False

    ground.adopt()

    assert ground.store(is_marked=True).is_adopted() is True
    ground.store(is_marked=True).mark()
    assert ground.store(is_marked=True).is_adopted() is True


@pytest.mark.parametrize("ask", ["is_adopted", "moved_from"])
def test_whose_root_it_is_is_asked_of_the_owner_only(ground: Ground, ask: str) -> None:
    """Another database's marker says nothing about us, and neither does one that is missing."""
    ground.adopt()

    with pytest.raises(ForeignOwner):
        getattr(ground.store(THEIRS), ask)()
    ground.lose_marker()
    with pytest.raises(StoreUnreachable):
        getattr(ground.store(is_marked=True), ask)()


def test_root_that_moved_says_from_where(ground: Ground) -> None:
    """Its marker came along; written anew it says the new place, adopted as before."""
    was = ground.root
    assert ground.store().moved_from() is None
    ground.adopt()
    assert ground.store(is_marked=True).moved_from() is None

    moved = ground.elsewhere()

    assert moved.root != was
    assert moved.store(is_marked=True).moved_from() == was
    moved.store(is_marked=True).mark()
    assert moved.store(is_marked=True).moved_from() is None
    assert moved.store(is_marked=True).is_adopted() is True


# ── Random trees ─────────────────────────────────────────────────────────────────────────────────

_PATHS = st.lists(names(st.sampled_from("abc")), min_size=2, max_size=5)
_FILES = st.dictionaries(_PATHS.map(tuple), st.binary(max_size=8), min_size=1, max_size=8)


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(files=_FILES)
def test_listing_counts_every_byte_once(
    new_ground: NewGround, files: dict[tuple[str, ...], bytes]
) -> None:
    """Whatever lies there is counted in its own directory, and nowhere else."""
    ground = new_ground()
    whole = {
        path: content
        for path, content in files.items()
        if not any(path != other and path == other[: len(path)] for other in files)
    }
    for path, content in whole.items():
        ground.put(place(ground, *path[:-1]), {path[-1]: content})

    found = list_(ground)

    expected: dict[tuple[str, ...], list[int]] = {
        path[:depth]: [] for path in whole for depth in range(len(path))
    }
    for path, content in whole.items():
        expected[path[:-1]].append(len(content))
    assert {one.inside: one.size for one in seen(found).values()} == {
        inside: Size(len(counts), sum(counts)) for inside, counts in expected.items()
    }
    assert {one.inside for one in seen(found).values() if one.has_directories} == {
        inside[:-1] for inside in expected if inside
    }
