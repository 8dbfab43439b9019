"""Removing quarantined bytes for good, after one more look."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from mlflow_cleanup.act.restore import restore
from mlflow_cleanup.act.tools import Outcomes, Tools, event_of
from mlflow_cleanup.errors import CleanupError
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import Held, Item, ItemState

BATCH = 50
"""Items whose intents are written at once: waiting for the disk costs more than removing a few
files. After a crash all of them are simply due, as they were before."""

SETTLE_S = 0.1
"""How long outcomes may wait to be written with later ones."""


def purge(items: Iterable[Item], tools: Tools) -> list[Item]:
    """Purge items one by one; what is wanted again goes back instead. Returns the new states."""
    settled: list[Item] = []
    waiting = iter(items)
    while tools.unhurried() and (batch := list(islice(waiting, BATCH))):
        settled += _purge_batch(batch, tools)
    return settled


def _purge_batch(batch: list[Item], tools: Tools) -> list[Item]:
    tools.ledger.items.put([_begun(item) for item in batch], tools.now.aged_s)
    settled: list[Item] = []
    outcomes, left, settle_at = Outcomes(tools), deque(batch), time.monotonic() + SETTLE_S
    try:
        while left and tools.unhurried():
            tools.refresh()
            item = left[0]
            if tools.wanted(item) is not None and not _collides(item, tools):
                settled += restore([item], tools)
            else:
                settled.append(_purge(_begun(item), outcomes, tools))
            left.popleft()
            if time.monotonic() > settle_at:
                outcomes.settle()
                settle_at = time.monotonic() + SETTLE_S
    finally:
        # What was not reached is as it was: nothing of it has gone.
        tools.ledger.items.put(left, tools.now.aged_s)
        outcomes.settle()
    return settled


def _begun(item: Item) -> Item:
    return replace(item, state=ItemState.PURGING, attempts=item.attempts + 1, error=None)


def _collides(item: Item, tools: Tools) -> bool:
    """Tell a rest that lies beside live files, and is in nobody's way, from the only copy."""
    if item.state is not ItemState.CONFLICT or item.held is Held.IN_PLACE:
        return False
    try:
        return tools.store_of(item.location.root).exists(item.location)
    except (CleanupError, OSError):
        return False


def _purge(item: Item, outcomes: Outcomes, tools: Tools) -> Item:
    """Remove one item's bytes, as far as they go; what becomes of it is added to `outcomes`."""
    try:
        store = tools.store_of(item.location.root)
        store.check()
        result = store.purge(item, tools.unhurried)
    except (CleanupError, OSError) as error:
        return _failed(item, str(error), outcomes)
    # At once: after a crash nothing is there any more to be measured.
    tools.ledger.items.add_freed(item.id, result.freed)
    if result.complete:
        done = replace(item, state=ItemState.PURGED, error=None)
        freed = tools.ledger.items.freed_of(item.id)  # with what earlier attempts freed
        outcomes.add(done, event_of(EventKind.PURGED, done, tools, size=freed))
        return done
    if not result.failures:
        return item  # told to stop in the middle: it goes on in the next cycle
    return _failed(item, "; ".join(result.failures), outcomes)


def _failed(item: Item, error: str, outcomes: Outcomes) -> Item:
    tools = outcomes.tools
    failed = replace(item, error=error, retry_s=tools.retry_s(item.attempts))
    outcomes.add(failed, event_of(EventKind.FAILED, failed, tools, error))
    return failed
