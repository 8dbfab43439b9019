from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlflow_cleanup.errors import ForeignOwner, StoreUnreachable
from mlflow_cleanup.model.snapshot import BackendIdentity
from mlflow_cleanup.stores.local import marker
from mlflow_cleanup.stores.marker import Owner
from tests.kit.children import as_nobody
from tests.kit.faults import before, fail
from tests.kit.grounds import OURS, THEIRS, LocalGround
from tests.kit.trees import File, files_of, look, plant
from tests.unit.stores.local.conftest import Open


def test_marker_reads_back(opened: Open, tmp_path: Path) -> None:
    """What a marker says is what was written, in a form that people can read too."""
    root = opened(tmp_path)

    marker.write(root, OURS)

    assert marker.read(root) == OURS
    told = json.loads((tmp_path / ".mlflow-cleanup" / "owner.json").read_text())
    assert told["database"] == OURS.database
    assert told["experiments"] == dict(OURS.identity.anchors)


def test_root_without_a_marker_has_none(opened: Open, tmp_path: Path) -> None:
    """No marker is None, with and without a directory of ours."""
    root = opened(tmp_path)
    assert marker.read(root) is None

    (tmp_path / ".mlflow-cleanup").mkdir()
    assert marker.read(root) is None


UNREADABLE: dict[str, bytes] = {
    "empty": b"",
    "cut off": OURS.encode()[:-10],
    "no JSON": b"\x00\xff\xfe",
    "another shape": b"[1, 2]",
    "a number": b"7",
    "no experiments": b'{"format": 1, "database": "x"}',
    "experiments of another shape": b'{"format": 1, "database": "x", "experiments": [1]}',
    "no database": b'{"format": 1, "experiments": {}}',
    "no format": b'{"database": "x", "experiments": {}}',
    "a later format": b'{"format": 2, "database": "x", "experiments": {"0": 1700000000001}}',
    "nested without end": b"[" * 60_000,
    "larger than it may be": b" " * 65_000 + OURS.encode() + b" " * 1_000,
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_marker_that_cannot_be_understood_is_somebody_elses(
    ground: LocalGround, content: bytes
) -> None:
    """A garbled or newer marker is refused, and left as it is."""
    plant(ground.own(), {"owner.json": File(content)})

    for method in ("check", "mark"):
        with pytest.raises(ForeignOwner):
            getattr(ground.store(), method)()

    assert ground.own("owner.json").read_bytes() == content


@pytest.mark.parametrize("length", [1 << 16, (1 << 16) + 1, 10_000_000])
def test_marker_is_read_up_to_64_kib(ground: LocalGround, length: int) -> None:
    """What is larger is not read to its end, however ours its beginning looks."""
    marker_of_ours = OURS.encode().ljust(length)
    plant(ground.own(), {"owner.json": File(marker_of_ours)})
    intact = look(ground.path)
    if length <= 1 << 16:
        ground.store(is_marked=True).check()
        return

    for method in ("check", "mark", "moved_from", "is_adopted"):
        with pytest.raises(ForeignOwner, match="too large to be one"):
            getattr(ground.store(is_marked=True), method)()

    assert look(ground.path) == intact


IN_ITS_PLACE: dict[str, Callable[[Path], object]] = {
    "a directory": lambda path: path.mkdir(),
    "a link to a marker of ours": lambda path: path.symlink_to("real.json"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("make", IN_ITS_PLACE.values(), ids=IN_ITS_PLACE.keys())
@pytest.mark.parametrize("method", ["check", "mark"])
def test_marker_that_is_no_file_is_not_believed(
    ground: LocalGround, method: str, make: Callable[[Path], object]
) -> None:
    """What lies in the marker's place and is no file means that the root cannot be seen."""
    plant(ground.own(), {"real.json": File(OURS.encode())})
    make(ground.own("owner.json"))
    intact = look(ground.path)

    with pytest.raises(StoreUnreachable):
        getattr(ground.store(), method)()

    assert look(ground.path) == intact


def test_pipe_in_its_place_does_not_hang(held_ground: LocalGround) -> None:
    """A pipe in the marker's place is refused, not waited for."""
    plant(held_ground.own(), {})
    os.mkfifo(held_ground.own("owner.json"))

    with pytest.raises(StoreUnreachable):
        held_ground.store().check()


@pytest.mark.parametrize("is_marked", [False, True])
@pytest.mark.parametrize("method", ["check", "mark", "adopt"])
def test_link_in_place_of_our_directory_is_refused(
    ground: LocalGround, method: str, *, is_marked: bool
) -> None:
    """A marker is neither read nor written through a link, not even when adopting."""
    outside = plant(ground.path.with_name("outside"), {"owner.json": File(OURS.encode())})
    ground.own().symlink_to(outside)

    with pytest.raises(StoreUnreachable):
        getattr(ground.store(THEIRS, is_marked=is_marked), method)()

    assert files_of(look(outside)) == {"owner.json": OURS.encode()}


def test_adopting_takes_a_root_over(ground: LocalGround) -> None:
    """Adopting replaces another database's marker, or a garbled one, with ours."""
    for content in (THEIRS.encode(), b"garbled"):
        plant(ground.own(), {})
        ground.own("owner.json").write_bytes(content)

        store = ground.store(is_marked=True)
        store.adopt()

        store.check()
        told = replace(OURS, root=str(ground.path))
        assert ground.own("owner.json").read_bytes() == told.encode()


def test_database_that_moved_is_the_same_owner(ground: LocalGround) -> None:
    """An owner is known by its oldest experiments, wherever its database lies now."""
    ground.store().mark()
    moved = Owner("sqlite:////elsewhere/mlflow.db", OURS.identity)

    ground.store(moved, is_marked=True).check()


def test_database_of_which_one_old_experiment_is_left_is_the_same(ground: LocalGround) -> None:
    """One oldest experiment in common is enough; none in common is another database."""
    older = Owner("x", BackendIdentity({"0": 1_500_000_000_000, "1": 1_500_000_000_009}))
    ground.store(older).mark()

    ground.store(Owner("x", BackendIdentity({"1": 1_500_000_000_009, "2": 2}))).check()
    with pytest.raises(ForeignOwner):
        ground.store(Owner("x", BackendIdentity({"1": 1_500_000_000_008, "2": 2}))).check()


def test_mark_does_not_write_what_is_there(ground: LocalGround) -> None:
    """Marking a marked root leaves the file alone, so that it wakes nobody."""
    ground.store().mark()
    first = ground.own("owner.json").stat()

    ground.store(is_marked=True).mark()

    assert ground.own("owner.json").stat().st_mtime_ns == first.st_mtime_ns
    assert ground.own("owner.json").stat().st_ino == first.st_ino


def test_marker_that_cannot_be_written_means_unreachable(ground: LocalGround) -> None:
    """A full disk leaves the root unmarked, and says so."""
    with (
        before("fsync", lambda _: fail(OSError(28, "No space left on device"))("")),
        pytest.raises(StoreUnreachable, match="No space left"),
    ):
        ground.store().mark()

    ground.store().check()
    ground.store(THEIRS).mark()


@pytest.mark.parametrize("part", [".mlflow-cleanup", ".mlflow-cleanup/owner.json"])
def test_unreadable_marker_means_unreachable(part: str, *, is_by_descriptor: bool) -> None:
    """A marker, or our directory, that we may not read is not believed to be ours."""

    def body(top: Path) -> None:
        ground = LocalGround(top / "root", is_by_descriptor)
        ground.store().mark()
        ground.at(part).chmod(0o000)

        with pytest.raises(StoreUnreachable, match="Permission denied"):
            ground.store(is_marked=True).check()

    as_nobody(body)
