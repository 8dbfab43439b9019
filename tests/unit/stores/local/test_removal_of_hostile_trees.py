from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mlflow_cleanup.model.item import Size
from mlflow_cleanup.stores.local import mounts
from mlflow_cleanup.stores.local.directory import HAS_DIR_FD
from mlflow_cleanup.stores.local.removal import PAUSE_S
from tests.kit.children import NOBODY, as_nobody, mount_bind, mount_tmpfs, with_own_mounts
from tests.kit.faults import before, once
from tests.kit.trees import File, files_of, look, open_descriptors, plant
from tests.unit.stores.local.conftest import Site

pytestmark = pytest.mark.skipif(not HAS_DIR_FD, reason="the way of systems with descriptors")

REFUSED = OSError(errno.EPERM, "Operation not permitted")


# ── Places that change underneath ────────────────────────────────────────────────────────────────


def test_directory_swapped_for_a_link_leads_nowhere(site: Site) -> None:
    """A directory that becomes a link between listing and opening it does not lead outside."""
    outside = site.path.with_name("outside")
    intact = look(outside)
    plant(site.tree, {"victim": {"a": File(b"1")}, "other": {"b": File(b"2")}})

    def swap() -> None:
        (site.tree / "victim").rename(site.path / "aside")
        (site.tree / "victim").symlink_to(outside)

    few = open_descriptors()
    with before("open", once(swap, when="victim")):
        site.remove()

    assert look(outside) == intact
    assert files_of(look(site.path / "aside")) == {"a": b"1"}
    assert open_descriptors() == few

    site.remove()
    assert not site.tree.exists()
    assert look(outside) == intact


def test_swapped_directory_does_not_stop_the_rest(site: Site) -> None:
    """One place that became unsafe is a failure of its own: what lies beside it goes."""
    plant(site.tree, {"victim": {}, "other": {"b": File(b"2")}})

    def swap() -> None:
        (site.tree / "victim").rmdir()
        (site.tree / "victim").symlink_to("../../outside")

    with before("open", once(swap, when="victim")):
        removal = site.remove()

    assert removal.freed == Size(2, 1 + len("../../outside"))
    assert look(site.path) == {}


@pytest.mark.parametrize("moved", ["tree", "tree/a", "tree/a/b"])
def test_tree_moved_away_meanwhile_takes_nothing_with_it(site: Site, moved: str) -> None:
    """Where a directory was moved while being emptied, nothing of its new surroundings goes."""
    plant(site.tree, {"a": {"b": {"c": {"file": File(b"1")}, "d": {"e": File(b"2")}}}})
    new_home = plant(
        site.path / "new home", {"x": File(b"x"), "y": {"z": File(b"z")}, "a": {"d": {}}}
    )
    intact = look(new_home)
    few = open_descriptors()

    with before("unlink", once(lambda: _move(site.path / moved, new_home), when="file")):
        removal = site.remove()

    after = look(new_home)
    assert {path: what for path, what in after.items() if not path.startswith("moved")} == intact
    assert removal.freed.files <= 2
    assert not site.tree.exists()  # the later attempts found what was left there
    assert open_descriptors() == few


def _move(path: Path, new_home: Path) -> None:
    path.rename(new_home / "moved")


def test_moved_tree_is_told_as_a_failure(site: Site) -> None:
    """A tree that went away in the middle is not reported as removed by this attempt."""
    plant(site.tree, {"a": {"file": File(b"1")}})
    told: list[Size] = []

    with before("unlink", once(lambda: _move(site.tree / "a", site.path), when="file")):
        removal = site.remove(wait=lambda _: told.append(Size()))

    assert told  # a second attempt was needed
    assert removal.freed == Size(1, 1)


def test_file_written_meanwhile_goes_with_the_next_attempt(site: Site) -> None:
    """A writer that is quicker than the removal only costs an attempt."""
    plant(site.tree, {"a": {"file": File(b"1")}})

    def write_late() -> None:
        plant(site.tree / "a", {"late": File(b"22")})

    with before("rmdir", once(write_late, when="a")):
        removal = site.remove()

    assert (removal.freed, removal.failures, site.waits) == (Size(2, 3), [], [PAUSE_S])
    assert look(site.path) == {}


