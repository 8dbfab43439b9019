from __future__ import annotations

import errno
import json
import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from mlflow_cleanup.errors import CleanupError, QuarantineFailed
from mlflow_cleanup.model.item import Held, Size
from mlflow_cleanup.stores.base import Presence, Purged, Restored
from tests.kit.children import as_nobody
from tests.kit.faults import before, fail, once
from tests.kit.grounds import INSIDE, NOTE, RUN, LocalGround, always, item_at, never, place
from tests.kit.trees import File, Link, Tree, files_of, look, plant, trees

TREE: Tree = {
    "model": {"MLmodel": File(b"flavours", 0o640), "weights": File(b"\x00" * 100, 0o444)},
    "script": File(b"#!", 0o755),
    "latest": Link("model"),
    "empty": {},
}
OTHER_DISK = OSError(errno.EXDEV, "Invalid cross-device link")


# ── Quarantine is one rename ─────────────────────────────────────────────────────────────────────


def test_quarantine_is_one_rename_after_the_note(ground: LocalGround) -> None:
    """The note of origin is whole before the one rename that moves the bytes."""
    ground.fill(TREE)
    calls: list[str] = []

    def renamed(source: str, target: str, **_: object) -> None:
        calls.append("move")
        told = json.loads(ground.trash("item1", "origin.json").read_bytes())
        assert told.items() >= NOTE.items()
        assert ground.at(*INSIDE).is_dir()
        assert (os.path.basename(source), os.path.basename(target)) == ("artifacts", "content")

    with (
        before("rename", renamed),
        before("link", lambda *_, **__: calls.append("linked")),
        before("unlink", lambda name, **_: calls.append(f"unlinked {os.path.basename(name)}")),
    ):
        item = ground.quarantine()

    assert calls == ["move"]
    assert ground.held(item).is_dir()


def test_held_bytes_are_as_they_were(ground: LocalGround) -> None:
    """In the trash lie the same files, modes and links."""
    ground.fill(TREE)
    original = look(ground.at(*INSIDE))

    item = ground.quarantine()

    assert look(ground.held(item)) == original


def test_emptied_run_directory_goes_too(ground: LocalGround) -> None:
    """With its artifacts the run's own directory goes; the experiment's stays, though empty."""
    ground.fill(TREE)

    ground.quarantine()

    assert set(ground.look()) == {"7"}


def test_empty_run_directory_left_by_others_goes(ground: LocalGround) -> None:
    """An empty run directory, as MLflow's own collector leaves it, is removed on the way."""
    plant(ground.at("7", RUN), {})

    assert ground.store().quarantine(place(ground), "item1", NOTE) is None

    assert set(look(ground.path)) == {"7"}


def test_run_directory_with_something_else_stays(ground: LocalGround) -> None:
    """A run directory in which anything else lies keeps that."""
    ground.fill(TREE)
    plant(ground.at("7", RUN), {"meta.yaml": File(b"lifecycle_stage: deleted")})

    ground.quarantine()

    assert files_of(ground.look()) == {f"7/{RUN}/meta.yaml": b"lifecycle_stage: deleted"}


def test_nothing_there_leaves_no_trace(ground: LocalGround) -> None:
    """A quarantine of nothing makes no trash."""
    plant(ground.at("7"), {})

    assert ground.store().quarantine(place(ground), "item1", NOTE) is None

    assert set(look(ground.path)) == {"7"}


def test_file_in_place_of_the_artifacts_is_left_alone(ground: LocalGround) -> None:
    """Artifacts that are no directory are not what MLflow writes: nothing moves."""
    plant(ground.at("7", RUN), {"artifacts": File(b"1")})
    before_it = look(ground.path)

    with pytest.raises(CleanupError):
        ground.store().quarantine(place(ground), "item1", NOTE)

    assert look(ground.path) == before_it


