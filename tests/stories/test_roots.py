"""Artifact roots that cannot be seen, or that belong to somebody else."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from mlflow_cleanup.errors import PlanRefused, RootTwice
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.item import Held, ItemState, Size
from mlflow_cleanup.model.plan import Terms
from mlflow_cleanup.stores.local.directory import DescriptorDirectory, Directory
from tests.kit.children import mount_bind, with_own_mounts
from tests.kit.world import Run, World, tree

MARKER = ".mlflow-cleanup/owner.json"


def unplug(world: World, how: str) -> Path:
    """Make the root unreachable; returns where its content is meanwhile."""
    aside = world.home / "aside"
    world.root.rename(aside)
    if how == "not mounted":
        world.root.mkdir()
    elif how == "a file":
        world.root.write_bytes(b"")
    return aside


def plug_in(world: World) -> None:
    """Make the root reachable again."""
    if world.root.is_dir():
        world.root.rmdir()
    else:
        world.root.unlink(missing_ok=True)
    (world.home / "aside").rename(world.root)


def hand_over(world: World) -> None:
    """Let the root's marker say that it belongs to another tracking database."""
    marker = world.root / MARKER
    told = json.loads(marker.read_bytes())
    told["experiments"] = {"0": 987_654_321}
    told["database"] = "/elsewhere/mlflow.db"
    marker.write_text(json.dumps(told), encoding="utf-8")


@pytest.fixture(params=["missing", "not mounted", "a file"])
def how(request: pytest.FixtureRequest) -> str:
    """Each way in which a root cannot be seen."""
    return request.param


def test_unreachable_root_keeps_and_resumes(world: World, deleted: Run, how: str) -> None:
    """Under a root that cannot be seen nothing is judged clean; work resumes when it is back."""
    aside = unplug(world, how)
    before = tree(aside)
    for _ in range(3):
        world.cycle()
        world.restart()
    assert tree(aside) == before
    assert world.known(deleted) is RunState.ORPHANED
    assert world.history(deleted) == ["kept"]
    assert (world.kept_because(deleted) or "").startswith("its artifact root cannot be seen")

    plug_in(world)
    world.cycle()
    assert world.bytes_in_trash(deleted) == 10
    assert world.history(deleted) == ["kept", "quarantined"]


def test_nothing_is_purged_or_restored_under_an_unreachable_root(
    world: World, deleted: Run, how: str
) -> None:
    """What is due, and what is wanted back, waits until the root is back; neither is told."""
    back = world.run({"b": 100})
    world.cycle()
    world.delete(back)
    world.cycle()
    world.advance(days=7)
    world.undelete(back)

    aside = unplug(world, how)
    before = tree(aside)
    for _ in range(3):
        world.cycle()
    assert tree(aside) == before
    assert world.told() == ["quarantined", "quarantined"]

    plug_in(world)
    world.cycle()
    assert world.bytes_at(back) == 100
    assert world.trash() == []
    assert world.history(deleted) == ["quarantined", "purged"]
    assert world.history(back) == ["quarantined", "restored"]


def test_late_writes_under_an_unreachable_root_are_found_later(
    world: World, deleted: Run, how: str
) -> None:
    """A place that cannot be seen is looked at again when it can."""
    world.cycle()
    world.write_late(deleted, "late.txt", 1_000)
    unplug(world, how)
    world.cycle()
    plug_in(world)
    world.cycle()

    assert world.bytes_in_trash(deleted) == 1_010


def test_writes_into_the_empty_mount_point_are_left_alone(world: World, deleted: Run) -> None:
    """What MLflow writes where the file system should be mounted is nobody's garbage."""
    aside = unplug(world, "not mounted")
    world.write(deleted, "strange.txt", 1_000)
    world.cycle()
    world.cycle()

    assert world.bytes_at(deleted) == 1_000
    assert not (world.root / ".mlflow-cleanup").exists()
    assert tree(aside)


def test_write_into_the_empty_mount_point_is_no_late_write(world: World, deleted: Run) -> None:
    """What appears there at a quarantined run's place says nothing about the run."""
    world.cycle()
    unplug(world, "not mounted")
    world.write(deleted, "strange.txt", 1_000)
    world.cycle()

    assert world.known(deleted) is RunState.GONE
    assert world.history(deleted) == ["quarantined"]


def test_root_emptied_on_purpose_is_used_again_after_adopt(world: World, deleted: Run) -> None:
    """The operator says that a root without its marker is right: a new marker is written."""
    unplug(world, "not mounted")
    world.write(deleted, "new.txt", 100)
    world.cycle()
    world.workplace.adopt(str(world.root))
    world.cycle()

    assert world.bytes_in_trash(deleted) == 100
    assert "adopted" in world.history()


