"""Removing quarantined bytes for good, after one more look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mlflow_cleanup.act.restore import restore
from mlflow_cleanup.act.tools import Outcomes, Tools, event_of
from mlflow_cleanup.errors import CleanupError
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import Held, Item, ItemState


def purge(items: Iterable[Item], tools: Tools) -> list[Item]:
    """Purge items one by one; what is wanted again goes back instead. Returns the new states."""
    settled = []
    for item in items:
        if not tools.unhurried():
            break
        tools.refresh()
        if tools.wanted(item) is not None and not _collides(item, tools):
            settled += restore([item], tools)
        else:
            settled.append(_purge(item, tools))
    return settled


def _collides(item: Item, tools: Tools) -> bool:
    """Tell a rest that lies beside live files, and is in nobody's way, from the only copy."""
    if item.state is not ItemState.CONFLICT or item.held is Held.IN_PLACE:
        return False
    try:
        return tools.store_of(item.location.root).exists(item.location)
    except (CleanupError, OSError):
        return False


def _purge(item: Item, tools: Tools) -> Item:
    begun = replace(item, state=ItemState.PURGING, attempts=item.attempts + 1, error=None)
    tools.ledger.items.put([begun], tools.now.aged_s)
    try:
        store = tools.store_of(item.location.root)
        store.check()
        result = store.purge(item, tools.unhurried)
    except (CleanupError, OSError) as error:
        return _failed(begun, str(error), tools)
    tools.ledger.items.add_freed(item.id, result.freed)
    if result.complete:
        done = replace(begun, state=ItemState.PURGED, error=None)
        outcomes = Outcomes(tools)
        freed = tools.ledger.items.freed_of(item.id)  # with what earlier attempts freed
        outcomes.add(done, event_of(EventKind.PURGED, done, tools, size=freed))
        outcomes.settle()
        return done
    if not result.failures:
        return begun  # told to stop in the middle: it goes on in the next cycle
    return _failed(begun, "; ".join(result.failures), tools)


def _failed(item: Item, error: str, tools: Tools) -> Item:
    failed = replace(item, error=error, retry_s=tools.retry_s(item.attempts))
    outcomes = Outcomes(tools)
    outcomes.add(failed, event_of(EventKind.FAILED, failed, tools, error))
    outcomes.settle()
    return failed
