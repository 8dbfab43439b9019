"""Another process takes over in the middle: between an intent and its act nothing moves then."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from mlflow_cleanup.errors import LeaseLost, LedgerLost
from mlflow_cleanup.ledger.items import Items
from mlflow_cleanup.ledger.lease import Lease
from mlflow_cleanup.model.item import Item, ItemState
from tests.kit.homes import POSTGRESQL
from tests.kit.programs import until
from tests.kit.servers.postgresql import PostgreSQL
from tests.kit.world import Run, World, tree

pytestmark = pytest.mark.parametrize("ledger_server", [POSTGRESQL], indirect=True)

ACTS = {
    ItemState.QUARANTINING: lambda world, run: world.delete(run),
    ItemState.PURGING: lambda world, _: world.advance(days=8),
    ItemState.RESTORING: lambda world, run: world.undelete(run),
}
"""What makes the next cycle begin with each kind of act."""


def end_sessions(postgresql: PostgreSQL, named: str) -> None:
    """Let the server end connections, by what they are called."""
    postgresql.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        f"WHERE application_name LIKE '{named}'"
    )


@pytest.mark.parametrize("is_ended", [False, True], ids=["paused", "connection ended as well"])
@pytest.mark.parametrize("state", ACTS)
def test_nothing_moves_after_another_has_taken_over(
    world: World,
    postgresql: PostgreSQL,
    monkeypatch: pytest.MonkeyPatch,
    state: ItemState,
    *,
    is_ended: bool,
) -> None:
    """The intent was written; right before the act the holder asks once more, and leaves it."""
    run = world.run({"model.bin": 1_000})
    world.cycle()
    if state is not ItemState.QUARANTINING:
        world.delete(run)
        world.cycle()
    ACTS[state](world, run)
    server = world.settings.ledger
    assert server is not None
    if not is_ended:  # it is as alive as ever, and not the last that held the lease
        world.ledger_connection.execute("SET application_name = 'not to be found'")
    put, others = Items.put, Lease([server], "another")

    def put_and_lose(items: Items, entered: Iterable[Item], aged_s: float) -> None:
        entered = list(entered)
        put(items, entered, aged_s)
        if any(item.state is state for item in entered) and not others.is_held:
            end_sessions(postgresql, f"mlflow-cleanup lease {server.schema}")
            others.acquire()

    before = tree(world.root)
    with monkeypatch.context() as patch:
        patch.setattr(Items, "put", put_and_lose)
        with pytest.raises((LeaseLost, LedgerLost)):
            world.cycle()
    until(lambda: world.lease.is_lost, "it knows")

    assert others.is_held
    assert tree(world.root) == before
    others.release()
    world.restart()
    world.cycle()
    assert world.states(run)[-1].value == state.value.replace("ing", "ed")


def test_what_the_next_holder_finds_open_it_settles(
    world: World, deleted: Run, postgresql: PostgreSQL
) -> None:
    """Moved, and the connection was gone before that could be taken down: as after a crash."""
    server = world.settings.ledger
    assert server is not None
    world.faults.after(
        "quarantine", lambda: end_sessions(postgresql, f"mlflow-cleanup {server.schema} %")
    )
    with pytest.raises(LedgerLost):
        world.cycle()
    world.restart()
    assert [item.state for item in world.items(deleted)] == [ItemState.QUARANTINING]
    world.cycle()

    assert world.states(deleted) == [ItemState.QUARANTINED]
    assert world.bytes_in_trash(deleted) == 10
    assert world.history(deleted) == ["recovered"]
