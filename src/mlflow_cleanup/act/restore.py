"""Putting quarantined bytes back where they came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mlflow_cleanup.act.tools import Outcomes, Tools, event_of
from mlflow_cleanup.errors import CleanupError, StoreUnreachable
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import Held, Item, ItemState
from mlflow_cleanup.model.verdict import Kept

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
    intent = replace(item, state=ItemState.RESTORING, by_hand=by_hand)
    tools.ledger.items.put([intent], tools.now.aged_s)
    try:
        store = tools.store_of(item.location.root)
        store.check()
        presence = store.find(item)
        result = store.restore(item)
    except (CleanupError, OSError) as error:
        # Still in the trash. As an intent it is taken up again by the next cycle.
        waiting = replace(intent, error=str(error), attempts=item.attempts + 1)
        is_news = item.error != str(error) and not isinstance(error, StoreUnreachable)
        outcomes.add(
            waiting, event_of(EventKind.FAILED, item, tools, str(error)) if is_news else None
        )
        return waiting
    if result.collisions:
        return _collided(intent, result.collisions, outcomes, tools)
    done = replace(intent, state=ItemState.RESTORED, error=None)
    kind = EventKind.RESTORED
    detail = item.location.path
    if item.state is ItemState.PURGING and item.attempts:
        kind, detail = EventKind.LOST, "its purge had begun; what was left of it is back"
    elif item.held is Held.TRASH and not presence.in_trash and item.state not in _RESUMABLE:
        kind, detail = EventKind.LOST, "the trash no longer holds its files"
    outcomes.add(done, event_of(kind, done, tools, detail), _state_after(done, tools))
    return done


_RESUMABLE = (ItemState.RESTORING, ItemState.QUARANTINING)
"""States in which a crash may have left the bytes at home already."""


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