# ── Permissions ──────────────────────────────────────────────────────────────────────────────────

PROTECTED: dict[str, int] = {
    "read-only": 0o555,
    "without search": 0o666,
    "without reading": 0o333,
    "nothing at all": 0o000,
    "write only": 0o222,
}


@pytest.mark.parametrize("mode", PROTECTED.values(), ids=PROTECTED.keys())
def test_protected_directories_are_removed(mode: int) -> None:
    """What its owner may not write, read or enter is made so, and removed with what is in it."""

    def body(top: Path) -> None:
        site = Site(top)
        plant(site.tree, {"a": {"b": {"c": File(b"1", 0o400)}, "d": File(b"22", 0o000)}})
        for inside in ("a/b", "a", "."):
            (site.tree / inside).chmod(mode)

        removal = site.remove()

        assert (removal.freed, removal.failures, site.waits) == (Size(2, 3), [], [])
        assert look(top) == {}

    as_nobody(body)


def test_directory_made_read_only_meanwhile_is_emptied() -> None:
    """A directory that loses its permissions after it was entered is given them again."""

    def body(top: Path) -> None:
        site = Site(top)
        plant(site.tree, {"a": {"b": File(b"1"), "c": File(b"22")}})

        with before("unlink", once(lambda: (site.tree / "a").chmod(0o500), when="b")):
            removal = site.remove()

        assert (removal.freed, removal.failures, site.waits) == (Size(2, 3), [], [])
        assert look(top) == {}

    as_nobody(body)


def test_what_belongs_to_others_is_told_and_left() -> None:
    """Another user's directory that we may not write is a failure; what is ours beside it goes."""

    def prepare(top: Path) -> None:
        plant(top / "tree", {"ours": {"a": File(b"1")}, "theirs": {"b": File(b"22")}})
        for path in ("tree", "tree/ours", "tree/ours/a"):
            os.chown(top / path, NOBODY, NOBODY)

    def body(top: Path) -> None:
        site = Site(top)

        removal = site.remove()

        assert files_of(look(site.tree)) == {"theirs/b": b"22"}
        assert removal.freed == Size(1, 1)
        assert any("theirs/b: " in line for line in removal.failures)

    as_nobody(body, as_root_before=prepare)


# ── Mounts ───────────────────────────────────────────────────────────────────────────────────────


def test_other_file_system_is_not_entered_without_a_table_of_mounts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system does not tell its mounts, another device number tells of one."""

    def body() -> None:
        monkeypatch.setattr(mounts, "_TABLE", "/nowhere/mountinfo")
        plant(site.tree, {"a": {"mounted": {}, "b": File(b"1")}})
        mount_tmpfs(site.tree / "a" / "mounted")
        plant(site.tree / "a" / "mounted", {"theirs": File(b"theirs")})

        removal = site.remove()

        assert removal.freed == Size(1, 1)
        assert files_of(look(site.tree)) == {"a/mounted/theirs": b"theirs"}

    with_own_mounts(body)


@pytest.mark.parametrize("kind", ["another file system", "the same file system"])
def test_mount_point_inside_is_not_entered(site: Site, kind: str) -> None:
    """What is mounted inside the tree stays, whatever file system it is from; the rest goes."""

    def body() -> None:
        plant(site.tree, {"a": {"mounted": {}, "b": File(b"1")}, "c": File(b"22")})
        if kind == "another file system":
            mount_tmpfs(site.tree / "a" / "mounted")
            plant(site.tree / "a" / "mounted", {"theirs": File(b"theirs")})
        else:
            mount_bind(site.path.with_name("outside"), site.tree / "a" / "mounted")
        few = open_descriptors()

        removal = site.remove()

        assert open_descriptors() == few
        assert removal.freed == Size(2, 3)
        assert files_of(look(site.tree)) == {"a/mounted/theirs": b"theirs"}
        assert any("mounted" in line for line in removal.failures)

    with_own_mounts(body)
