"""What is remembered from one start to the next, and what was there before the first one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_cleanup.cycle.turn import Scope
from mlflow_cleanup.errors import CleanupError, RegistryGone, TrackingUnreadable
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import Size
from tests.kit.world import World


@pytest.fixture
def old(tmp_path: Path) -> Iterator[World]:
    """A world where MLflow has long been at work, and no cycle has run yet."""
    made = World.make(tmp_path / "home")
    yield made
    made.close()


def test_runs_deleted_before_the_first_start_are_left_alone_and_told_once(old: World) -> None:
    """The backlog is counted and told in one word, with what it holds; nothing of it moves."""
    runs = [old.run({"a": size, "b": 1}) for size in (10, 100, 1_000)]
    empty, active = old.run({}), old.run()
    old.delete(*runs, empty)
    for _ in range(3):
        old.cycle()
        old.restart()

    assert [old.bytes_at(run) for run in (*runs, active)] == [11, 101, 1_001, 10]
    assert old.history() == ["backlog"]
    told = old.last(EventKind.BACKLOG)
    assert (told.detail, told.size) == ("3", Size(6, 1_113))


def test_backlog_is_cleaned_up_when_asked_for(old: World) -> None:
    """Started with the backlog included, what had been deleted before is quarantined."""
    runs = [old.run({"a": size}) for size in (10, 100)]
    old.delete(*runs)
    old.cycle()
    old.restart(include_backlog=True)
    old.cycle()

    assert old.bytes_in_trash() == 110
    assert old.history() == ["backlog", "quarantined", "quarantined"]


def test_backlog_included_from_the_first_start(old: World) -> None:
    """The very first cycle may clean up what had been deleted before."""
    run = old.run()
    old.delete(run)
    old.restart(include_backlog=True)
    old.cycle()

    assert old.history(run) == ["quarantined"]


def test_claimed_backlog_is_not_counted(old: World) -> None:
    """What a live claim protects is no reclaimable backlog."""
    run = old.run()
    old.register(f"runs:/{run.id}/model.bin")
    old.delete(run)
    old.cycle()

    assert old.told() == []


def test_backlog_run_that_is_restored_is_a_run_like_any_other(old: World) -> None:
    """Restored in MLflow and deleted again, it is quarantined."""
    run = old.run()
    old.delete(run)
    old.cycle()
    old.undelete(run)
    old.cycle()
    old.delete(run)
    old.cycle()

    assert old.bytes_in_trash(run) == 10


def test_backlog_run_whose_row_is_removed_stays_backlog(old: World) -> None:
    """`mlflow gc` of the backlog is not our business."""
    run = old.run()
    old.delete(run)
    old.cycle()
    old.hard_delete(run)
    old.cycle()

    assert old.bytes_at(run) == 10
    assert old.known(run) is RunState.BACKLOG


def test_deletes_made_while_nothing_watched_are_seen_on_the_next_start(world: World) -> None:
    """The known runs are kept: what left meanwhile is cleaned up, deleted or without its row."""
    deleted, vanished, stays = world.run({"a": 1}), world.run({"b": 10}), world.run({"c": 100})
    world.cycle()
    world.workplace.close()
    world.delete(deleted)
    world.hard_delete(vanished)
    world.restart()
    world.cycle()

    assert [world.bytes_at(run) for run in (deleted, vanished, stays)] == [0, 0, 100]
    assert world.bytes_in_trash() == 11


def test_vanished_run_is_found_by_what_was_known_of_it(world: World) -> None:
    """Where a vanished run's files were is known from when it was seen, not from its row."""
    world.db.experiment("7", f"file://{world.root}/named/place")
    run = world.run({}, uri=f"file://{world.root}/named/place/{'a' * 32}/artifacts", id_="a" * 32)
    other = world.run()
    world.write(world.root / "named/place" / run.id / "artifacts", "a", 100)
    world.cycle(Scope.CHANGES)
    world.restart()
    world.hard_delete(run)
    world.cycle()

    assert world.bytes_in_trash(run) == 100
    assert world.bytes_at(other) == 10


def test_run_restored_and_deleted_again_while_nothing_watched(world: World) -> None:
    """Nothing of what happened in between matters: the run is deleted, its bytes are held."""
    run = world.run()
    world.cycle()
    world.delete(run)
    world.cycle()
    world.workplace.close()
    world.undelete(run)
    world.write(run, "new.txt", 100)
    world.delete(run)
    world.restart()
    world.cycle()

    assert world.bytes_in_trash(run) == 110


