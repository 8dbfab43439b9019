"""When quarantined bytes may go for good."""

from __future__ import annotations

from datetime import timedelta

from mlflow_cleanup.decide.margins import RETRY_FIRST, RETRY_LONGEST
from mlflow_cleanup.model.item import Item, ItemState


def is_due(item: Item, retention: timedelta, aged_s: float) -> bool:
    """Tell whether an item's retention has passed, and the pause after a failed attempt with it.

    Counted in ledger time from the recorded moment of quarantine. A purge that was begun is due
    whatever the retention is now, as its bytes are partly gone.
    """
    if item.state not in (ItemState.QUARANTINED, ItemState.PURGING):
        return False
    return due_in_s(item, retention, aged_s) <= 0


def due_in_s(item: Item, retention: timedelta, aged_s: float) -> float:
    """Say in how many seconds a quarantined or half-purged item falls due; 0 or less: it is due."""
    if item.state is ItemState.PURGING:
        return item.retry_s - aged_s
    over_s = item.quarantined_s + retention.total_seconds()
    return max(over_s, item.retry_s) - aged_s


def pause_after(attempts: int) -> timedelta:
    """Say how long to wait after the given number of failed attempts (1 or more)."""
    doubled: timedelta = RETRY_FIRST * 2 ** min(attempts - 1, 30)
    return min(doubled, RETRY_LONGEST)
