"""Taking places out of use: intent, look again, move, look again, outcome."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mlflow_cleanup.act.restore import put_back
from mlflow_cleanup.act.tools import Outcomes, Tools, event_of, new_item_id
from mlflow_cleanup.errors import (
    CleanupError,
    ForeignOwner,
    LeaseLost,
    LedgerUnwritable,
    NoRoot,
    StoreUnreachable,
)
from mlflow_cleanup.ledger.items import HELD
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import Held, Item, ItemState
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.plan import Quarantine
from mlflow_cleanup.model.verdict import Garbage
from mlflow_cleanup.stores.base import ArtifactStore

BATCH = 50
"""Steps between two looks at the database: some milliseconds of renames, so that what is judged is
never older than that, and the second look undoes what became wrong in between."""

MEASURE_S = 0.2
"""How long one batch may take to measure sizes before the next change is looked at."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one step: the item, and why it was not moved, or not kept away.

    `not_ours` says why its place is none of this tracking database's.
    """

    step: Quarantine
    item: Item
    skipped: str | None = None
    failed: str | None = None
    not_ours: str | None = None


def quarantine(steps: Sequence[Quarantine], tools: Tools) -> Iterator[Taken]:
    """Carry out quarantine steps, batch by batch; one failure stops nothing.

    Each batch is settled before its outcomes are yielded.
    """
    for start in range(0, len(steps), BATCH):
        if not tools.keep_going():
            return
        yield from _quarantine_batch(steps[start : start + BATCH], tools)


def _quarantine_batch(steps: Sequence[Quarantine], tools: Tools) -> list[Taken]:
    intended = [(_item(step, tools), step) for step in steps]
    tools.ledger.items.put([item for item, _ in intended], tools.now.aged_s)
    tools.refresh()
    outcomes, stores = Outcomes(tools), _MarkedStores(tools)
    held = _held_in_place(intended, tools)
    taken = [
        _leave(step, item, held[item.location], outcomes)
        if item.location in held
        else _take(step, item, outcomes, stores)
        for item, step in intended
    ]
    tools.refresh()
    ends = time.monotonic() + MEASURE_S
    seen = [_look_again(result, ends, outcomes, tools) for result in taken]
    outcomes.settle()
    return seen


def _held_in_place(
    intended: Sequence[tuple[Item, Quarantine]], tools: Tools
) -> dict[Location, Item]:
    """Find what is held where it lies, so that it looks as if nobody had taken it yet."""
    ids = [item.entity.id for item, _ in intended]
    found = tools.ledger.items.of(ids, *HELD)
    return {item.location: item for item in found if item.held is Held.IN_PLACE}


def _leave(step: Quarantine, item: Item, held: Item, outcomes: Outcomes) -> Taken:
    """Leave a place that an item holds already: its retention counts from then."""
    left = replace(item, state=ItemState.ABANDONED)
    outcomes.add(left, None, RunState.GONE)
    return Taken(step, left, skipped=f"held in place already, as item {held.id}")


class _MarkedStores:
    """The stores of one batch, each marked as ours once, right before its first move."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self._stores: dict[str, ArtifactStore] = {}

    def of(self, root: str) -> ArtifactStore:
        """Return the store of a root; raises StoreUnreachable."""
        if root not in self._stores:
            store = self.tools.store_of(root)
            store.mark()
            self._stores[root] = store
        return self._stores[root]


def _take(step: Quarantine, item: Item, outcomes: Outcomes, stores: _MarkedStores) -> Taken:
    """Move one place away, unless it turns out not to be garbage any more."""
    verdict = stores.tools.judge(step.candidate)
    if isinstance(verdict, Garbage):
        return _move(step, item, outcomes, stores)
    left = replace(item, state=ItemState.ABANDONED)
    outcomes.add(left, None)
    return Taken(step, left, skipped=str(verdict))


