from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings

from mlflow_cleanup.model.inventory import Listed, Unseen
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.stores.local import directory as directories
from mlflow_cleanup.stores.local.directory import HAS_DIR_FD, open_root
from mlflow_cleanup.stores.local.listing import list_root
from tests.kit.children import as_nobody, mount_tmpfs, with_own_mounts
from tests.kit.grounds import always, never, times
from tests.kit.trees import File, Link, Tree, open_descriptors, plant, plant_deep, swept, trees
from tests.unit.stores.local.conftest import Open

TREE: Tree = {
    "a": File(b"1"),
    "b": {"c": File(b"22"), "d": {"e": File(b"333"), "empty": {}}},
    "link": Link("b"),
}


def sizes(listed: Iterable[Listed | Unseen]) -> dict[str, Size]:
    """Return the size of each directory by its path; nothing may have been unseen."""
    found = list(listed)
    assert [one for one in found if isinstance(one, Unseen)] == []
    seen = [one for one in found if isinstance(one, Listed)]
    assert len({one.inside for one in seen}) == len(seen)
    return {"/".join(one.inside): one.size for one in seen}


def test_every_directory_is_listed_once_with_what_lies_in_it(opened: Open, tmp_path: Path) -> None:
    """Files and links count where they lie, links with their own length, and lead nowhere."""
    plant(tmp_path, TREE)

    assert sizes(list_root(opened(tmp_path), None, always)) == {
        "": Size(2, 1 + len("b")),
        "b": Size(1, 2),
        "b/d": Size(1, 3),
        "b/d/empty": Size(0, 0),
    }


def test_empty_is_told_from_without_files(opened: Open, tmp_path: Path) -> None:
    """A directory that has only directories is not empty."""
    plant(tmp_path, TREE)

    found = [one for one in list_root(opened(tmp_path), None, always) if isinstance(one, Listed)]

    assert [one.inside for one in found if one.is_empty] == [("b", "d", "empty")]


def test_newest_is_of_the_files_and_of_the_directory_itself(opened: Open, tmp_path: Path) -> None:
    """A file that was removed is a change of its directory too."""
    plant(tmp_path, {"files": {"old": File(), "new": File()}, "touched": {"old": File()}})
    for path, at in (
        ("files/old", 10),
        ("files/new", 300),
        ("files", 20),
        ("touched/old", 10),
        ("touched", 400),
    ):
        os.utime(tmp_path / path, (at, at))

    found = list_root(opened(tmp_path), None, always)

    newest = {one.inside: one.newest for one in found if isinstance(one, Listed)}
    assert (newest["files",], newest["touched",]) == (300, 400)


def test_file_with_a_name_elsewhere_frees_no_bytes(opened: Open, tmp_path: Path) -> None:
    """Removing one of a file's two names frees nothing, so it counts 0 bytes, marked or not."""
    plant(tmp_path, {"top": {"shared": File(b"12345"), "own": File(b"1")}})
    (tmp_path / "second name").hardlink_to(tmp_path / "top" / "shared")

    [found] = list_root(opened(tmp_path / "top"), lambda name: name == "shared", always)

    assert isinstance(found, Listed)
    assert (found.size, found.marked) == (Size(2, 1), Size(1, 0))
    assert (found.size.shared, found.size.whole) == (5, 6)


def test_marked_names_are_told_apart(opened: Open, tmp_path: Path) -> None:
    """The mark is asked about the names of files, not about those of directories."""
    plant(tmp_path, {"x.ckpt": {"a.ckpt": File(b"1"), "b": File(b"22"), "c.ckpt": File(b"333")}})

    found = list_root(opened(tmp_path), lambda name: name.endswith(".ckpt"), always)

    assert {one.inside: one.marked for one in found if isinstance(one, Listed)} == {
        (): Size(0, 0),
        ("x.ckpt",): Size(2, 4),
    }


def test_our_own_directory_is_left_out_and_only_at_the_top(opened: Open, tmp_path: Path) -> None:
    """The trash is no part of what lies under the root; a name deeper down is anybody's."""
    plant(tmp_path, {RESERVED: {"trash": {"x": File(b"1")}}, "deeper": {RESERVED: {"y": File()}}})

    assert set(sizes(list_root(opened(tmp_path), None, always))) == {
        "",
        "deeper",
        f"deeper/{RESERVED}",
    }


def test_listing_stops_when_told_to(opened: Open, tmp_path: Path) -> None:
    """It is asked before each directory but the root, closes what it had open, and says so."""
    plant(tmp_path, {str(number): {"in": {}} for number in range(9)})
    root = opened(tmp_path)
    few = open_descriptors()

    for asked, count in ((never, 1), (times(4), 5)):
        *found, last = list_root(root, None, asked)
        assert len(found) == count
        assert last == Unseen(str(tmp_path), "the listing was stopped before its end")
    assert open_descriptors() == few


def test_listing_that_is_given_up_closes_what_it_had_open(opened: Open, tmp_path: Path) -> None:
    """Whoever stops taking leaves nothing open behind."""
    plant_deep(tmp_path / "top", 20)
    root = opened(tmp_path / "top")
    few = open_descriptors()
    found = iter(list_root(root, None, always))
    for _ in range(10):
        next(found)

    found.close()  # type: ignore[attr-defined]

    assert open_descriptors() == few


