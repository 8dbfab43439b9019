"""Copies and moves: of a tracking database, of a ledger, of a whole project directory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlflow_cleanup.config import Settings
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.item import ItemState
from mlflow_cleanup.model.location import RESERVED
from tests.kit.world import Run, World, tree
from tests.stories.refusing import refuses_everything

MARKER = f"{RESERVED}/owner.json"


@pytest.fixture
def deleted(world: World) -> Run:
    """A run of 10 bytes that is in the trash."""
    run = world.run()
    world.run({"keeper": 100})
    world.cycle()
    world.delete(run)
    world.cycle()
    return run


Open = Callable[..., World]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open worlds that are there already, and close them in the end."""
    worlds = []

    def open_(home: Path, settings: Settings, beside: World) -> World:
        worlds.append(World.at(home, settings, beside.clock))
        return worlds[-1]

    yield open_
    for made in worlds:
        made.close()


def elsewhere(world: World, name: str, *, roots: bool) -> Settings:
    """Say what the settings are in another directory, with roots of its own or the same ones."""
    home = world.home.with_name(name)
    database = home / world.db.path.name
    changed = replace(
        world.settings,
        database=Database.of_file(str(database)),
        working_directory=str(home),
        state_dir=home / RESERVED,
    )
    if not roots:
        return changed
    root = str(home / world.root.name)
    return replace(changed, roots=(root,), artifacts_destination=root)


def owner(root: Path) -> dict[str, object]:
    """Read a root's owner marker."""
    return json.loads((root / MARKER).read_bytes())


@pytest.fixture
def twin(world: World, deleted: Run, opened: Open) -> World:
    """A copy of the database elsewhere, which works on the artifact root of the original."""
    assert world.items(deleted)
    settings = elsewhere(world, "twin", roots=False)
    settings.state_dir.parent.mkdir()
    shutil.copy(world.db.path, settings.database.name)
    return opened(settings.state_dir.parent, settings, world)


class TestDatabaseElsewhere:
    """The same experiments at another path, and the artifact root of before."""

    def test_copy_beside_its_original_is_refused(self, world: World, twin: World) -> None:
        """What somebody deletes in a copy, to try something, is not deleted in the original."""
        keeper = world.run()
        world.cycle()
        before = owner(world.root)

        refusal = refuses_everything(twin)
        twin.db.execute("UPDATE runs SET lifecycle_stage = 'deleted'")
        twin.refused()

        assert "owner marker of another tracking database" in refusal.reason
        assert world.settings.database.name in refusal.reason
        assert owner(world.root) == before
        world.cycle()
        assert world.bytes_at(keeper) == 10

    def test_copy_with_its_ledger_is_refused(
        self, world: World, deleted: Run, opened: Open
    ) -> None:
        """The ledger copied too, the original's path still tells them apart."""
        settings = elsewhere(world, "twin", roots=False)
        settings.state_dir.parent.mkdir()
        shutil.copy(world.db.path, settings.database.name)
        shutil.copytree(world.settings.state_dir, settings.state_dir)
        copy = opened(settings.state_dir.parent, settings, world)
        copy.undelete(deleted)

        refuses_everything(copy)
        world.cycle()

        assert world.bytes_in_trash(deleted) == 10

    def test_moved_with_its_ledger_is_the_owner(
        self, world: World, deleted: Run, opened: Open
    ) -> None:
        """Nothing at the old path and the same ledger: the marker says the new path from then."""
        settings = elsewhere(world, "moved", roots=False)
        world.close()
        settings.state_dir.parent.mkdir()
        world.db.path.rename(settings.database.name)
        world.settings.state_dir.rename(settings.state_dir)
        moved = opened(settings.state_dir.parent, settings, world)

        moved.undelete(deleted)
        moved.cycle()

        assert moved.bytes_at(deleted) == 10
        assert owner(moved.root)["database"] == settings.database.name
        assert moved.history() == ["quarantined", "restored"]

    def test_moved_without_its_ledger_is_refused(self, world: World, twin: World) -> None:
        """Nothing at the old path, but another ledger: it may be a copy of what was lost."""
        world.close()
        world.db.path.unlink()

        refuses_everything(twin)

        assert owner(twin.root)["database"] == world.settings.database.name

    def test_same_path_with_a_new_ledger_has_to_adopt(self, world: World, deleted: Run) -> None:
        """The state directory lost looks like a copy in another container: an operator says."""
        before = owner(world.root)["ledger"]
        world.close()
        shutil.rmtree(world.settings.state_dir)
        world.restart()
        run = world.run({"new": 1_000})
        world.refused()
        world.workplace.adopt(str(world.root))
        world.cycle()
        world.delete(run)
        world.cycle()

        assert world.bytes_in_trash(run) == 1_000
        assert world.bytes_in_trash(deleted) == 10
        assert owner(world.root)["ledger"] == world.ledger.id != before

    @pytest.mark.parametrize("is_original_gone", [False, True])
    def test_adopt_hands_the_root_over(
        self, world: World, twin: World, *, is_original_gone: bool
    ) -> None:
        """On the operator's word the root belongs to the copy, and no longer to the original."""
        if is_original_gone:
            world.db.path.unlink()
        twin.refused()
        twin.workplace.adopt(str(twin.root))
        twin.cycle()
        run = twin.run({"new": 1_000}, id_="f" * 32)
        twin.cycle()
        twin.delete(run)
        twin.cycle()

        assert twin.bytes_in_trash(run) == 1_000
        if not is_original_gone:
            refuses_everything(world)

    def test_owner_of_an_early_version_is_recognised_where_it_was_moved(
        self, world: World, deleted: Run, opened: Open
    ) -> None:
        """A marker that names no ledger yet says by its experiments whose it is."""
        told = owner(world.root)
        del told["ledger"], told["root"], told["token"], told["file"]
        (world.root / MARKER).write_text(json.dumps(told), encoding="utf-8")
        settings = elsewhere(world, "moved", roots=False)
        world.close()
        settings.state_dir.parent.mkdir()
        world.db.path.rename(settings.database.name)
        moved = opened(settings.state_dir.parent, settings, world)
        moved.cycle()

        assert owner(moved.root)["ledger"] == moved.ledger.id
        assert moved.bytes_in_trash(deleted) == 10