@pytest.mark.parametrize("call", ["mkdir", "fdopen", "rename"])
def test_failed_quarantine_moves_nothing_and_leaves_no_trace(
    ground: LocalGround, call: str
) -> None:
    """When the disk refuses a step, the bytes are where they were and the trash is empty."""
    before_it = ground.fill(TREE)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with before(call, full), pytest.raises(QuarantineFailed, match="No space left"):
        ground.store().quarantine(place(ground), "item1", NOTE)

    assert ground.look() == before_it
    assert not ground.trash("item1").exists()


def test_move_that_succeeded_is_told_whatever_fails_after_it(*, is_by_descriptor: bool) -> None:
    """Once the bytes are in the trash the quarantine says so, though a mode could not be set."""

    def body(top: Path) -> None:
        ground = LocalGround(top / "root", is_by_descriptor)
        ground.fill(TREE)
        ground.at(*INSIDE).chmod(0o555)

        def fail_afterwards(_: object, mode: int, **__: object) -> None:
            if mode == 0o555:
                raise OSError(errno.EIO, "Input/output error")

        with before("chmod", fail_afterwards):
            held = ground.store().quarantine(place(ground), "item1", NOTE)

        assert held is Held.TRASH
        assert ground.store().find(item_at(place(ground))) == Presence(False, True)

    as_nobody(body)


def test_artifacts_that_vanish_meanwhile_were_nothing(ground: LocalGround) -> None:
    """When somebody removes the directory in the last moment, there is nothing to quarantine."""
    ground.fill(TREE)

    def vanish() -> None:
        ground.at(*INSIDE).rename(ground.path.with_name("gone"))

    with before("rename", once(vanish, when="artifacts")):
        held = ground.store().quarantine(place(ground), "item1", NOTE)

    assert held is None
    assert not ground.trash("item1").exists()


def test_second_quarantine_keeps_the_first_ones_note(ground: LocalGround) -> None:
    """A refused quarantine of a late writer does not touch what is held, nor its note."""
    ground.fill(TREE)
    item = ground.quarantine()
    ground.fill({"late": File(b"1")})
    held = look(ground.trash(item.id))

    with pytest.raises(QuarantineFailed):
        ground.store().quarantine(place(ground), item.id, {"entity": "another"})

    assert look(ground.trash(item.id)) == held


# ── Restore ──────────────────────────────────────────────────────────────────────────────────────


def test_restored_tree_is_the_same(ground: LocalGround) -> None:
    """Files, modes, links and empty directories come back as they were; the trash is empty."""
    before_it = ground.fill(TREE)

    assert ground.store().restore(ground.quarantine()) == Restored()

    assert ground.look() == before_it
    assert look(ground.trash()) == {}


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o777, 0o2770, 0o555], ids=oct)
def test_run_directory_comes_back_with_its_mode(ground: LocalGround, mode: int) -> None:
    """The run's own directory is made again as it was, though the program's mask says otherwise."""
    ground.fill(TREE)
    ground.at("7", RUN).chmod(mode)
    item = ground.quarantine()
    assert not ground.at("7", RUN).exists()

    ground.store().restore(item)

    assert stat.S_IMODE(ground.at("7", RUN).stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o555, 0o500, 0o755], ids=oct)
def test_read_only_run_goes_there_and_back(mode: int, *, is_by_descriptor: bool) -> None:
    """Directories that their owner may not write are quarantined and restored, modes included."""

    def body(top: Path) -> None:
        ground = LocalGround(top / "root", is_by_descriptor)
        ground.fill(TREE)
        for path in (ground.at(*INSIDE, "model"), ground.at(*INSIDE), ground.at("7", RUN)):
            path.chmod(mode)
        before_it = ground.look()

        item = ground.quarantine()
        assert set(ground.look()) == {"7"}
        assert ground.store().restore(item) == Restored()

        assert ground.look() == before_it
        assert look(ground.trash()) == {}

    as_nobody(body)


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b"\xff", b'{"parent_mode": "x"}', None])
def test_restore_needs_no_note(ground: LocalGround, note: bytes | None) -> None:
    """A note that is lost or garbled costs a mode at most."""
    ground.fill(TREE)
    original = look(ground.at(*INSIDE))
    item = ground.quarantine()
    ground.trash(item.id, "origin.json").unlink()
    if note is not None:
        ground.trash(item.id, "origin.json").write_bytes(note)

    assert ground.store().restore(item) == Restored()

    assert look(ground.at(*INSIDE)) == original
    assert look(ground.trash()) == {}


