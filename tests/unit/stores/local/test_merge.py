from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlflow_cleanup.stores.local.directory import open_root
from mlflow_cleanup.stores.local.merge import merge
from tests.kit.children import as_nobody
from tests.kit.faults import before, fail
from tests.kit.trees import File, Link, Seen, Tree, files_of, look, plant, trees


@dataclass(frozen=True)
class Sides:
    """Two directories: what is put back, and where to."""

    source: Path
    target: Path
    by_descriptor: bool

    def plant(self, source: Tree, target: Tree) -> None:
        """Fill both."""
        plant(self.source, source)
        plant(self.target, target)

    def merge(self) -> list[str]:
        """Merge the one into the other; return the collisions, sorted."""
        with (
            open_root(str(self.source), by_descriptor=self.by_descriptor) as source,
            open_root(str(self.target), by_descriptor=self.by_descriptor) as target,
        ):
            return sorted(merge(source, target))


@pytest.fixture
def sides(tmp_path: Path, *, is_by_descriptor: bool) -> Sides:
    """Give two empty directories."""
    return Sides(tmp_path / "source", tmp_path / "target", is_by_descriptor)


def test_what_does_not_collide_moves(sides: Sides) -> None:
    """Files go to their old places, in new and in existing directories, and nothing stays."""
    sides.plant(
        {"a": File(b"1"), "b": {"c": File(b"2"), "d": {"e": File(b"3")}}, "empty": {}},
        {"b": {"d": {"f": File(b"4")}}},
    )

    assert sides.merge() == []

    assert look(sides.source) == {}
    assert files_of(look(sides.target)) == {"a": b"1", "b/c": b"2", "b/d/e": b"3", "b/d/f": b"4"}
    assert (sides.target / "empty").is_dir()


def test_what_collides_stays_on_both_sides(sides: Sides) -> None:
    """A file whose place is taken stays where it is, and so does what took it."""
    sides.plant(
        {"a": File(b"old"), "b": {"c": {"d": File(b"old"), "e": File(b"free")}, "x": File(b"x")}},
        {"a": File(b"new"), "b": {"c": {"d": File(b"new")}}},
    )

    assert sides.merge() == ["a", "b/c/d"]

    assert files_of(look(sides.source)) == {"a": b"old", "b/c/d": b"old"}
    assert files_of(look(sides.target)) == {
        "a": b"new",
        "b/c/d": b"new",
        "b/c/e": b"free",
        "b/x": b"x",
    }


def test_equal_files_collide_too(sides: Sides) -> None:
    """Two files with the same content are two files: whose it is, is for people to say."""
    sides.plant({"a": File(b"same")}, {"a": File(b"same")})

    assert sides.merge() == ["a"]


THINGS: dict[str, Tree] = {
    "file": {"x": File(b"1")},
    "link to a file": {"x": Link("../outside/file")},
    "link to a directory": {"x": Link("../outside/directory")},
    "link to nothing": {"x": Link("nowhere")},
    "directory": {"x": {"inside": File(b"2")}},
}


UNLIKE = [pair for pair in product(THINGS, THINGS) if pair != ("directory", "directory")]


@pytest.mark.parametrize(("here", "there"), UNLIKE)
def test_unlike_things_collide(sides: Sides, here: str, there: str) -> None:
    """Except two directories, nothing goes where anything lies; no link is followed either way."""
    outside = sides.source.with_name("outside")
    plant(outside, {"file": File(b"theirs"), "directory": {"theirs": File(b"theirs")}})
    sides.plant(THINGS[here], THINGS[there])
    before_it = look(sides.source), look(sides.target), look(outside)

    assert sides.merge() == ["x"]

    assert (look(sides.source), look(sides.target), look(outside)) == before_it


def test_links_and_pipes_move_as_they_are(sides: Sides) -> None:
    """What is no file keeps its kind and mode."""
    sides.plant({"link": Link("/etc/hosts"), "dangling": Link("nowhere")}, {"other": File()})
    os.mkfifo(sides.source / "fifo", 0o600)
    before_it = look(sides.source)

    assert sides.merge() == []

    assert before_it.items() <= look(sides.target).items()
    assert look(sides.source) == {}


def test_file_that_a_crash_left_with_two_names_is_no_collision(sides: Sides) -> None:
    """A move interrupted between giving the new name and taking the old one is completed."""
    sides.plant({"d": {"a": File(b"1"), "b": File(b"2")}}, {"d": {}})
    (sides.target / "d" / "a").hardlink_to(sides.source / "d" / "a")

    assert sides.merge() == []

    assert files_of(look(sides.target)) == {"d/a": b"1", "d/b": b"2"}
    assert look(sides.source) == {}
    assert (sides.target / "d" / "a").stat().st_nlink == 1


