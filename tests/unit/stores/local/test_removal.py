from __future__ import annotations

import errno
import os
import socket

import pytest

from mlflow_cleanup.model.item import Size
from mlflow_cleanup.stores.local.account import shown
from mlflow_cleanup.stores.local.directory import HAS_DIR_FD
from mlflow_cleanup.stores.local.removal import ATTEMPTS, PAUSE_S
from tests.kit.faults import before, fail
from tests.kit.grounds import times
from tests.kit.trees import (
    File,
    Link,
    files_of,
    look,
    open_descriptors,
    plant,
    plant_deep,
    swept,
)
from tests.unit.stores.local.conftest import Site

pytestmark = pytest.mark.skipif(not HAS_DIR_FD, reason="the way of systems with descriptors")

REFUSED = OSError(errno.EPERM, "Operation not permitted")


def test_tree_is_removed_and_what_it_held_is_told(site: Site) -> None:
    """Everything goes, files of all kinds, and files and bytes are counted as they go."""
    plant(site.tree, {"a": File(b"1"), "b": {"c": File(b"22"), "d": {}}, "e": {"f": File(b"333")}})

    removal = site.remove()

    assert removal.freed == Size(3, 6)
    assert (removal.failures, removal.stopped, site.waits) == ([], False, [])
    assert look(site.path) == {}


@pytest.mark.parametrize("levels", [200, 1_500])
def test_deep_tree_is_removed(site: Site, levels: int) -> None:
    """Neither recursion, nor open files, nor the length of paths bounds the depth."""
    with swept(plant_deep(site.tree, levels)):
        few = open_descriptors()

        removal = site.remove()

        assert removal.freed == Size(levels, levels * len(b"leaf"))
        assert look(site.path) == {}
        assert open_descriptors() == few


def test_large_directory_is_left_half_way_and_removed_later(site: Site) -> None:
    """A directory with 20,000 names is stopped in the middle, not only at its end, and finished."""
    site.tree.mkdir()
    for number in range(20_000):
        os.close(os.open(site.tree / str(number), os.O_CREAT | os.O_WRONLY))

    first = site.remove(keep_going=times(1))
    left = len(os.listdir(site.tree))
    second = site.remove()

    assert 0 < left < 20_000
    assert (first.freed.files, second.freed.files) == (20_000 - left, left)
    assert (second.failures, site.waits, look(site.path)) == ([], [], {})


def test_odd_names_are_removed(site: Site) -> None:
    """Names that are no text, or mean something elsewhere, are only names."""
    odd = [b"not \xff utf-8", b"new\nline", b"quo'te\"", "ünï".encode(), b"-rf", b"\\", b"* ?"]
    for name in map(os.fsdecode, odd):
        plant(site.tree, {name: {name: File(b"1")}})

    removal = site.remove()

    assert removal.freed == Size(len(odd), len(odd))
    assert look(site.path) == {}


def test_failures_are_told_in_printable_text(site: Site) -> None:
    """A path that is no text is shown escaped."""
    name = os.fsdecode(b"not \xff utf-8")
    plant(site.tree, {name: File(b"1")})

    with before("unlink", fail(REFUSED, when=name)):
        told = shown(site.remove().failures)

    assert any("not \\udcff utf-8: Operation not permitted" in line for line in told)
    assert all(line.encode() for line in told)


@pytest.mark.parametrize(
    ("files", "freed"),
    [(("own",), Size(1, 5)), (("shared",), Size(1, 0)), (("twice", "twice again"), Size(2, 5))],
    ids=["its only name", "a name elsewhere", "both names inside"],
)
def test_bytes_count_when_the_last_name_goes(
    site: Site, files: tuple[str, ...], freed: Size
) -> None:
    """A file with another name outside frees nothing; one with all its names inside counts once."""
    first, *more = files
    plant(site.tree, {first: File(b"12345")})
    for name in more:
        (site.tree / name).hardlink_to(site.tree / first)
    if first == "shared":
        (site.path / "elsewhere").hardlink_to(site.tree / first)

    assert site.remove().freed == freed


def test_links_are_removed_not_followed(site: Site) -> None:
    """Links to files, directories and nothing go; what they lead to stays as it was."""
    outside = site.path.with_name("outside")
    intact = look(outside)
    plant(
        site.tree,
        {
            "file": Link("../../outside/theirs"),
            "directory": Link("../../outside"),
            "absolute": Link(str(outside)),
            "nothing": Link("nowhere"),
            "loop": Link("loop"),
        },
    )

    removal = site.remove()

    assert (removal.freed.files, removal.failures) == (5, [])
    assert look(site.path) == {}
    assert look(outside) == intact