@pytest.mark.parametrize("there", [{"artifacts": File(b"new")}, {"artifacts": Link("/etc")}])
def test_origin_that_is_no_directory_now_is_a_collision(ground: LocalGround, there: Tree) -> None:
    """A file or link in place of the artifacts stays, and everything else stays in the trash."""
    ground.fill(TREE)
    item = ground.quarantine()
    plant(ground.at("7", RUN), there)
    before_it = look(ground.path)

    assert ground.store().restore(item) == Restored(("artifacts",))

    assert look(ground.path) == before_it


def test_origin_that_became_a_link_to_a_directory_is_not_filled(ground: LocalGround) -> None:
    """Nothing is restored through a link."""
    ground.fill(TREE)
    item = ground.quarantine()
    outside = plant(ground.path.with_name("outside"), {"theirs": File(b"theirs")})
    plant(ground.at("7", RUN), {"artifacts": Link(str(outside))})

    assert ground.store().restore(item).collisions == ("artifacts",)

    assert files_of(look(outside)) == {"theirs": b"theirs"}
    assert ground.store().find(item).in_trash


def test_empty_origin_is_no_collision(ground: LocalGround) -> None:
    """An empty directory that was made at the origin is filled."""
    ground.fill(TREE)
    item = ground.quarantine()
    plant(ground.at(*INSIDE), {})

    assert ground.store().restore(item) == Restored()

    assert len(files_of(look(ground.at(*INSIDE)))) == 3


def test_collisions_of_odd_names_are_printable(ground: LocalGround) -> None:
    """A path that is no text is reported escaped."""
    name = os.fsdecode(b"not \xff utf-8")
    ground.fill({"d": {name: File(b"old"), "x": File()}})
    item = ground.quarantine()
    ground.fill({"d": {name: File(b"new")}})

    assert ground.store().restore(item).collisions == ("d/not \\udcff utf-8",)


@pytest.mark.parametrize("call", ["rename", "mkdir"])
def test_restore_that_could_not_move_says_so(ground: LocalGround, call: str) -> None:
    """A restore never reports as done what is still in the trash, whatever the reason."""
    ground.fill(TREE)
    item = ground.quarantine()
    gone = FileNotFoundError(errno.ENOENT, "No such file or directory")

    with before(call, fail(gone)), pytest.raises((OSError, CleanupError)):
        ground.store().restore(item)

    assert ground.store().find(item) == Presence(at_origin=False, in_trash=True)
    assert ground.store().restore(item) == Restored()


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example clears it
)
@given(tree=trees())
def test_any_tree_comes_back_as_it_was(ground: LocalGround, tree: Tree) -> None:
    """Whatever MLflow's clients wrote, under whatever names: content, modes and links come back."""
    inside = (*INSIDE, str(len(list(ground.at("7", RUN).glob("artifacts/*")))))
    plant(ground.at(*inside), tree)
    before_it = look(ground.at("7"))

    held = ground.store().quarantine(place(ground, *inside), "item1", NOTE)
    assert held is Held.TRASH
    assert not ground.at(*inside).exists()
    assert ground.store().restore(item_at(place(ground, *inside))) == Restored()

    assert look(ground.at("7")) == before_it
    assert look(ground.trash()) == {}


# ── Purge ────────────────────────────────────────────────────────────────────────────────────────