NO_LINKS = [errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS]


@pytest.mark.parametrize("number", NO_LINKS, ids=errno.errorcode.__getitem__)
def test_file_system_without_hard_links_merges_too(sides: Sides, number: int) -> None:
    """Where no file can have two names, files are renamed, and still overwrite nothing."""
    sides.plant({"a": File(b"old"), "b": File(b"2")}, {"a": File(b"new")})

    with before("link", fail(OSError(number, os.strerror(number)))):
        assert sides.merge() == ["a"]

    assert files_of(look(sides.source)) == {"a": b"old"}
    assert files_of(look(sides.target)) == {"a": b"new", "b": b"2"}


@pytest.mark.parametrize("call", ["link", "rename"])
def test_error_of_the_disk_is_raised_and_loses_nothing(sides: Sides, call: str) -> None:
    """An error that is no collision ends the merge; everything is on one side or the other."""
    sides.plant({"a": File(b"1"), "d": {"b": File(b"2")}}, {"c": File(b"3")})

    with (
        before(call, fail(OSError(errno.EIO, "Input/output error"))),
        pytest.raises(OSError, match="Input/output"),
    ):
        sides.merge()

    now = files_of(look(sides.source)) | files_of(look(sides.target))
    assert now == {"a": b"1", "d/b": b"2", "c": b"3"}
    assert sides.merge() == []


def test_file_written_in_the_last_moment_is_not_overwritten(sides: Sides) -> None:
    """A file that appears at the target right before the move stays, and counts as collision."""
    sides.plant({"a": File(b"old")}, {})

    def write_late(*_: object, **__: object) -> None:
        (sides.target / "a").write_bytes(b"late")

    with before("link", write_late):
        assert sides.merge() == ["a"]

    assert files_of(look(sides.source)) == {"a": b"old"}
    assert files_of(look(sides.target)) == {"a": b"late"}


def test_directory_filled_in_the_last_moment_is_not_replaced(sides: Sides) -> None:
    """A directory that appears, with content, right before the move stays as it is."""
    sides.plant({"d": {"a": File(b"old")}}, {})

    def write_late(*_: object, **__: object) -> None:
        plant(sides.target / "d", {"a": File(b"late")})

    with before("rename", write_late):
        assert sides.merge() == ["d"]

    assert files_of(look(sides.source)) == {"d/a": b"old"}
    assert files_of(look(sides.target)) == {"d/a": b"late"}


def test_read_only_directories_are_put_back(*, is_by_descriptor: bool) -> None:
    """Directories that their owner made read-only go back, with their modes."""

    def body(top: Path) -> None:
        sides = Sides(top / "source", top / "target", is_by_descriptor)
        sides.plant({"d": {"a": File(b"1", 0o400)}, "both": {"b": File(b"2")}}, {"both": {}})
        (sides.source / "d").chmod(0o555)
        (sides.source / "both").chmod(0o555)

        assert sides.merge() == []

        assert look(sides.source) == {}
        seen = look(sides.target)
        assert (seen["d"][1], seen["d/a"]) == (0o555, ("file", 0o400, b"1"))
        assert files_of(seen) == {"d/a": b"1", "both/b": b"2"}

    as_nobody(body)


Numbered = Callable[[], Path]


@pytest.fixture
def fresh(tmp_path: Path) -> Numbered:
    """Give a maker of fresh directories."""

    def make() -> Path:
        path = tmp_path / str(len(list(tmp_path.iterdir())))
        path.mkdir()
        return path

    return make


def _leaves(seen: Seen) -> dict[str, tuple[str, int, bytes]]:
    return {path: what for path, what in seen.items() if what[0] != "directory"}


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # it makes fresh directories
)
@given(old=trees(st.sampled_from("abc")), new=trees(st.sampled_from("abc")))
def test_merge_of_any_two_trees_changes_nothing_that_was_there(
    fresh: Numbered, old: Tree, new: Tree, *, is_by_descriptor: bool
) -> None:
    """The target keeps all it had; every file of the source is in one place, and unchanged."""
    top = fresh()
    sides = Sides(top / "source", top / "target", is_by_descriptor)
    sides.plant(old, new)
    source, target = look(sides.source), look(sides.target)

    collisions = sides.merge()

    left, now = look(sides.source), look(sides.target)
    assert target.items() <= now.items()
    came = {path: what for path, what in now.items() if path not in target}
    assert _leaves(came) | _leaves(left) == _leaves(source)
    assert not _leaves(came).keys() & _leaves(left).keys()
    assert all(os.path.lexists(sides.source / path) for path in collisions)
    assert bool(collisions) == bool(left)