def _look_again(taken: Taken, ends: float, outcomes: Outcomes, tools: Tools) -> Taken:
    """Give back what somebody wants after all; account for the rest."""
    item = taken.item
    if item.state is not ItemState.QUARANTINED:
        return taken
    if (wanted := tools.wanted(item)) is not None:
        return replace(taken, item=put_back(item, outcomes, tools), skipped=str(wanted))
    # What is purged at once is measured then.
    sized = _measured(item, ends, tools) if tools.retention else item
    outcomes.add(sized, event_of(EventKind.QUARANTINED, sized, tools), RunState.GONE)
    return replace(taken, item=sized)


def _measured(item: Item, ends: float, tools: Tools) -> Item:
    """Measure what is out of sight now, as long as that delays nothing; else the upkeep does it."""
    store = tools.store_of(item.location.root)
    try:
        size = store.measure(item, lambda: tools.unhurried() and time.monotonic() < ends)
    except (CleanupError, OSError):
        return item  # unreadable: its size is told when it is purged
    return replace(item, size=size)


def _move(step: Quarantine, item: Item, outcomes: Outcomes, stores: _MarkedStores) -> Taken:
    """Move one item away; what did not need to, or could not, is an outcome at once."""
    tools = stores.tools
    try:
        store = stores.of(item.location.root)
        tools.ledger.require_held()
        held = store.quarantine(item.location, item.id, _note_of(item) if tools.retention else None)
    except (LeaseLost, LedgerUnwritable):
        raise  # there is nothing that could be taken down
    except (NoRoot, ForeignOwner) as error:
        left = replace(item, state=ItemState.ABANDONED, error=str(error))
        outcomes.add(left, None)
        return Taken(step, left, not_ours=str(error))
    except StoreUnreachable as error:
        # Not seen is not gone: the run stays orphaned and is judged again when the root is back.
        left = replace(item, state=ItemState.ABANDONED, error=str(error))
        outcomes.add(left, None)
        return Taken(step, left, failed=str(error))
    except (CleanupError, OSError) as error:
        failed = _take_down_failure(item, str(error), outcomes, tools)
        return Taken(step, failed, failed=str(error))
    if held is None:
        empty = replace(item, state=ItemState.ABANDONED)
        outcomes.add(empty, event_of(EventKind.EMPTY, empty, tools), RunState.GONE)
        return Taken(step, empty, skipped="nothing is there any more")
    now = tools.moment()
    moved = replace(
        item,
        state=ItemState.QUARANTINED,
        held=held,
        quarantined_at=now.at,
        quarantined_s=now.aged_s,
    )
    return Taken(step, moved)


def _note_of(item: Item) -> dict[str, str]:
    """Say where it came from; what goes at once needs none, as nobody looks for it later."""
    return {"entity": str(item.entity), "origin": item.location.path, "reason": item.reason}


def _take_down_failure(item: Item, error: str, outcomes: Outcomes, tools: Tools) -> Item:
    """Leave the run orphaned, to be tried again with growing pauses; tell what is new."""
    known = tools.ledger.known.get(item.entity.id)
    attempts, told = (known.attempts, known.kept) if known else (0, None)
    tools.ledger.known.postpone(item.entity.id, error, tools.retry_s(attempts + 1))
    failed = replace(item, state=ItemState.ABANDONED, error=error)
    event = event_of(EventKind.FAILED, failed, tools, error) if error != told else None
    outcomes.add(failed, event)
    return failed


def _item(step: Quarantine, tools: Tools) -> Item:
    candidate = step.candidate
    if not isinstance(candidate.place, Location):
        raise TypeError("only what has a place under a root can be garbage")
    return Item(
        id=new_item_id(),
        entity=candidate.entity,
        location=candidate.place,
        state=ItemState.QUARANTINING,
        reason=step.verdict.reason.value,
        name=candidate.name,
        experiment_id=candidate.experiment_id,
        deleted_at=candidate.deleted_at,
        quarantined_at=tools.now.at,
        quarantined_s=tools.now.aged_s,
    )