def move_project(world: World, opened: Open) -> World:
    """Move the whole directory: database, ledger and artifact root."""
    settings = elsewhere(world, "moved", roots=True)
    world.close()
    world.home.rename(settings.state_dir.parent)
    return opened(settings.state_dir.parent, settings, world)


class TestMovedProject:
    """Database, ledger and artifact root moved together."""

    def test_items_follow_and_are_restored(self, world: World, deleted: Run, opened: Open) -> None:
        """The trash came along with its root, which is told once; a restore gives it back."""
        wanted = world.trash(deleted)[0].files
        moved = move_project(world, opened)
        moved.cycle()
        moved.undelete(deleted)
        moved.cycle()
        moved.restart()
        moved.cycle()

        here = moved.root / deleted.place.relative_to(world.root)
        assert tree(here) == wanted
        assert moved.told() == ["moved", "restored"]
        assert owner(moved.root)["root"] == str(moved.root)
        assert not world.home.exists()

    def test_items_are_purged_when_they_are_due(
        self, world: World, deleted: Run, opened: Open
    ) -> None:
        """Retention goes on as if nothing had been moved."""
        world.advance(days=6)
        moved = move_project(world, opened)
        moved.cycle()
        assert moved.bytes_in_trash(deleted) == 10

        moved.advance(days=1)
        moved.cycle()
        assert moved.trash() == []
        assert moved.history(deleted) == ["quarantined", "purged"]

    def test_move_that_was_interrupted_is_settled_at_the_new_place(
        self, world: World, opened: Open
    ) -> None:
        """An open intent follows its root like any other item."""
        run = world.run({"a": 1_000})
        world.cycle()
        world.delete(run)
        aside = world.home / "aside.db"
        world.faults.after("quarantine", lambda: world.db.path.rename(aside))
        with pytest.raises(Exception, match="database"):
            world.cycle()
        aside.rename(world.db.path)
        moved = move_project(world, opened)
        moved.cycle()

        assert moved.bytes_in_trash(run) == 1_000
        assert moved.states(run) == [ItemState.QUARANTINED]

    def test_only_the_root_moved_takes_its_trash_along(self, world: World, deleted: Run) -> None:
        """The artifacts on a larger disk, the database where it was."""
        there = world.home / "larger"
        world.root.rename(there)
        world.restart(roots=(str(there),), artifacts_destination=str(there))
        world.undelete(deleted)
        world.cycle()

        assert world.told(deleted) == ["quarantined", "restored"]
        assert len(list(there.rglob("model.bin"))) == 1

    def test_copied_root_does_not_take_over_what_the_old_one_holds(
        self, world: World, deleted: Run
    ) -> None:
        """While the old root is still there, its items are there too, and wait for it."""
        there = world.home / "larger"
        shutil.copytree(world.root, there)
        was = world.root
        world.restart(roots=(str(there),), artifacts_destination=str(there))
        world.cycle()
        assert "moved" not in world.told()
        assert {item.location.root for item in world.items(deleted)} == {str(was)}

        world.restart(roots=(str(was),), artifacts_destination=str(was))
        world.undelete(deleted)
        world.cycle()
        assert world.bytes_at(deleted) == 10


