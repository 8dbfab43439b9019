"""Removing quarantined bytes for good, after one more look."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mlflow_cleanup.act.restore import restore
from mlflow_cleanup.act.tools import Outcomes, Tools, event_of
from mlflow_cleanup.act.workers import Removed, Workers
from mlflow_cleanup.errors import CleanupError
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import Held, Item, ItemState
from mlflow_cleanup.stores.base import Purged

BATCH = 50
"""Items whose intents are written at once: waiting for the disk costs more than removing a few
files. After a crash all of them are simply due, as they were before."""

SETTLE_S = 0.1
"""How long outcomes may wait to be written with later ones."""


def purge(items: Iterable[Item], tools: Tools) -> list[Item]:
    """Purge items; what is wanted again goes back instead. Returns the new states."""
    settled: list[Item] = []
    items = list(items)
    workers = Workers(tools.store_of, tools.unhurried, len(items))
    try:
        for start in range(0, len(items), BATCH):
            if not tools.unhurried():
                break
            settled += _Batch(items[start : start + BATCH], tools, workers).purge()
    finally:
        workers.close()
    return settled


class _Batch:
    """Items whose intents are written together; each is looked at right before it goes."""

    def __init__(self, items: Sequence[Item], tools: Tools, workers: Workers) -> None:
        self._items, self._tools, self._workers = items, tools, workers
        self._left = {item.id: item for item in items}
        self._outcomes, self._settled = Outcomes(tools), list[Item]()

    def purge(self) -> list[Item]:
        """Purge them; returns the new states of those that were reached."""
        tools = self._tools
        tools.ledger.items.put([_begun(item) for item in self._items], tools.now.aged_s)
        settle_at = time.monotonic() + SETTLE_S
        try:
            for item in self._items:
                if not tools.unhurried():
                    break
                self._purge_one(item)
                if time.monotonic() > settle_at:
                    self._outcomes.settle()
                    settle_at = time.monotonic() + SETTLE_S
        finally:
            try:
                self._take_down(self._workers.rest())
            finally:
                # What was not reached is as it was: nothing of it has gone.
                tools.ledger.items.put(self._left.values(), tools.now.aged_s)
                self._outcomes.settle()
        return self._settled

    def _purge_one(self, item: Item) -> None:
        self._take_down(self._workers.make_room())
        self._tools.refresh()
        is_wanted = self._tools.wanted(item) is not None and not _collides(item, self._tools)
        del self._left[item.id]
        if is_wanted:
            self._settled += restore([item], self._tools)
        else:
            self._tools.ledger.require_held()
            self._take_down(self._workers.remove(_begun(item)))

    def _take_down(self, removed: Iterable[Removed]) -> None:
        for item, result in removed:
            self._settled.append(_outcome(item, result, self._outcomes))


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


def _outcome(item: Item, result: Purged | Exception, outcomes: Outcomes) -> Item:
    """Take down what became of an item's bytes; returns its new state."""
    if isinstance(result, Exception):
        return _failed(item, str(result), outcomes)
    ledger = outcomes.tools.ledger
    # At once: after a crash nothing is there any more to be measured.
    ledger.items.add_freed(item.id, result.freed)
    if result.complete:
        done = replace(item, state=ItemState.PURGED, error=None)
        freed = ledger.items.freed_of(item.id)  # with what earlier attempts freed
        why_not = result.unfreed or ""
        outcomes.add(done, event_of(EventKind.PURGED, done, outcomes.tools, why_not, freed))
        return done
    if not result.failures:
        return item  # told to stop in the middle: it goes on in the next cycle
    return _failed(item, "; ".join(result.failures), outcomes)


def _failed(item: Item, error: str, outcomes: Outcomes) -> Item:
    tools = outcomes.tools
    failed = replace(item, error=error, retry_s=tools.retry_s(item.attempts))
    outcomes.add(failed, event_of(EventKind.FAILED, failed, tools, error))
    return failed
