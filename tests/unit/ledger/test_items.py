from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from mlflow_cleanup.errors import LedgerUnwritable
from mlflow_cleanup.ledger.items import HELD, OPEN
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.entity import Entity, EntityKind
from mlflow_cleanup.model.item import Held, Item, ItemState, Size
from mlflow_cleanup.model.location import Location

AT = datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=timezone(timedelta(hours=2)))

FULL = Item(
    id="item",
    entity=Entity(EntityKind.RUN, "r" * 32),
    location=Location("/root\udcff/dir", ("0", "odd\nname\udc80", "artifacts")),
    state=ItemState.PURGING,
    reason="its run was deleted",
    held=Held.IN_PLACE,
    name="name \udcfe \U0001f600",
    experiment_id="7",
    quarantined_at=AT,
    quarantined_s=12.5,
    size=Size(3, 4_000_000_000_000),
    attempts=2,
    retry_s=99.25,
    error="it would not go",
    by_hand=True,
)


def item(id_: str, state: ItemState = ItemState.QUARANTINED, run_id: str = "r") -> Item:
    """Make an item with little to say."""
    return Item(
        id=id_,
        entity=Entity(EntityKind.RUN, run_id),
        location=Location("/root", ("0", run_id, "artifacts")),
        state=state,
        reason="its run was deleted",
    )


@pytest.mark.parametrize("stored", [FULL, item("plain"), replace(FULL, size=Size())])
def test_item_comes_back_as_it_was_put(ledger: Ledger, stored: Item) -> None:
    """Every field survives, odd text and missing values too."""
    ledger.items.put([stored], 0.0)

    assert ledger.items.in_state(stored.state) == [stored]


def test_new_state_replaces_the_old_one(ledger: Ledger) -> None:
    """An item is in one state at a time, with what is known of it now."""
    ledger.items.put([item("a", ItemState.QUARANTINING)], 1.0)
    later = replace(item("a"), size=Size(1, 10), attempts=1, error="x", by_hand=True)
    ledger.items.put([later], 2.0)

    assert ledger.items.in_state(*ItemState) == [later]


def test_many_are_entered_together_or_not_at_all(ledger: Ledger) -> None:
    """One that cannot be stored takes the others with it."""
    with pytest.raises(LedgerUnwritable, match=r"(?i)not[ -]null"):
        ledger.items.put([item("a"), replace(item("b"), reason=None)], 0.0)  # type: ignore[arg-type]

    assert ledger.items.in_state(*ItemState) == []


def test_items_come_in_the_order_in_which_they_were_taken(ledger: Ledger) -> None:
    """Neither ids, nor clocks, nor later changes of state mix up what came first."""
    ledger.items.put([item("m"), item("z")], 5.0)
    ledger.items.put([replace(item("a"), quarantined_s=-3.0)], 5.0)
    ledger.items.put([replace(item("m"), quarantined_s=100.0)], 6.0)

    assert [one.id for one in ledger.items.in_state(ItemState.QUARANTINED)] == ["m", "z", "a"]


def test_items_of_runs_come_newest_first(ledger: Ledger) -> None:
    """So that of several versions of a file the newest is restored first; other runs' are not."""
    ledger.items.put([item("1", run_id="a"), item("2", run_id="b"), item("3", run_id="a")], 0.0)
    ledger.items.put([item("4", ItemState.PURGED, "a")], 0.0)

    assert [one.id for one in ledger.items.named(["a", "c"], *HELD)] == ["3", "1"]


def test_settled_since_lists_what_may_be_written_to_late(ledger: Ledger) -> None:
    """All that is held, and what was purged or found empty since then."""
    ledger.items.put([item("held")], 1.0)
    ledger.items.put([item("purged before", ItemState.PURGED)], 9.9)
    ledger.items.put([item("purged", ItemState.PURGED)], 10.0)
    ledger.items.put([item("empty", ItemState.ABANDONED)], 11.0)
    ledger.items.put([item("restored", ItemState.RESTORED)], 11.0)

    assert {one.id for one in ledger.items.settled_since(10.0)} == {"held", "purged", "empty"}


def test_counts_are_by_state(ledger: Ledger) -> None:
    """How many there are in each state, and what was measured of them."""
    ledger.items.put(
        [
            replace(item("a"), size=Size(1, 10)),
            replace(item("b"), size=Size(2, 100)),
            item("not measured"),
            item("c", ItemState.PURGED),
        ],
        0.0,
    )

    assert ledger.items.count() == {
        ItemState.QUARANTINED: (3, Size(3, 110)),
        ItemState.PURGED: (1, Size()),
    }


def test_freed_adds_up_over_attempts_and_survives_new_states(ledger: Ledger) -> None:
    """What each attempt freed is added; putting the item anew takes nothing away."""
    ledger.items.put([item("a"), item("b")], 0.0)
    ledger.items.add_freed("a", Size(1, 10))
    ledger.items.put([item("a", ItemState.PURGING)], 1.0)
    ledger.items.add_freed("a", Size(2, 100))
    ledger.items.add_freed("b", Size(1, 1_000))
    ledger.items.put([item("a", ItemState.PURGED)], 2.0)

    assert ledger.items.freed() == Size(4, 1_110)


def test_nothing_was_freed_at_first(ledger: Ledger) -> None:
    """An empty ledger has freed nothing and holds nothing."""
    assert ledger.items.freed() == Size()
    assert ledger.items.count() == {}


def test_states_are_open_held_or_settled() -> None:
    """No state is forgotten: those after a crash, those with bytes in the trash, and the ends."""
    ends = {ItemState.PURGED, ItemState.RESTORED, ItemState.ABANDONED}

    assert set(OPEN) | set(HELD) | ends == set(ItemState)
    assert not ends & (set(OPEN) | set(HELD))
