from __future__ import annotations

import os
from pathlib import Path

from mlflow_cleanup.model.item import Size
from mlflow_cleanup.stores.local.directory import open_root
from mlflow_cleanup.stores.local.walk import ASK_EVERY, measure, walk
from tests.kit.children import mount_tmpfs, with_own_mounts
from tests.kit.grounds import LocalGround, always, never, times
from tests.kit.trees import File, Link, Tree, look, open_descriptors, plant, plant_deep, swept
from tests.unit.stores.local.conftest import Open

TREE: Tree = {
    "a": File(b"1"),
    "b": {"c": File(b"22"), "d": {"e": File(b"333"), "empty": {}}},
    "link": Link("b"),
}


def test_everything_is_met_once_and_directories_before_their_content(
    opened: Open, tmp_path: Path
) -> None:
    """The walk meets each file, link and directory once, a directory before what is in it."""
    plant(tmp_path, TREE)

    met = ["/".join(found.inside) for found in walk(opened(tmp_path))]

    assert sorted(met) == sorted(look(tmp_path))
    assert all(met.index(os.path.dirname(path)) < met.index(path) for path in met if "/" in path)


def test_walk_tells_directories_from_links_to_them(opened: Open, tmp_path: Path) -> None:
    """A link to a directory is met as a link, and not entered."""
    plant(tmp_path, TREE)

    kinds = {"/".join(found.inside): found.is_directory for found in walk(opened(tmp_path))}

    assert {path for path, is_directory in kinds.items() if is_directory} == {
        "b",
        "b/d",
        "b/d/empty",
    }
    assert "link/c" not in kinds


def test_directory_that_vanishes_is_skipped(opened: Open, tmp_path: Path) -> None:
    """A directory that goes between being met and being entered is somebody else's business."""
    plant(tmp_path, {"top": {"gone": {"a": File()}, "kept": {"b": File()}}})
    met = []
    for found in walk(opened(tmp_path / "top")):
        met.append(found.inside)
        if found.inside == ("gone",):
            (tmp_path / "top" / "gone").rename(tmp_path / "elsewhere")

    assert ("kept", "b") in met
    assert ("gone", "a") not in met


def test_directory_swapped_for_a_link_is_not_entered(opened: Open, tmp_path: Path) -> None:
    """A directory that becomes a link between being met and being entered leads nowhere."""
    plant(tmp_path, {"outside": {"theirs": File()}, "top": {"swapped": {}}})
    met = []
    for found in walk(opened(tmp_path / "top")):
        met.append(found.inside)
        (tmp_path / "top" / "swapped").rmdir()
        (tmp_path / "top" / "swapped").symlink_to("../outside")

    assert met == [("swapped",)]


def test_walk_keeps_few_directories_open(opened: Open, tmp_path: Path) -> None:
    """However deep the tree, the walk has one directory open beside the first."""
    plant_deep(tmp_path / "top", 60)
    top = opened(tmp_path / "top")
    few = open_descriptors()

    most = max(open_descriptors() for _ in walk(top))

    assert most <= few + 3  # the directory, its listing, and a moment of descent
    assert open_descriptors() == few


def test_tree_deeper_than_a_path_can_be_long_is_measured(held_ground: LocalGround) -> None:
    """A tree whose end no path can name is measured whole."""
    with (
        swept(plant_deep(held_ground.path / "deep", 500)) as deep,
        open_root(str(deep), by_descriptor=True) as top,
    ):
        assert measure(top, always) == Size(500, 500 * len(b"leaf"))


def test_measure_counts_files_links_and_their_bytes(opened: Open, tmp_path: Path) -> None:
    """Files and links are counted, directories are not."""
    plant(tmp_path, TREE)

    assert measure(opened(tmp_path), always) == Size(4, 1 + 2 + 3 + len("b"))


def test_file_with_a_name_elsewhere_frees_no_bytes(opened: Open, tmp_path: Path) -> None:
    """Removing one of a file's two names frees nothing, so it counts 0 bytes."""
    plant(tmp_path, {"top": {"shared": File(b"12345"), "own": File(b"1")}})
    (tmp_path / "second name").hardlink_to(tmp_path / "top" / "shared")

    measured = measure(opened(tmp_path / "top"), always)
    assert measured == Size(2, 1)
    assert measured.whole == 6


def test_measure_asks_now_and_then(opened: Open, tmp_path: Path) -> None:
    """A measurement is told to stop at its beginning or in the middle, and has no answer then."""
    plant(tmp_path, {str(number): File() for number in range(2 * ASK_EVERY)})
    top = opened(tmp_path)

    assert measure(top, never) is None
    assert measure(top, times(1)) is None
    assert measure(top, times(2)) == Size(2 * ASK_EVERY, 0)


def test_other_file_system_is_not_entered(tmp_path: Path, *, is_by_descriptor: bool) -> None:
    """What is mounted below is met, but what it holds is not."""
    plant(tmp_path, {"a": File(b"1"), "mounted": {}})

    def body() -> None:
        mount_tmpfs(tmp_path / "mounted")
        plant(tmp_path / "mounted", {"theirs": File(b"12345")})
        with open_root(str(tmp_path), by_descriptor=is_by_descriptor) as top:
            assert {found.inside for found in walk(top)} == {("a",), ("mounted",)}
            assert measure(top, always) == Size(1, 1)

    with_own_mounts(body)