class TestRegistryOfItsOwn:
    """A model registry kept in a database of its own."""

    @pytest.fixture
    def registry(self, world: World) -> World:
        """A second MLflow beside the first, used for its registry only."""
        second = World.make(world.home / "registry")
        world.restart(registry=Database.of_file(str(second.db.path)))
        world.cycle()
        return second

    @pytest.mark.parametrize("source", ["runs:/{id}/model", "mlflow-artifacts:/0/{id}/artifacts/m"])
    def test_protects_what_its_versions_claim(
        self, world: World, registry: World, source: str
    ) -> None:
        """A version in the other database keeps a run's bytes, and lets go of them."""
        run = world.run()
        world.cycle()
        registry.register(source.format(id=run.id))
        world.delete(run)
        world.cycle()
        assert world.bytes_at(run) == 10

        registry.unregister()
        world.cycle()
        assert world.bytes_in_trash(run) == 10

    def test_protects_from_a_purge(self, world: World, registry: World) -> None:
        """Registered there at the last moment: given back instead of purged."""
        run = world.run()
        world.cycle()
        world.delete(run)
        world.cycle()
        world.advance(days=7)
        registry.register(f"runs:/{run.id}/model.bin")
        world.cycle()

        assert world.bytes_at(run) == 10

    def test_protects_in_the_middle_of_a_quarantine(self, world: World, registry: World) -> None:
        """The second look reads the registry again as well."""
        run = world.run()
        world.cycle()
        world.delete(run)
        world.faults.after("quarantine", lambda: registry.register(f"runs:/{run.id}/model.bin"))
        world.cycle()

        assert world.bytes_at(run) == 10

    @pytest.mark.parametrize("how", ["cycle", "plan", "sweep"])
    def test_protects_where_it_is_not_given_again(
        self, world: World, registry: World, how: str
    ) -> None:
        """A verb, or a monitor started another way, need not be told of it."""
        world.run({"large": 10_000})
        run = world.run()
        registry.register(f"runs:/{run.id}/model.bin")
        world.cycle()
        world.restart(registry=None)
        world.delete(run)

        if how == "cycle":
            world.cycle()
        else:
            assert (world.plan().take if how == "plan" else tuple(world.sweep())) == ()
        assert world.bytes_at(run) == 10

    def test_is_forgotten_where_the_backend_store_is_named(
        self, world: World, registry: World
    ) -> None:
        """An operator says that there is none any more, and says it once."""
        run = world.run()
        registry.register(f"runs:/{run.id}/model.bin")
        world.cycle()
        world.restart(registry=world.settings.database)
        world.cycle()
        world.restart(registry=None)
        world.delete(run)
        world.cycle()

        assert world.bytes_in_trash(run) == 10

    def test_that_is_gone_refuses_and_says_how_to_forget_it(
        self, world: World, registry: World
    ) -> None:
        """Nobody knows then what it claimed, and it may be back soon."""
        run = world.run()
        world.cycle()
        world.restart(registry=None)
        world.delete(run)
        aside = registry.db.path.rename(registry.home / "aside")
        how = f"--registry-store-uri sqlite:///{world.settings.database.name}"
        for look in (world.cycle, world.plan, world.sweep):
            with pytest.raises(RegistryGone, match=re.escape(how)):
                look()

        assert world.bytes_at(run) == 10
        aside.rename(registry.db.path)
        world.cycle()
        assert world.bytes_in_trash(run) == 10

    def test_that_was_never_read_is_not_remembered(self, world: World, registry: World) -> None:
        """A name that was mistyped takes no other's place."""
        run = world.run()
        registry.register(f"runs:/{run.id}/model.bin")
        world.cycle()
        world.restart(registry=Database.of_file(str(world.home / "mistyped.db")))
        with pytest.raises(TrackingUnreadable):
            world.cycle()
        world.restart(registry=None)
        world.delete(run)
        world.cycle()

        assert world.bytes_at(run) == 10

    def test_leads_to_a_deleted_logged_model(self, world: World, registry: World) -> None:
        """A version there of a logged model here, deleted since: the model's place is claimed."""
        run = world.run()
        world.db.logged_model("m-1", f"file://{run.place}/model", stage="deleted")
        registry.register("models:/m-1")
        world.cycle()
        world.delete(run)
        world.cycle()

        assert world.bytes_at(run) == 10

    @pytest.mark.parametrize("harm", ["missing", "not a database", "without its column"])
    def test_that_cannot_be_read_stops_everything(
        self, world: World, registry: World, harm: str
    ) -> None:
        """Without its claims nothing is judged; when it is back the work goes on."""
        run = world.run()
        world.cycle()
        world.delete(run)
        path = registry.db.path
        kept = path.read_bytes()
        if harm == "missing":
            path.unlink()
        elif harm == "not a database":
            path.write_bytes(b"x" * 10_000)
        else:
            registry.db.execute("ALTER TABLE model_versions RENAME COLUMN source TO origin")
        with pytest.raises(CleanupError):
            world.cycle()
        assert world.bytes_at(run) == 10

        path.write_bytes(kept)
        world.cycle()
        assert world.bytes_in_trash(run) == 10