def test_link_in_place_of_the_tree_is_removed_not_followed(site: Site) -> None:
    """Where the tree itself is a link, the link goes and its target stays."""
    outside = site.path.with_name("outside")
    intact = look(outside)
    site.tree.symlink_to(outside)

    site.remove()

    assert look(site.path) == {}
    assert look(outside) == intact


def test_pipes_and_sockets_are_removed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is neither file nor directory is removed without being opened."""
    site.tree.mkdir()
    os.mkfifo(site.tree / "fifo")
    monkeypatch.chdir(site.tree)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        removal = site.remove()

    assert (removal.freed.files, removal.failures) == (2, [])
    assert look(site.path) == {}


# ── What will not go ─────────────────────────────────────────────────────────────────────────────


def test_three_attempts_a_second_apart(site: Site) -> None:
    """What refuses to go is tried three times, told with its reason, and the rest goes at once."""
    plant(site.tree, {"stuck": {"file": File(b"1")}, "loose": {"file2": File(b"22")}})
    left: list[set[str]] = []

    with before("unlink", fail(REFUSED, when="file")):
        removal = site.remove(wait=lambda _: left.append(set(look(site.tree))))

    assert left == [{"stuck", "stuck/file"}] * (ATTEMPTS - 1)
    assert removal.freed == Size(1, 2)
    assert f"{site.tree}/stuck/file: Operation not permitted" in removal.failures
    assert files_of(look(site.tree)) == {"stuck/file": b"1"}


def test_pause_between_attempts_is_the_injected_one(site: Site) -> None:
    """Two pauses of a second are asked for, none after the last attempt."""
    plant(site.tree, {"file": File(b"1")})

    with before("unlink", fail(REFUSED)):
        site.remove()

    assert site.waits == [PAUSE_S] * (ATTEMPTS - 1) == [1.0, 1.0]


def test_what_goes_at_the_second_attempt_is_no_failure(site: Site) -> None:
    """What was in the way for a moment is counted once, and no longer told as a failure."""
    plant(site.tree, {"file": File(b"1"), "other": File(b"22")})

    with before("unlink", fail(OSError(errno.EBUSY, "busy"), when="file", times=1)):
        removal = site.remove()

    assert (removal.freed, removal.failures) == (Size(2, 3), [])
    assert site.waits == [PAUSE_S]


def test_only_the_first_failures_are_kept(site: Site) -> None:
    """A tree of which nothing goes does not fill memory with reasons."""
    plant(site.tree, {str(number): File() for number in range(100)})

    with before("unlink", fail(REFUSED)):
        assert len(site.remove().failures) == 20


def test_told_to_stop_it_stops_in_the_middle_and_goes_on_later(site: Site) -> None:
    """Told to stop, it leaves the rest without waiting; both parts together are the whole."""
    plant(site.tree, {str(number): {"a": File(b"1"), "b": File(b"2")} for number in range(5)})

    first = site.remove(keep_going=times(3))
    rest = len(files_of(look(site.tree)))
    second = site.remove()

    assert first.stopped
    assert 0 < rest < 10
    assert (first.freed, second.freed) == (Size(10 - rest, 10 - rest), Size(rest, rest))
    assert (site.waits, look(site.path)) == ([], {})


def test_failure_in_a_listing_is_told_and_the_rest_goes(site: Site) -> None:
    """A directory that the disk cannot list is a failure of its own, and nothing else stays."""
    plant(
        site.tree,
        {"a": {"x": File(b"1")}, "bad": {"y": File(b"22")}, "c": {"z": File(b"333")}},
    )
    bad = (site.tree / "bad").stat().st_ino

    def unreadable(directory: int | str) -> None:
        if os.stat(directory).st_ino == bad:
            raise OSError(errno.EIO, "Input/output error")

    few = open_descriptors()
    with before("scandir", unreadable):
        removal = site.remove()

    assert files_of(look(site.tree)) == {"bad/y": b"22"}
    assert removal.freed == Size(2, 4)
    assert any("Input/output error" in line for line in removal.failures)
    assert open_descriptors() == few
