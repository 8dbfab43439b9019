"""Taking places out of use: intent, look again, move, look again, outcome."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from mlflow_cleanup.act.restore import put_back
from mlflow_cleanup.act.tools import Outcomes, Tools, event_of, new_item_id
from mlflow_cleanup.errors import CleanupError, StoreUnreachable
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import Item, ItemState
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.plan import Quarantine
from mlflow_cleanup.model.verdict import Garbage

BATCH = 50
"""Steps between two looks at the database: some milliseconds of renames, so that what is judged is
never older than that, and the second look undoes what became wrong in between."""

MEASURE_S = 0.2
"""How long one batch may take to measure sizes before the next change is looked at."""


def quarantine(steps: Sequence[Quarantine], tools: Tools) -> None:
    """Carry out quarantine steps, batch by batch; one failure stops nothing."""
    for start in range(0, len(steps), BATCH):
        if not tools.keep_going():
            return
        _quarantine_batch(steps[start : start + BATCH], tools)


def _quarantine_batch(steps: Sequence[Quarantine], tools: Tools) -> None:
    intended = [(_item(step, tools), step) for step in steps]
    tools.ledger.items.put([item for item, _ in intended], tools.now.aged_s)
    tools.refresh()
    outcomes = Outcomes(tools)
    moved = []
    for item, step in intended:
        if not isinstance(tools.judge(step.candidate), Garbage):
            outcomes.add(replace(item, state=ItemState.ABANDONED), None)
            continue
        result = _move(item, outcomes, tools)
        if result is not None:
            moved.append(result)
    tools.refresh()
    ends = time.monotonic() + MEASURE_S
    for item in moved:
        if tools.wanted(item) is not None:
            put_back(item, outcomes, tools)
        else:
            sized = _measured(item, ends, tools)
            outcomes.add(sized, event_of(EventKind.QUARANTINED, sized, tools), RunState.GONE)
    outcomes.settle()


def _measured(item: Item, ends: float, tools: Tools) -> Item:
    """Measure what is out of sight now, as long as that delays nothing; else the upkeep does it."""
    store = tools.store_of(item.location.root)
    try:
        size = store.measure(item, lambda: tools.unhurried() and time.monotonic() < ends)
    except (CleanupError, OSError):
        return item  # unreadable: its size is told when it is purged
    return replace(item, size=size)


def _move(item: Item, outcomes: Outcomes, tools: Tools) -> Item | None:
    """Move one item away; what did not need to, or could not, is an outcome at once."""
    note = {"entity": str(item.entity), "origin": item.location.path, "reason": item.reason}
    try:
        store = tools.store_of(item.location.root)
        store.mark()
        held = store.quarantine(item.location, item.id, note)
    except StoreUnreachable as error:
        # Not seen is not gone: the run stays orphaned and is judged again when the root is back.
        outcomes.add(replace(item, state=ItemState.ABANDONED, error=str(error)), None)
        return None
    except (CleanupError, OSError) as error:
        _take_down_failure(item, str(error), outcomes, tools)
        return None
    if held is None:
        empty = replace(item, state=ItemState.ABANDONED)
        outcomes.add(empty, event_of(EventKind.EMPTY, empty, tools), RunState.GONE)
        return None
    moved = tools.moment()
    return replace(
        item,
        state=ItemState.QUARANTINED,
        held=held,
        quarantined_at=moved.at,
        quarantined_s=moved.aged_s,
    )


def _take_down_failure(item: Item, error: str, outcomes: Outcomes, tools: Tools) -> None:
    """Leave the run orphaned, to be tried again with growing pauses; tell what is new."""
    known = tools.ledger.known.get(item.entity.id)
    attempts, told = (known.attempts, known.kept) if known else (0, None)
    tools.ledger.known.postpone(item.entity.id, error, tools.retry_s(attempts + 1))
    failed = replace(item, state=ItemState.ABANDONED, error=error)
    event = event_of(EventKind.FAILED, failed, tools, error) if error != told else None
    outcomes.add(failed, event)


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
