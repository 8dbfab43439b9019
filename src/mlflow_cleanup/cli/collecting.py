"""Carrying out a collection: with the lease, or beside the monitor that holds it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from mlflow_cleanup.act.purge import purge
from mlflow_cleanup.act.tools import Tools
from mlflow_cleanup.cli.by_hand import by_the_holder
from mlflow_cleanup.cli.full import reading, seldom_collected, stopping
from mlflow_cleanup.cli.saying import say
from mlflow_cleanup.config import Settings
from mlflow_cleanup.cycle import Cycle, Workplace
from mlflow_cleanup.cycle.collection import Collection, Take, look_only
from mlflow_cleanup.cycle.holding import lease_of
from mlflow_cleanup.cycle.requests import APPLY, PURGE
from mlflow_cleanup.cycle.selection import Selected
from mlflow_cleanup.cycle.sweep import take_places
from mlflow_cleanup.decide.retention import is_due
from mlflow_cleanup.errors import BadUsage, DatabaseBusy, LeaseHeld
from mlflow_cleanup.ledger.items import HELD, OPEN
from mlflow_cleanup.ledger.lease import MONITOR, current_holder
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.ledger.requests import Progress
from mlflow_cleanup.model.collected import Fate
from mlflow_cleanup.model.deleted import Selection
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import Item, ItemState, Size
from mlflow_cleanup.model.plan import Judged, Step, StepResult, SweepPlan, digest_of
from mlflow_cleanup.report.collected import Tally, removed_text
from mlflow_cleanup.report.plans import plan_values
from mlflow_cleanup.report.text import length_text


@dataclass(slots=True)
class Hands:
    """A collection that is ready to be carried out, and who takes the bytes."""

    collection: Collection
    take: Take
    workplace: Workplace
    holds_lease: bool

    def remember(self, tally: Tally) -> None:
        """Enter into the history what was removed of MLflow's rows."""
        if not tally.of(Fate.REMOVED):
            return
        ledger = self.workplace.ledger
        now = ledger.peek(self.workplace.clock()).at
        ledger.history.add([Event(EventKind.COLLECTED, now, detail=removed_text(tally))])
        if self.holds_lease:
            # An experiment by which the database was recognised may be among them.
            ledger.set_identity(self.workplace.tracking.identity())


@contextmanager
def hands(settings: Settings, selection: Selection, tally: Tally) -> Iterator[Hands]:
    """Make ready, here or beside a monitor; Ctrl-C finishes the step in hand.

    Raises BadSelection, LeaseHeld and what a cycle raises.
    """
    holder = current_holder(settings.home)
    if holder is not None and holder.what != MONITOR:
        raise LeaseHeld(str(holder), str(settings.home))
    _check(settings, selection)
    with stopping() as stop, seldom_collected():
        if holder is None:
            with lease_of(settings, "mlflow-cleanup gc") as lease:
                ledger = Ledger.open(settings.home, lease.fence)
                workplace = Workplace(settings, ledger, stop=stop, still_ours=lease.verify)
                try:
                    yield here(workplace, selection, tally)
                finally:
                    workplace.close()
            return
        workplace = Workplace(settings, Ledger.open(settings.home), stop=stop)
        try:
            yield _there(workplace, selection, tally, str(holder))
        finally:
            workplace.close()


def _check(settings: Settings, selection: Selection) -> None:
    """Refuse ids that may not be removed before anything at all is touched."""
    if selection.targets or selection.workspace is not None:
        with reading(settings) as workplace:
            Selected(workplace, selection, workplace.ledger.peek(workplace.clock()))


def here(workplace: Workplace, selection: Selection, tally: Tally) -> Hands:
    """Make ready for the holder of the lease, and give back what is wanted again."""
    cycle = Cycle(workplace)
    sight, tools = cycle.learn()
    cycle.give_back(sight, tools)
    workplace.check_roots()  # their markers name experiments that stay, whatever goes
    selected = Selected(workplace, selection, tools.now)
    course = replace(tools, unhurried=tools.keep_going)

    def take(judged: Sequence[Judged], ids: Sequence[str]) -> Iterable[Step]:
        for step in take_places(judged, course, purges=not course.retention):
            if step.result is StepResult.PURGED and step.size:
                tally.freed += step.size
            yield step
        tally.freed += _purge_due(ids, course)

    collection = Collection(workplace, sight, selected, busy=_say_busy)
    return Hands(collection, take, workplace, holds_lease=True)