class TestCopiedProject:
    """The whole directory copied, as for a trial or a backup; the original goes on."""

    @pytest.fixture
    def copy(self, world: World, deleted: Run, opened: Open) -> World:
        """Copy it, with a run in the trash and the ledger that says so."""
        assert world.items(deleted)
        settings = elsewhere(world, "copy", roots=True)
        shutil.copytree(world.home, settings.state_dir.parent)
        return opened(settings.state_dir.parent, settings, world)

    def test_is_refused(self, copy: World) -> None:
        """Its root carries the original's marker."""
        refuses_everything(copy)

    def test_confirmed_it_touches_nothing_of_the_original(
        self, world: World, copy: World, deleted: Run
    ) -> None:
        """Its ledger names the original's root, which is none of its own."""
        run = copy.run({"own": 1_000}, id_="f" * 32)
        copy.answer(copy.refused())
        before = tree(world.home)
        copy.cycle()
        copy.delete(run)
        copy.cycle()
        copy.advance(days=30)
        copy.cycle()
        copy.undelete(deleted)
        copy.cycle()
        copy.purge_by_hand()

        assert tree(world.home) == before
        assert {item.location.root for item in copy.items(deleted)} == {str(world.root)}
        assert copy.bytes_at(copy.root / "0" / run.id) == 0

    def test_restores_nothing_of_the_original_by_hand(
        self, world: World, copy: World, deleted: Run
    ) -> None:
        """A restore asks no safeguard, and must not reach over all the same."""
        before = tree(world.home)

        (item,) = copy.restore_by_hand(deleted)

        assert item.state is ItemState.RESTORING
        assert "no artifact root here" in str(item.error)
        assert tree(world.home) == before

    def test_does_not_claim_the_items_of_an_original_that_goes_later(
        self, world: World, copy: World, deleted: Run
    ) -> None:
        """Adopted while the original was there, its root is its own and was not moved."""
        copy.answer(copy.refused())
        copy.cycle()
        world.close()
        shutil.rmtree(world.home)
        copy.cycle()

        assert "moved" not in copy.told()
        assert {item.location.root for item in copy.items(deleted)} == {str(world.root)}

    def test_copy_of_database_and_ledger_reaches_for_no_other_root(
        self, world: World, deleted: Run, opened: Open
    ) -> None:
        """Put into a project with a root of its own: what the ledger names elsewhere stays."""
        other = World.make(world.home.with_name("other"))
        other.cycle()
        other.close()
        shutil.copy(world.db.path, other.db.path)
        shutil.rmtree(other.settings.state_dir)
        shutil.copytree(world.settings.state_dir, other.settings.state_dir)
        other = opened(other.home, other.settings, world)
        before = tree(world.root)

        other.advance(days=30)
        other.refused()
        other.workplace.adopt(str(other.root))
        other.cycle()
        other.purge_by_hand(deleted)
        other.undelete(deleted)
        other.cycle()

        assert tree(world.root) == before
        assert [item.location.root for item in other.items(deleted)] == [str(world.root)]
        assert "no artifact root here" in str(other.items(deleted)[0].error)
        assert other.told(deleted) == ["failed", "failed"]
