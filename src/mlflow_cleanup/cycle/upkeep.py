"""What is looked after between changes: late writes, sizes not measured yet, the backlog."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from mlflow_cleanup.cycle import candidates
from mlflow_cleanup.cycle.sight import Sight
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.decide.margins import LATE_WRITES_WATCHED
from mlflow_cleanup.errors import CleanupError
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import Held, Item, ItemState, Size
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.objects import is_object
from mlflow_cleanup.model.verdict import Garbage


def find_late_writes(workplace: Workplace, sight: Sight) -> None:
    """Find places that were dealt with and have files again: their runs are orphaned once more."""
    ledger, pauses = workplace.ledger, workplace.pauses
    since_s = sight.now.aged_s - LATE_WRITES_WATCHED.total_seconds()
    gone = ledger.known.ids(RunState.GONE)
    again = set()
    for item in ledger.items.settled_since(since_s):
        is_away = item.held is not Held.IN_PLACE or item.state is not ItemState.QUARANTINED
        if not is_away or item.entity.id not in gone or item.location.root in sight.unreachable:
            continue
        if is_object(item.location.root) and not pauses.is_over(item.id, sight.now.aged_s):
            continue  # each look is a request, which costs
        try:
            if workplace.store_of(item.location.root).exists(item.location):
                again.add(item.entity.id)
        except (CleanupError, OSError):
            continue  # cannot be looked at just now: next time
    ledger.known.move(dict.fromkeys(again, RunState.ORPHANED))


def written_to_since_held(items: Iterable[Item], workplace: Workplace) -> tuple[Item, ...]:
    """Find what lies where it always was, and was written to since it was taken out of use.

    What came late is as new as what lies beside a place that was moved away: all of it is held
    anew. By the store's own clock: one that runs ahead only makes it wait once more.
    """
    if not workplace.settings.retention:
        return ()
    there = [item for item in items if item.held is Held.IN_PLACE and item.quarantined_at]
    return tuple(item for item in there if _was_written_to(item, workplace))


def _was_written_to(item: Item, workplace: Workplace) -> bool:
    if item.state is not ItemState.QUARANTINED or item.quarantined_at is None:
        return False  # its purge has begun already
    try:
        newest = workplace.store_of(item.location.root).newest_write(item.location)
    except (CleanupError, OSError):
        return False  # its purge meets the same, and tells of it
    return newest is not None and newest > item.quarantined_at.timestamp()


def measure_sizes(workplace: Workplace, now: Moment) -> None:
    """Measure what is in the trash and was too large to be measured at once."""
    ledger = workplace.ledger
    for item in ledger.items.in_state(ItemState.QUARANTINED):
        if item.size is None and workplace.unhurried():
            size = _size_of(workplace, item)
            if size is not None:
                ledger.items.put([replace(item, size=size)], now.aged_s)


def report_backlog(workplace: Workplace, sight: Sight) -> None:
    """Say once how many runs had been deleted before the first start, and what they hold."""
    ledger = workplace.ledger
    backlog = ledger.known.in_state(RunState.BACKLOG)
    if not backlog or ledger.fact("backlog") is not None:
        return
    total, count, sizes = Size(), 0, workplace.backlog_sizes
    for candidate in candidates.of(backlog, sight, workplace):
        if not isinstance(sight.judge(candidate), Garbage) or not isinstance(
            candidate.place, Location
        ):
            continue
        if candidate.place not in sizes:
            size = _size_of(workplace, candidate.place)
            if not workplace.unhurried():
                return  # something more urgent; the next upkeep goes on
            sizes[candidate.place] = size
        if (size := sizes[candidate.place]) is not None and size.files:
            total, count = total + size, count + 1
    event = Event(EventKind.BACKLOG, sight.now.at, detail=str(count), size=total)
    told = {"runs": count, "files": total.files, "bytes": total.bytes}
    with ledger.transaction():
        ledger.set_fact("backlog", json.dumps(told))
        ledger.history.add([event] if count else [])
    sizes.clear()
    if count:
        workplace.tell(event)


def _size_of(workplace: Workplace, what: Item | Location) -> Size | None:
    root = what.root if isinstance(what, Location) else what.location.root
    try:
        return workplace.store_of(root).measure(what, workplace.unhurried)
    except (CleanupError, OSError):
        return None  # unreadable: its size is told when it is purged
