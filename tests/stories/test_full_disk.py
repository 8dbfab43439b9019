"""A disk without a byte left: nothing moves, but what frees the disk still can be done."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mlflow_cleanup.errors import LedgerFull, LedgerUnwritable
from mlflow_cleanup.model.item import ItemState
from tests.kit.children import fill_disk, mount_tmpfs, with_own_mounts
from tests.kit.world import Run, World, tree

SIZE = 2_000_000


def on_a_small_disk(tmp_path: Path, body: Callable[[World, Run, Run], None]) -> None:
    """Run a story where all lies on one small disk: a run in the trash, one deleted, no room."""
    home = tmp_path / "home"

    def story() -> None:
        mount_tmpfs(home, b"size=12M")
        world = World.make(home)
        world.cycle()
        held, deleted = world.run({"a": SIZE}), world.run({"b": SIZE})
        world.cycle()
        world.delete(held)
        world.cycle()
        world.delete(deleted)
        assert reserve(world).exists()
        fill_disk(home)
        assert shutil.disk_usage(home).free == 0
        body(world, held, deleted)
        world.close()

    with_own_mounts(story)


def reserve(world: World) -> Path:
    """Say where the ledger keeps room for such a day."""
    return world.settings.state_dir / "reserve"


def test_nothing_moves_without_an_intent_on_record(tmp_path: Path) -> None:
    """The cycle says what is wrong; when there is room again it does its work."""

    def body(world: World, held: Run, deleted: Run) -> None:
        before = tree(world.root)
        with pytest.raises(LedgerUnwritable, match="full"):
            world.cycle()
        assert tree(world.root) == before

        (world.home / "fill").unlink()
        world.cycle()
        assert world.bytes_in_trash() == 2 * SIZE
        assert world.states(deleted) == world.states(held) == [ItemState.QUARANTINED]
        assert reserve(world).exists()

    on_a_small_disk(tmp_path, body)


def test_purge_by_hand_frees_the_disk(tmp_path: Path) -> None:
    """The reserve makes room for recording it, and is there again for the next time."""

    def body(world: World, held: Run, deleted: Run) -> None:
        (item,) = world.purge_by_hand(held)
        assert item.state is ItemState.PURGED
        assert shutil.disk_usage(world.home).free > SIZE
        assert world.ledger.items.freed().bytes == SIZE
        assert not reserve(world).exists()

        world.cycle()
        assert world.bytes_in_trash(deleted) == SIZE
        assert reserve(world).exists()
        fill_disk(world.home)
        world.purge_by_hand()
        assert world.trash() == []

    on_a_small_disk(tmp_path, body)


def test_purge_by_hand_of_a_new_process_frees_the_disk(tmp_path: Path) -> None:
    """Opening the ledger needs room already."""

    def body(world: World, held: Run, _: Run) -> None:
        (world.home / "fill").unlink()
        world.close()  # with room to tidy up, it leaves none of the files that opening makes
        fill_disk(world.home)
        world.restart()
        world.purge_by_hand(held)

        assert world.states(held) == [ItemState.PURGED]
        assert world.trash() == []

    on_a_small_disk(tmp_path, body)


def test_what_falls_due_is_purged(tmp_path: Path) -> None:
    """The cycle that finds the disk full gives up the reserve; the next one purges with it."""

    def body(world: World, held: Run, _: Run) -> None:
        world.advance(days=7)
        with pytest.raises(LedgerFull):
            world.cycle()
        world.cycle()

        assert world.states(held) == [ItemState.PURGED]
        assert reserve(world).exists()

    on_a_small_disk(tmp_path, body)