def _purge_due(ids: Sequence[str], tools: Tools) -> Size:
    """Purge what the trash holds of entities, as far as its time has come."""
    items, freed = tools.ledger.items, Size()
    due = [item for item in items.of(ids, *HELD) if is_due(item, tools.retention, tools.now.aged_s)]
    before = sum((items.freed_of(item.id) for item in due), Size())
    purge(due, tools)
    for item in due:
        freed += items.freed_of(item.id)
    return Size(freed.files - before.files, freed.bytes - before.bytes)


def _there(workplace: Workplace, selection: Selection, tally: Tally, holder: str) -> Hands:
    retention, home = workplace.settings.retention, workplace.settings.home
    _require_as_long(workplace, retention)

    def is_wanted(_: Progress | None = None) -> bool:
        return not workplace.stop.is_set()

    def have_taken(judged: Sequence[Judged]) -> Iterator[Step]:
        plan = plan_values(_plan(workplace, judged))
        done = by_the_holder(home, (APPLY, [json.dumps(plan)]), holder, is_wanted)
        return _steps(done["steps"], judged)

    def take(judged: Sequence[Judged], ids: Sequence[str]) -> Iterable[Step]:
        if judged:
            yield from have_taken(judged)
        items = workplace.ledger.items
        if items.of(ids, *OPEN):
            have_taken(())  # what the monitor has in hand by itself is settled when it answers
        now = workplace.ledger.peek(workplace.clock())
        due = [item for item in items.of(ids, *HELD) if is_due(item, retention, now.aged_s)]
        if due and is_wanted():
            by_the_holder(home, (PURGE, [item.id for item in due]), holder)
            tally.freed += _freed(workplace, due)

    # Whatever makes the monitor refuse a plan forbids to remove rows as well. Asked for one, it
    # also learns the experiments by which it is to recognise the database when others are gone.
    have_taken(())
    sight = look_only(workplace)
    selected = Selected(workplace, selection, sight.now)
    collection = Collection(workplace, sight, selected, busy=_say_busy)
    return Hands(collection, take, workplace, holds_lease=False)


def _say_busy(_: DatabaseBusy) -> None:
    say("others have the tracking database locked; waiting for a turn")


def _require_as_long(workplace: Workplace, retention: timedelta) -> None:
    """Raise BadUsage where the monitor would purge earlier than was asked for."""
    theirs = timedelta(seconds=(workplace.ledger.watching or {}).get("retention_s", 0.0))
    if retention > theirs:
        raise BadUsage(
            f"the monitor that runs purges after {length_text(theirs)}, which is sooner than "
            f"--retention {length_text(retention)}; nothing was removed"
        )


def _plan(workplace: Workplace, judged: Sequence[Judged]) -> SweepPlan:
    """Make a plan for the monitor of what was judged here; it judges again, item by item."""
    return SweepPlan(
        id=digest_of(None, judged),
        made_at=workplace.ledger.peek(workplace.clock()).at,
        database=workplace.settings.database.name,
        identity=workplace.tracking.identity(),
        take=tuple(judged),
    )


def _steps(told: Iterable[dict[str, Any]], judged: Iterable[Judged]) -> Iterator[Step]:
    """Read what became of places; they were taken root by root, in an order of its own."""
    by_path = {one.place.path: one for one in judged}
    for one in told:
        yield Step(by_path[one["path"]], StepResult(one["result"]), one["detail"])


def _freed(workplace: Workplace, items: Iterable[Item]) -> Size:
    now = {item.id: item for item in workplace.ledger.items.in_state(ItemState.PURGED)}
    found = [item.id for item in items if item.id in now]
    return sum((workplace.ledger.items.freed_of(id_) for id_ in found), Size())