@pytest.mark.skipif(not HAS_DIR_FD, reason="this system opens no directories by descriptor")
def test_tree_deeper_than_a_path_can_be_long_is_listed_whole(tmp_path: Path) -> None:
    """With a bounded number of open directories, however deep it goes."""
    with (
        swept(plant_deep(tmp_path.resolve() / "deep", 500)) as deep,
        open_root(str(deep), by_descriptor=True) as root,
    ):
        few, most, files = open_descriptors(), 0, 0
        for found in list_root(root, None, always):
            assert isinstance(found, Listed)
            files, most = files + found.files, max(most, open_descriptors())

    assert files == 500
    assert most <= few + 210


def test_many_names_below_the_deepest_open_directory_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_by_descriptor: bool
) -> None:
    """Where no more directories are kept open, each is found from the top again, and once."""
    monkeypatch.setattr("mlflow_cleanup.stores.local.listing._OPEN_AT_MOST", 1)
    plant(tmp_path, {"a": {"b": {"c": {}, "d": {"e": {}, "f": {}}}, "g": {}}, "h": {"i": {}}})
    with open_root(str(tmp_path.resolve()), by_descriptor=is_by_descriptor) as root:
        found = sizes(list_root(root, None, always))

    below = ["a/b", "a/b/c", "a/b/d", "a/b/d/e", "a/b/d/f", "a/g"]
    assert sorted(found) == ["", "a", *below, "h", "h/i"]


def test_directory_that_vanishes_is_no_trouble(opened: Open, tmp_path: Path) -> None:
    """What was removed between being met and being entered counts nothing, and is not unseen."""
    plant(tmp_path, {"top": {"gone": {"a": File(b"1")}}})
    met = []
    for found in list_root(opened(tmp_path / "top"), None, always):
        met.append(found)
        if len(met) == 1:
            (tmp_path / "top" / "gone").rename(tmp_path / "elsewhere")

    assert met[1] == Listed(("gone",), 0, 0, 0.0, has_directories=True)


def test_directory_swapped_for_a_link_is_unseen(opened: Open, tmp_path: Path) -> None:
    """A directory that becomes a link between being met and being entered leads nowhere."""
    plant(tmp_path, {"outside": {"theirs": File(b"1")}, "top": {"swapped": {}}})
    met = []
    for found in list_root(opened(tmp_path / "top"), None, always):
        met.append(found)
        if len(met) == 1:
            (tmp_path / "top" / "swapped").rmdir()
            (tmp_path / "top" / "swapped").symlink_to("../outside")

    [_, swapped] = met
    assert isinstance(swapped, Unseen)
    assert swapped.path == str(tmp_path.resolve() / "top" / "swapped")


def test_unreadable_directory_is_unseen_with_its_reason() -> None:
    """What may not be read is told, and the rest is listed."""

    def body(top: Path) -> None:
        plant(top, {"closed": {"a": File(b"1")}, "open": {"b": File(b"22")}})
        (top / "closed").chmod(0o000)
        for by_descriptor in {True, False} if HAS_DIR_FD else {False}:
            with open_root(str(top), by_descriptor=by_descriptor) as root:
                found = list(list_root(root, None, always))
            unseen = [one for one in found if isinstance(one, Unseen)]
            assert unseen == [Unseen(str(top / "closed"), "Permission denied")]
            assert sizes(one for one in found if isinstance(one, Listed)) == {
                "": Size(),
                "open": Size(1, 2),
            }
        (top / "closed").chmod(0o700)

    as_nobody(body)


def test_other_file_system_is_unseen(tmp_path: Path, *, is_by_descriptor: bool) -> None:
    """What is mounted below is told and not entered."""
    plant(tmp_path, {"a": File(b"1"), "mounted": {}})

    def body() -> None:
        mount_tmpfs(tmp_path / "mounted")
        plant(tmp_path / "mounted", {"theirs": File(b"12345")})
        with open_root(str(tmp_path), by_descriptor=is_by_descriptor) as root:
            first, second = list_root(root, None, always)
        assert isinstance(first, Listed)
        assert first.size == Size(1, 1)
        assert second == Unseen(str(tmp_path / "mounted"), "another file system is mounted there")

    with_own_mounts(body)


def test_junction_is_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where directories are held by path, what only looks like one counts as a file."""
    plant(tmp_path, {"junction": {"theirs": File(b"12345")}, "plain": {}})
    number = (tmp_path / "junction").stat().st_ino
    is_plain = directories.is_plain_directory
    monkeypatch.setattr(
        "mlflow_cleanup.stores.local.listing.is_plain_directory",
        lambda status: is_plain(status) and status.st_ino != number,
    )
    with open_root(str(tmp_path.resolve()), by_descriptor=False) as root:
        found = list(list_root(root, None, always))

    assert [one.inside for one in found if isinstance(one, Listed)] == [(), ("plain",)]
    assert [one.files for one in found if isinstance(one, Listed)] == [1, 0]


@settings(deadline=None, max_examples=50)
@given(tree=trees())
def test_any_tree_adds_up(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the names, each directory is met once, and the sum is what `os.walk` finds."""
    top = plant(tmp_path_factory.mktemp("any").resolve(), tree)
    expected = {
        os.path.relpath(path, top): sum(os.lstat(os.path.join(path, one)).st_size for one in others)
        for path, others in _walked(top)
    }
    for by_descriptor in {True, False} if HAS_DIR_FD else {False}:
        with open_root(str(top), by_descriptor=by_descriptor) as root:
            found = sizes(list_root(root, None, always))
        assert {path or ".": size.bytes for path, size in found.items()} == expected


def _walked(top: Path) -> list[tuple[str, list[str]]]:
    """List each directory with what lies in it that is none; links to directories are none."""
    return [
        (path, [*files, *(one for one in below if os.path.islink(os.path.join(path, one)))])
        for path, below, files in os.walk(top)
    ]