def test_purge_leaves_no_trace_in_the_trash(ground: LocalGround) -> None:
    """With an item's bytes its note and its place go; other items stay."""
    ground.fill(TREE)
    first = ground.quarantine()
    ground.fill(TREE)
    second = ground.quarantine("item2")
    kept = look(ground.trash(second.id))

    purged = ground.store().purge(first, always)

    assert purged == Purged(Size(4, 8 + 100 + 2 + len("model")), complete=True)
    assert not ground.trash(first.id).exists()
    assert look(ground.trash(second.id)) == kept


def test_purge_is_verified_by_looking(ground: LocalGround) -> None:
    """A removal that claims to be done and is not makes no complete purge."""
    ground.fill(TREE)
    item = ground.quarantine()

    with before("rmdir", fail(FileNotFoundError(errno.ENOENT, "lied to"), when="content")):
        purged = ground.store().purge(item, always)

    assert not purged.complete
    assert ground.held(item).exists()
    assert ground.trash(item.id, "origin.json").exists()


def test_what_will_not_go_is_told_and_the_item_stays(ground: LocalGround) -> None:
    """After three attempts the purge is incomplete, says why, and a later one finishes it."""
    ground.fill(TREE)
    item = ground.quarantine()

    with before("unlink", fail(OSError(errno.EPERM, "immutable"), when="script")):
        first = ground.store().purge(item, always)
    assert not first.complete
    assert any("script: immutable" in failure for failure in first.failures)
    assert ground.waits == [1.0, 1.0]
    assert files_of(look(ground.held(item))) == {"script": b"#!"}

    second = ground.store().purge(item, always)
    assert second == Purged(Size(1, 2), complete=True)
    assert first.freed + second.freed == Size(4, 115)


def test_partly_purged_item_is_restored_as_far_as_it_goes(ground: LocalGround) -> None:
    """What a stopped purge left comes back."""
    ground.fill(TREE)
    item = ground.quarantine()
    with before("unlink", fail(OSError(errno.EPERM, "immutable"), when="script")):
        ground.store().purge(item, always)

    ground.store().restore(item)

    assert files_of(ground.look()) == {"/".join((*INSIDE, "script")): b"#!"}


# ── Looking ──────────────────────────────────────────────────────────────────────────────────────


def test_file_that_came_with_an_old_time_counts_as_written_now(ground: LocalGround) -> None:
    """A copy that keeps its file's time is noticed by the time of the directory it came into."""
    plant(ground.at(*INSIDE), {"old": File(b"1")})
    os.utime(ground.at(*INSIDE, "old"), (1_000, 1_000))
    os.utime(ground.at(*INSIDE), (1_000, 1_000))
    began = time.time() - 2
    plant(ground.at(*INSIDE), {"copied": File(b"2")})
    os.utime(ground.at(*INSIDE, "copied"), (1_000, 1_000))

    newest = ground.store().newest_write(place(ground))
    assert newest is not None
    assert newest >= began


def test_write_deep_inside_counts(ground: LocalGround) -> None:
    """The youngest of all files and directories is what counts."""
    ground.fill({"a": {"b": {"c": File(b"1")}}})
    for inside in ("a/b/c", "a/b", "a", "."):
        os.utime(ground.at(*INSIDE, inside), (1_000, 1_000))
    os.utime(ground.at(*INSIDE, "a", "b", "c"), (3_000, 3_000))

    assert ground.store().newest_write(place(ground)) == 3_000


def test_measuring_what_is_held_stops_when_told_to(ground: LocalGround) -> None:
    """A measurement in the trash is interrupted like any other."""
    ground.fill(TREE)

    assert ground.store().measure(ground.quarantine(), never) is None


def test_store_reports_the_path_it_was_given(tmp_path: Path) -> None:
    """The root's path is the one that the ledger knows."""
    ground = LocalGround(tmp_path / "root")

    assert ground.store().root == os.path.realpath(tmp_path / "root")
