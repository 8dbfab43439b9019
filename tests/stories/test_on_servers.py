"""The same stories with the tracking database on a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_cleanup.errors import PlanRefused
from mlflow_cleanup.model.item import ItemState
from tests.kit.tracking_server import Server, TrackingServer
from tests.kit.world import World


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each kind of server."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def world(tmp_path: Path, server: Server) -> Iterator[World]:
    """A world with its database on a server, seen once already."""
    made = World.make(tmp_path / "home", TrackingServer.on(server))
    made.cycle()
    yield made
    made.close()


def test_deleted_run_is_quarantined_and_comes_back_when_restored(world: World) -> None:
    """Delete and Restore in MLflow move the files out of sight and back, byte for byte."""
    run, other = world.run({"model": 1_000}), world.run()
    world.cycle()

    world.delete(run)
    world.cycle()
    assert world.bytes_at(run) == 0
    assert world.bytes_in_trash(run) == 1_000

    world.undelete(run)
    world.cycle()
    assert world.bytes_at(run) == 1_000
    assert world.states(run) == [ItemState.RESTORED]
    assert world.bytes_at(other) == 10


def test_what_was_held_long_enough_is_purged(world: World) -> None:
    """Retention and purge are the same as with a database in a file."""
    run = world.run()
    world.cycle()
    world.delete(run)
    world.cycle()

    world.advance(days=6)
    world.cycle()
    assert world.states(run) == [ItemState.QUARANTINED]
    world.advance(days=2)
    world.cycle()
    assert world.states(run) == [ItemState.PURGED]
    assert world.bytes_in_trash() == 0


def test_all_rows_vanishing_at_once_is_refused(world: World) -> None:
    """An emptied database is an accident until somebody says otherwise."""
    runs = [world.run() for _ in range(3)]
    world.cycle()
    world.hard_delete(*runs)

    with pytest.raises(PlanRefused, match="vanished"):
        world.cycle()
    assert all(world.bytes_at(run) == 10 for run in runs)
