from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlflow_cleanup.model.inventory import Listed, Unseen
from mlflow_cleanup.stores.local import listing
from mlflow_cleanup.stores.local.directory import Directory, PathDirectory, open_root
from mlflow_cleanup.stores.local.listing import list_root
from tests.kit.children import as_nobody, mount_tmpfs, with_own_mounts
from tests.kit.faults import before
from tests.kit.grounds import always
from tests.kit.trees import File, open_descriptors, plant, plant_deep, swept
from tests.unit.stores.local.conftest import Open


def listed(root: Directory) -> tuple[list[str], list[str]]:
    """List a root: what was seen, and what was not, by its path inside the root."""
    found = list(list_root(root, None, always))
    seen = ["/".join(one.inside) for one in found if isinstance(one, Listed)]
    unseen = [os.path.relpath(one.path, root.path) for one in found if isinstance(one, Unseen)]
    return sorted(seen), sorted(unseen)


def test_tree_deeper_than_a_path_can_be_long_is_listed(tmp_path: Path) -> None:
    """A tree whose end no path can name is listed whole, with few directories open."""
    with (
        swept(plant_deep(tmp_path / "deep", 500)) as deep,
        open_root(str(deep), by_descriptor=True) as root,
    ):
        few = open_descriptors()
        found = list(list_root(root, None, always))
        assert sum(one.size.files for one in found if isinstance(one, Listed)) == 500
        assert len(found) == 501
        assert open_descriptors() == few


def test_end_that_no_path_can_name_is_unseen_where_directories_are_held_by_path(
    tmp_path: Path,
) -> None:
    """What cannot be reached is said, and what can be is listed."""
    with swept(plant_deep(tmp_path / "deep", 500)) as deep:
        found = list(list_root(PathDirectory(str(deep)), None, always))

    assert [one.why for one in found if isinstance(one, Unseen)] == ["File name too long"]
    assert len(found) > 300


def test_directory_swapped_for_a_link_is_not_entered(opened: Open, tmp_path: Path) -> None:
    """A directory that becomes a link between being met and being entered is not seen."""
    plant(tmp_path, {"outside": {"theirs": {"x": File()}}, "root": {"swapped": {}, "own": {}}})
    root = opened(tmp_path / "root")
    steps = list_root(root, None, always)
    found = [next(steps)]
    (tmp_path / "root" / "swapped").rmdir()
    (tmp_path / "root" / "swapped").symlink_to("../outside")
    found += steps

    assert {one.inside for one in found if isinstance(one, Listed)} == {(), ("own",)}
    (unseen,) = (one for one in found if isinstance(one, Unseen))
    assert unseen.path == os.path.join(root.path, "swapped")


@pytest.mark.parametrize("name", ["swapped", "deep"])
def test_directory_moved_on_the_way_down_does_not_lead_outside(
    opened: Open, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the ones kept open, the way is found from the top again: through no link either."""
    monkeypatch.setattr(listing, "_OPEN_AT_MOST", 0)
    plant(tmp_path, {"outside": {"deep": {"end": {"theirs": {}}}, "end": {"theirs": {}}}})
    plant(tmp_path / "root", {"swapped": {"deep": {"end": {}}}})
    found: list[Listed | Unseen] = []
    for one in list_root(opened(tmp_path / "root"), None, always):
        found.append(one)
        if isinstance(one, Listed) and one.inside[-1:] == ("deep",):
            at = tmp_path / "root" / "swapped" / ("deep" if name == "deep" else "")
            at.rename(tmp_path / "aside")
            at.symlink_to(tmp_path / "outside" / ("deep" if name == "deep" else ""))

    assert not any("theirs" in one.inside for one in found if isinstance(one, Listed))
    assert isinstance(found[-1], Unseen)


def test_file_system_is_told_by_its_device_where_there_is_no_table_of_mounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_by_descriptor: bool
) -> None:
    """As on systems other than Linux."""
    monkeypatch.setattr(listing, "mount_points", frozenset)
    plant(tmp_path, {"a": {"mounted": {}}})

    def body() -> None:
        mount_tmpfs(tmp_path / "a" / "mounted")
        plant(tmp_path / "a" / "mounted", {"theirs": {}})
        with open_root(str(tmp_path), by_descriptor=is_by_descriptor) as root:
            assert listed(root) == (["", "a"], ["a/mounted"])

    with_own_mounts(body)


def test_root_that_is_a_mount_point_itself_is_listed(
    tmp_path: Path, *, is_by_descriptor: bool
) -> None:
    """An artifact root is often a file system of its own."""

    def body() -> None:
        mount_tmpfs(tmp_path)
        plant(tmp_path, {"0": {"run": {}}})
        with open_root(str(tmp_path), by_descriptor=is_by_descriptor) as root:
            assert listed(root) == (["", "0", "0/run"], [])

    with_own_mounts(body)


def test_root_that_vanishes_before_it_is_listed_is_unseen(tmp_path: Path) -> None:
    """Where nothing holds it open: it is not taken for an empty one."""
    root = plant(tmp_path / "root", {"a": {}})

    def vanish(path: str) -> None:
        assert path == str(root)
        root.rename(tmp_path / "aside")

    with before("scandir", vanish):
        assert listed(PathDirectory(str(root))) == ([], ["."])


def test_directory_of_another_user_is_unseen(*, is_by_descriptor: bool) -> None:
    """Permission bits bind: what they close is named, also when its names can be read."""

    def body(top: Path) -> None:
        plant(top, {"closed": {"x": {}}, "listable": {"y": {}}, "open": {"z": {}}})
        (top / "closed").chmod(0o000)
        (top / "listable").chmod(0o444)
        with open_root(str(top), by_descriptor=is_by_descriptor) as root:
            seen, unseen = listed(root)
        assert set(seen) - {"listable"} == {"", "open", "open/z"}
        assert {name.partition("/")[0] for name in unseen} == {"closed", "listable"}
        for name in ("closed", "listable"):
            (top / name).chmod(0o700)

    as_nobody(body)
