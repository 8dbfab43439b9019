"""After a crash or a failed cycle: finishing or reverting every intent that was left open."""

from __future__ import annotations

from dataclasses import replace

from mlflow_cleanup.act.restore import put_back
from mlflow_cleanup.act.tools import Outcomes, Tools, event_of
from mlflow_cleanup.errors import CleanupError
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import Item, ItemState


def recover(tools: Tools) -> None:
    """Settle open intents. An open purge is simply due and goes on by itself."""
    for item in tools.ledger.items.in_state(ItemState.QUARANTINING, ItemState.RESTORING):
        outcomes = Outcomes(tools)
        try:
            if item.state is ItemState.QUARANTINING:
                _settle_move(item, outcomes, tools)
            else:
                put_back(item, outcomes, tools, by_hand=item.by_hand)
        except (CleanupError, OSError):
            continue  # where its bytes are shows when its root can be seen again
        outcomes.settle()


def _settle_move(item: Item, outcomes: Outcomes, tools: Tools) -> None:
    store = tools.store_of(item.location.root)
    store.check()
    presence = store.find(item)
    store.tidy(item)
    if not presence.in_trash:
        # It never moved. Its run is still orphaned in the ledger, so it is judged anew.
        outcomes.add(replace(item, state=ItemState.ABANDONED), None)
        return
    found = tools.moment()
    moved = replace(
        item,
        state=ItemState.QUARANTINED,
        quarantined_at=found.at,
        quarantined_s=found.aged_s,
    )
    outcomes.add(moved, event_of(EventKind.RECOVERED, moved, tools), RunState.GONE)