def test_one_unreachable_root_stops_no_other(world: World) -> None:
    """Of two roots the one that can be seen is cleaned up as ever."""
    second = world.home / "second"
    second.mkdir()
    world.restart(roots=(str(world.root), str(second)))
    near = world.run()
    far = world.run({}, uri=f"file://{second}/0/{'f' * 32}/artifacts", id_="f" * 32)
    world.write(second / "0" / far.id / "artifacts", "a", 100)
    world.cycle()
    world.delete(near, far)
    second.rename(world.home / "aside")
    world.cycle()
    assert world.bytes_in_trash() == 10

    (world.home / "aside").rename(second)
    world.cycle()
    assert world.bytes_in_trash() == 110


def test_root_that_is_not_there_yet_is_no_news(world: World) -> None:
    """MLflow makes its artifact root with the first artifact: until then nothing is said."""
    later = world.home / "later"
    world.restart(roots=(str(later),), artifacts_destination=str(later))
    world.cycle()
    assert world.ledger.roots().get(str(later)) is None

    run = world.run({}, id_="e" * 32)
    world.write(later / "0" / run.id / "artifacts", "a", 100)
    world.cycle()
    world.delete(run)
    world.cycle()
    assert world.bytes_in_trash() == 100


def test_root_through_a_link_is_the_directory_it_leads_to(world: World) -> None:
    """A root configured as a symbolic link works, under both of its spellings."""
    link = world.home / "link"
    link.symlink_to(world.root)
    world.restart(roots=(str(link),), artifacts_destination=str(link))
    runs = [
        world.run({"a": 1}),
        world.run({"b": 10}, id_="b" * 32, uri=f"{link}/0/{'b' * 32}/artifacts"),
        world.run({"c": 100}, id_="c" * 32, uri=f"{link.resolve()}/0/{'c' * 32}/artifacts"),
    ]
    world.cycle()
    world.delete(*runs)
    world.cycle()

    assert world.bytes_in_trash() == 111


class TestForeignMarker:
    """A root whose marker says that it belongs to another tracking database."""

    def test_refuses_everything(self, world: World, deleted: Run) -> None:
        """Nothing is moved anywhere, told once, with the other database's name."""
        hand_over(world)
        for _ in range(2):
            assert "/elsewhere/mlflow.db" in world.refused().reason
            world.restart()

        assert world.bytes_at(deleted) == 10
        assert world.history() == ["refused"]

    def test_confirmed_is_adopted(self, world: World, deleted: Run) -> None:
        """When it was meant, the marker is written anew and work goes on."""
        hand_over(world)
        world.answer(world.refused())
        world.cycle()

        assert world.bytes_in_trash(deleted) == 10
        assert world.history() == ["refused", "adopted", "confirmed", "quarantined"]
        world.cycle()

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"[]", b"null", b'{"format": 99, "database": "x", "experiments": {}}', b"\xff"],
    )
    def test_marker_that_cannot_be_read_is_a_foreign_one(
        self, world: World, deleted: Run, content: bytes
    ) -> None:
        """A marker of a shape that is not ours is somebody else's."""
        (world.root / MARKER).write_bytes(content)

        world.refused()

        assert world.bytes_at(deleted) == 10

    def test_oversized_marker_is_a_foreign_one(self, world: World, deleted: Run) -> None:
        """Any client can write there: it is not read to its end, nothing moves, adopting helps."""
        held = world.run({"b": 100})
        world.cycle()
        world.delete(held)
        world.cycle()
        assert world.bytes_in_trash() == 110
        again = world.run({"c": 1})
        world.cycle()
        world.delete(again)
        (world.root / MARKER).write_bytes(b" " * (1 << 16) + (world.root / MARKER).read_bytes())
        before = tree(world.home / "mlartifacts")

        for _ in range(2):
            assert "too large to be one" in world.refused().reason
            world.restart()
        with pytest.raises(PlanRefused):
            world.purge_by_hand(held)
        (unseen,) = world.plan().roots[0].unseen
        assert unseen.path == str(world.root)
        assert "another tracking database (the marker is too large to be one)" in unseen.why
        assert tree(world.home / "mlartifacts") == before

        world.workplace.adopt(str(world.root))
        world.cycle()
        assert world.bytes_in_trash(again) == 1
        assert world.bytes_in_trash(deleted) == 10

    def test_stops_a_purge_by_hand(self, world: World, deleted: Run) -> None:
        """Asked for by hand, a purge under a foreign marker is refused as well."""
        world.cycle()
        hand_over(world)

        with pytest.raises(PlanRefused):
            world.purge_by_hand(deleted)

        assert world.bytes_in_trash(deleted) == 10


