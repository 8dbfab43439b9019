"""Putting quarantined bytes back where they came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mlflow_cleanup.act.tools import Outcomes, Tools, event_of
from mlflow_cleanup.errors import (
    CleanupError,
    LeaseLost,
    LedgerUnwritable,
    NoRoot,
    StoreUnreachable,
)
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import Held, Item, ItemState
from mlflow_cleanup.model.verdict import Kept
from mlflow_cleanup.stores.base import Presence

_SHOWN = 5


def restore(items: Iterable[Item], tools: Tools, *, by_hand: bool = False) -> list[Item]:
    """Give items back, in the given order; returns them in their new states.

    By hand, a run that is still deleted in MLflow is left alone from then on.
    """
    restored = []
    for item in items:
        outcomes = Outcomes(tools)
        restored.append(put_back(item, outcomes, tools, by_hand=by_hand))
        outcomes.settle()
    return restored


def put_back(item: Item, outcomes: Outcomes, tools: Tools, *, by_hand: bool = False) -> Item:
    """Give one item back: the intent is durable before, the outcome is added to `outcomes`."""
    intent = replace(
        item,
        state=ItemState.RESTORING,
        by_hand=by_hand,
        attempts=item.attempts if _may_be_half_purged(item) else 0,
    )
    tools.ledger.items.put([intent], tools.now.aged_s)
    try:
        store = tools.store_of(item.location.root)
        store.check()
        presence = store.find(item)
        tools.ledger.require_held()
        result = store.restore(item)
    except (LeaseLost, LedgerUnwritable):
        raise  # there is nothing that could be taken down
    except (CleanupError, OSError) as error:
        # Still in the trash. As an intent it is taken up again by the next cycle.
        waiting = replace(intent, error=str(error))
        is_told = isinstance(error, StoreUnreachable) and not isinstance(error, NoRoot)
        is_news = item.error != str(error) and not is_told
        outcomes.add(
            waiting, event_of(EventKind.FAILED, item, tools, str(error)) if is_news else None
        )
        return waiting
    if result.collisions:
        return _collided(intent, result.collisions, outcomes, tools)
    done = replace(intent, state=ItemState.RESTORED, error=None)
    loss = _loss(item, intent, presence, tools)
    kind = EventKind.LOST if loss else EventKind.RESTORED
    outcomes.add(
        done, event_of(kind, done, tools, loss or item.location.path), _state_after(done, tools)
    )
    return done


_RESUMABLE = (ItemState.RESTORING, ItemState.QUARANTINING, ItemState.CONFLICT)
"""States in which a crash may have left the bytes at home already."""


def _may_be_half_purged(item: Item) -> bool:
    """Tell whether a purge was cut off before its outcome was taken down."""
    if item.state is ItemState.RESTORING:
        return item.attempts > 0
    return item.state is ItemState.PURGING and item.error is None


def _loss(item: Item, intent: Item, presence: Presence, tools: Tools) -> str | None:
    """Say what cannot be given back, as far as looking and the ledger's account tell."""
    purged = tools.ledger.items.freed_of(item.id)
    if purged.files:
        return f"{purged.files} file(s) had been purged already; what was left of it is back"
    if intent.attempts:
        return "its purge had begun; look whether all of its files are back"
    if item.held is Held.IN_PLACE:
        return None if presence.at_origin else "its files were held in place and are not there"
    if presence.in_trash:
        return None
    if presence.at_origin and item.state in _RESUMABLE:
        return None
    return "the trash no longer holds its files"


def _state_after(item: Item, tools: Tools) -> RunState:
    """Say what an item's run counts as when its files are back."""
    wanted = tools.wanted(item)
    if wanted is not None and wanted.reason is Kept.ACTIVE:
        return RunState.ACTIVE
    return RunState.RELEASED if item.by_hand else RunState.ORPHANED


def _collided(item: Item, collisions: tuple[str, ...], outcomes: Outcomes, tools: Tools) -> Item:
    shown = ", ".join(collisions[:_SHOWN]) + (" …" if len(collisions) > _SHOWN else "")
    detail = (
        f"{len(collisions)} path(s) lie at the origin already and were not overwritten: {shown}"
    )
    rest = replace(item, state=ItemState.CONFLICT, error=detail, size=None)
    outcomes.add(rest, event_of(EventKind.CONFLICT, rest, tools, detail), _state_after(item, tools))
    return rest
