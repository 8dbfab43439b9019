"""A ledger that cannot be written: without an intent on record nothing is moved or removed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

import pytest

from mlflow_cleanup.errors import LedgerUnwritable
from mlflow_cleanup.model.item import ItemState, Size
from tests.kit.homes import make_unwritable
from tests.kit.world import Run, World, tree

Trouble = Callable[[World], AbstractContextManager[None]]


@contextmanager
def read_only(world: World) -> Iterator[None]:
    """The file may only be read."""
    make_unwritable(world.ledger)
    yield
    make_unwritable(world.ledger, is_so=False)


@contextmanager
def full_disk(world: World) -> Iterator[None]:
    """Not one page more fits on the disk."""
    connection = world.ledger_connection
    connection.execute("VACUUM")
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    yield
    connection.execute("PRAGMA max_page_count = 1000000")


@contextmanager
def locked(world: World) -> Iterator[None]:
    """Another process holds the file's lock for longer than we wait."""
    world.ledger_connection.execute("PRAGMA busy_timeout = 10")
    path = world.settings.state_dir / "ledger.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture(params=[read_only, full_disk, locked])
def trouble(request: pytest.FixtureRequest) -> Trouble:
    """Each way in which a ledger cannot be written."""
    return request.param


@pytest.fixture
def runs(world: World) -> list[Run]:
    """A hundred runs, as many as need more room in the ledger than a page has left."""
    made = [world.run({"a": 1}) for _ in range(100)]
    world.cycle()
    return made


def test_nothing_is_quarantined(world: World, runs: list[Run], trouble: Trouble) -> None:
    """Nothing moves while the intent cannot be recorded; afterwards everything does."""
    world.delete(*runs)
    before = tree(world.root)
    with trouble(world):
        for _ in range(2):
            with pytest.raises(LedgerUnwritable):
                world.cycle()
        assert tree(world.root) == before

    world.cycle()
    assert world.bytes_in_trash() == 100
    assert world.history() == ["quarantined"] * 100


@pytest.mark.parametrize("trouble", [read_only, locked])
def test_nothing_is_restored(world: World, runs: list[Run], trouble: Trouble) -> None:
    """What is wanted back waits in the trash, untouched, until it can be recorded."""
    world.delete(*runs)
    world.cycle()
    world.undelete(*runs)
    before = tree(world.root)
    with trouble(world):
        with pytest.raises(LedgerUnwritable):
            world.cycle()
        assert tree(world.root) == before

    world.cycle()
    assert all(world.bytes_at(run) == 1 for run in runs)


@pytest.mark.parametrize("trouble", [read_only, locked])
def test_nothing_is_purged(world: World, runs: list[Run], trouble: Trouble) -> None:
    """What is due stays until its purge can be recorded, by hand as by itself."""
    world.delete(*runs)
    world.cycle()
    world.advance(days=7)
    before = tree(world.root)
    with trouble(world):
        with pytest.raises(LedgerUnwritable):
            world.cycle()
        with pytest.raises(LedgerUnwritable):
            world.purge_by_hand()
        assert tree(world.root) == before

    world.cycle()
    assert world.trash() == []
    assert world.ledger.items.freed() == Size(100, 100)


def test_new_runs_are_learnt_afterwards(world: World, trouble: Trouble) -> None:
    """Runs that arrived while nothing could be recorded are known as soon as it can."""
    with trouble(world):
        arrived = [world.run({"a": 1}) for _ in range(100)]
        with pytest.raises(LedgerUnwritable):
            world.cycle()
    world.cycle()
    world.hard_delete(*arrived[:40])
    world.cycle()

    assert world.bytes_in_trash() == 40


@pytest.mark.parametrize(
    "state", [ItemState.QUARANTINED, ItemState.RESTORED, ItemState.PURGED], ids=lambda s: s.value
)
def test_outcome_that_cannot_be_recorded_is_settled_by_the_next_cycle(
    world: World, state: ItemState
) -> None:
    """The act is done and the disk is full right then: the open intent is finished later."""
    run = world.run()
    world.cycle()
    world.delete(run)
    if state is not ItemState.QUARANTINED:
        world.cycle()
    if state is ItemState.RESTORED:
        world.undelete(run)
    if state is ItemState.PURGED:
        world.advance(days=7)
    world.ledger_connection.execute(
        "CREATE TRIGGER full BEFORE UPDATE ON items WHEN NEW.state = "
        f"'{state.value}' BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    with pytest.raises(LedgerUnwritable):
        world.cycle()
    world.ledger_connection.execute("DROP TRIGGER full")
    world.cycle()

    assert world.states(run) == [state]
    assert world.bytes_at(run) == (10 if state is ItemState.RESTORED else 0)
    assert world.bytes_in_trash() == (10 if state is ItemState.QUARANTINED else 0)
    assert world.ledger.items.freed().bytes == (10 if state is ItemState.PURGED else 0)
    assert world.history(run).count(state.value) + world.history(run).count("recovered") == 1


def test_what_was_told_is_what_was_recorded(world: World, runs: list[Run]) -> None:
    """Nothing is told that did not become durable: what is told is the history, word for word."""
    world.delete(*runs)
    with locked(world), pytest.raises(LedgerUnwritable):
        world.cycle()
    assert world.told() == []
    world.cycle()

    assert world.told() == world.history()