class TestOneDirectoryTwice:
    """Two roots that are one directory, as by a bind mount: no path tells that."""

    @pytest.mark.parametrize("is_late", [False, True])
    def test_nothing_is_done_under_either(self, tmp_path: Path, *, is_late: bool) -> None:
        """What a claim names by one of them would be taken by the other; both say so."""

        def body() -> None:
            world = World.make(tmp_path / "home", terms=Terms(at_once=True, most_share=1))
            alias = world.home / "alias"
            alias.mkdir()
            if not is_late:
                mount_bind(world.root, alias)
            world.restart(roots=(str(world.root), str(alias)))
            world.run({"large": 10_000})
            run = world.run({"model/MLmodel": 30})
            world.register(f"{alias}/0/{run.id}/artifacts/model")
            world.delete(run)
            if is_late:
                mount_bind(world.root, alias)
            world.cycle()
            plan = world.plan()

            assert world.bytes_at(run) == 30
            problems = {path: root.problem for path, root in world.ledger.roots().items()}
            seen = {root.root: root.problem for root in plan.roots}
            for one, other in ((world.root, alias), (alias, world.root)):
                said = f"it is the same place as the artifact root {other}"
                assert said in str(problems[str(one)])
                assert said in str(seen[str(one)])
            assert plan.take == ()
            assert world.sweep() == []
            with pytest.raises(RootTwice):
                world.workplace.adopt(str(alias), alone=True)
            world.close()

        with_own_mounts(body)

    def test_trash_waits_until_there_is_one_again(self, tmp_path: Path) -> None:
        """What was held before is neither given back nor purged under two names."""

        def body() -> None:
            world = World.make(tmp_path / "home")
            run = world.run({"a": 30})
            world.cycle()
            world.delete(run)
            world.cycle()
            alias = world.home / "alias"
            mount_bind(world.root, alias)
            world.restart(roots=(str(world.root), str(alias)))
            world.advance(days=8)
            world.cycle()
            assert world.bytes_in_trash(run) == 60  # seen under both names

            world.restart(roots=(str(world.root),))
            world.cycle()
            assert world.states(run) == [ItemState.PURGED]
            world.close()

        with_own_mounts(body)


class TestOtherFileSystem:
    """A place that no rename can leave: its bytes are held where they are."""

    @pytest.fixture
    def held(self, world: World, deleted: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
        """A quarantined run whose directory lies on another file system, as an overlay's does."""
        real = DescriptorDirectory.rename

        def rename(self: DescriptorDirectory, name: str, into: Directory, new_name: str) -> None:
            if new_name == "content":
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            real(self, name, into, new_name)

        monkeypatch.setattr(DescriptorDirectory, "rename", rename)
        world.cycle()
        assert world.states(deleted) == [ItemState.QUARANTINED]
        assert [item.held for item in world.items(deleted)] == [Held.IN_PLACE]
        return deleted

    def test_waits_in_place_and_is_told_once(self, world: World, held: Run) -> None:
        """The bytes stay at their origin, and are not taken for a late write."""
        for _ in range(3):
            world.cycle()

        assert world.bytes_at(held) == 10
        assert world.trash() == []
        assert world.history(held) == ["quarantined"]

    def test_is_purged_in_place(self, world: World, held: Run) -> None:
        """With its retention over, the origin is emptied and what was freed is measured."""
        world.write_late(held, "late.txt", 100)
        world.advance(days=7)
        world.cycle()

        assert not held.place.parent.exists()
        assert world.ledger.items.freed() == Size(2, 110)

    def test_is_restored_by_leaving_it_alone(self, world: World, held: Run) -> None:
        """Wanted again, nothing has to be moved."""
        before = world.files_at(held)
        world.undelete(held)
        world.cycle()
        world.advance(days=30)
        world.cycle()

        assert world.files_at(held) == before
        assert world.history(held) == ["quarantined", "restored"]

    def test_is_protected_by_a_new_claim(self, world: World, held: Run) -> None:
        """A claim that comes while it is held in place keeps it from being purged."""
        world.register(f"runs:/{held.id}/model.bin")
        world.advance(days=7)
        world.cycle()
        world.cycle()

        assert world.bytes_at(held) == 10


def test_what_lies_in_another_databases_root_is_not_ours_to_take(tmp_path: Path) -> None:
    """A copy of a database with a wider root deletes a run that lives in the original."""
    theirs = World.make(tmp_path / "theirs")
    live = theirs.run({"a": 5})
    theirs.cycle()
    wider = str(theirs.root.parent)
    copy = World.make(tmp_path / "copy", roots=(wider,), artifacts_destination=wider)
    run = copy.run({}, uri=str(live.place))
    assert run.id == live.id
    copy.cycle()
    copy.delete(run)
    copy.cycle()

    assert theirs.bytes_at(live) == 5
    assert copy.states(run) == []
    copy.close()
    theirs.close()
