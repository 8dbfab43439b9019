"""What acting needs in hand, given by the cycle: never more than this."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import Item, Size
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.verdict import Candidate, Keep, Verdict
from mlflow_cleanup.stores.base import ArtifactStore, KeepGoing


@dataclass(frozen=True, slots=True)
class Tools:
    """Ledger, stores, the moment of the cycle's beginning, and ways to look again.

    `moment` reads the clocks anew: retention counts from the move itself, however late it came.

    `refresh` reads the tracking database again if it changed; `judge` and `wanted` answer from what
    was read last: a candidate's verdict, and why an item is wanted back (None: it is not).
    `keep_going` is False when we are to stop, `unhurried` also when something more urgent came in.
    """

    ledger: Ledger
    store_of: Callable[[str], ArtifactStore]
    now: Moment
    moment: Callable[[], Moment]
    retention: timedelta
    refresh: Callable[[], None]
    judge: Callable[[Candidate], Verdict]
    wanted: Callable[[Item], Keep | None]
    keep_going: KeepGoing
    unhurried: KeepGoing
    tell: Callable[[Event], None]
    pause_after: Callable[[int], timedelta]

    def retry_s(self, attempts: int) -> float:
        """Say before which ledger time something that failed so often is not tried again."""
        return self.now.aged_s + self.pause_after(attempts).total_seconds()


@dataclass(slots=True)
class Outcomes:
    """The outcomes of one batch: entered into the ledger at once, then told."""

    tools: Tools
    items: list[Item] = field(default_factory=list)
    states: dict[str, RunState] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def add(self, item: Item, event: Event | None, state: RunState | None = None) -> None:
        """Take down an item's new state, what to say of it, and what its run counts as now."""
        self.items.append(item)
        if event is not None:
            self.events.append(event)
        if state is not None:
            self.states[item.entity.id] = state

    def settle(self) -> None:
        """Make everything durable, then tell it."""
        ledger = self.tools.ledger
        if not (self.items or self.states or self.events):
            return
        with ledger.transaction():
            ledger.items.put(self.items, self.tools.now.aged_s)
            ledger.known.move(self.states)
            ledger.history.add(self.events)
        for event in self.events:
            self.tools.tell(event)
        self.items, self.states, self.events = [], {}, []


def event_of(
    kind: EventKind, item: Item, tools: Tools, detail: str = "", size: Size | None = None
) -> Event:
    """Say what happened to an item."""
    due = None
    if kind is EventKind.QUARANTINED:
        due = tools.now.due_at(item.quarantined_s, tools.retention)
    return Event(
        kind=kind,
        at=tools.now.at,
        entity=item.entity,
        name=item.name,
        detail=detail or item.held.value,
        size=size if size is not None else item.size,
        due_at=due,
        item_id=item.id,
    )


def new_item_id() -> str:
    """Make an id that is also a directory's name."""
    return secrets.token_hex(8)
