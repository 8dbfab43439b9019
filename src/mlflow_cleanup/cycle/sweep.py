"""The acting half of a full cycle: a plan's steps, each looked at again, each by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from mlflow_cleanup.act.purge import purge
from mlflow_cleanup.act.quarantine import BATCH, Taken, quarantine
from mlflow_cleanup.act.tools import Tools
from mlflow_cleanup.cycle.candidates import still_at_work
from mlflow_cleanup.cycle.caution import cautious
from mlflow_cleanup.cycle.survey import list_roots, survey
from mlflow_cleanup.cycle.turn import Cycle
from mlflow_cleanup.cycle.uploads import give_up_forgotten
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.decide.margins import FAILURES_IN_A_ROW, PLAN_GOOD_FOR
from mlflow_cleanup.errors import (
    CleanupError,
    ForeignOwner,
    LedgerUnwritable,
    NoRoot,
    PlanBrokenOff,
    PlanOutdated,
    SweepRefused,
)
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import Item, ItemState, Size
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.plan import Judged, Quarantine, Step, StepResult, SweepPlan, Terms
from mlflow_cleanup.model.verdict import Garbage, Gone, Kept
from mlflow_cleanup.observe.listing import take_inventory
from mlflow_cleanup.report.plans import require_distinct

Follow = Callable[[Step], bool]
"""Told of each step as it was done; answers whether the rest is wanted still."""


def _all(_: Step) -> bool:
    return True


def require_current(workplace: Workplace, plan: SweepPlan, now: datetime) -> None:
    """Raise PlanOutdated for a plan that is old, another database's, or carried out already."""
    found = workplace.tracking.identity()
    if plan.database != workplace.settings.database.name or not plan.identity.is_same_as(found):
        raise PlanOutdated(plan.id, f"it was made for the database {plan.database}")
    if now - plan.made_at > PLAN_GOOD_FOR or plan.made_at > now:
        raise PlanOutdated(plan.id, f"it was made at {plan.made_at.isoformat()}")
    if workplace.ledger.plans.is_done(plan.stamp):
        raise PlanOutdated(plan.id, "it was carried out already")


def require_same(plan: SweepPlan, plan_id: str) -> None:
    """Raise PlanOutdated unless what would be done now is what was shown under this id."""
    if plan.id != plan_id:
        raise PlanOutdated(
            plan_id,
            f"what would be done now is another plan, {plan.id}: something changed since, or it "
            "was made with other options",
        )


def carry_out(
    cycle: Cycle,
    workplace: Workplace,
    plan: SweepPlan,
    follow: Follow = _all,
    *,
    purges: bool = True,
) -> list[Step]:
    """Carry out a plan once; raises SweepRefused, PlanBrokenOff and what a cycle raises.

    Stopped in the middle, it goes on where it stopped when it is carried out again. With retention
    0 what is taken is purged in the same step, unless somebody else `purges` it soon. What was
    unclaimed is remembered for the next full cycle, also where the plan is refused as too large.
    """
    require_distinct(plan)
    ledger, tools = workplace.ledger, cycle.prepare()
    ledger.sightings.note(plan.unclaimed, tools.now, plan.made_at)
    _require_confirmed(workplace, plan, tools.now.at)
    ledger.plans.begin(plan.stamp, tools.now.at)
    steps: list[Step] = []
    is_wanted = True

    def keep_going() -> bool:
        return is_wanted and tools.keep_going()

    course = replace(cautious(plan, tools, workplace), keep_going=keep_going, unhurried=keep_going)
    marked = _marked(plan, workplace, tools.now)
    try:
        for step in _steps(marked, course, purges=purges and not tools.retention):
            steps.append(step)
            is_wanted = follow(step) and is_wanted
    except CleanupError as error:
        raise PlanBrokenOff(plan.id, len(steps), len(plan.steps), _why(error)) from error
    if keep_going():
        give_up_forgotten(workplace, tools.now, keep_going)
        ledger.plans.end(plan.stamp)
        ledger.brakes.settle()
    return steps


def look(workplace: Workplace, *, leaves_backlog: bool = False) -> SweepPlan:
    """List every root, then read all claims, and judge; changes nothing.

    `leaves_backlog`: runs that had been deleted before the very first start are left alone.
    """
    inventories = list_roots(workplace, workplace.unhurried)
    now = workplace.ledger.peek(workplace.clock())
    terms = workplace.settings.terms
    return survey(workplace, inventories, terms, now, leaves_backlog=leaves_backlog)


def known_and_unknown(workplace: Workplace, root: str) -> tuple[int, int, Size]:
    """Count a root's places that this database uses, and those that it does not know.

    Whatever the root's marker says: asked before it is adopted.
    """
    inventory = take_inventory(root, workplace.store_of(root).listing(None, workplace.unhurried))
    now = workplace.ledger.peek(workplace.clock())
    plan = survey(workplace, (inventory,), Terms(), now)
    unknown = [item for item in (*plan.take, *plan.keep) if item.candidate.gone is Gone.ORPHAN]
    size = sum((item.size or Size() for item in unknown), Size())
    return plan.roots[0].live_places, len(unknown), size


def full_cycle(
    cycle: Cycle, workplace: Workplace, on_plan: Callable[[SweepPlan], Follow]
) -> tuple[SweepPlan, list[Step]]:
    """Do a whole full cycle after an ordinary one that takes nothing: the plan shows what goes."""
    cycle.run(takes=False)
    plan = look(workplace)
    return plan, carry_out(cycle, workplace, plan, on_plan(plan))


def _require_confirmed(workplace: Workplace, plan: SweepPlan, now: datetime) -> None:
    refusal, brakes = plan.refusal, workplace.ledger.brakes
    if refusal is None or brakes.is_confirmed(refusal.plan_id):
        return
    if brakes.refuse(refusal, now):
        told = Event(EventKind.BRAKED, now, detail=refusal.reason, item_id=refusal.plan_id)
        workplace.ledger.history.add([told])
        workplace.tell(told)
    raise SweepRefused(refusal.plan_id, refusal.reason)


def _why(error: CleanupError) -> str:
    """Say what ended a plan; that nothing was moved, as a ledger's trouble has it, is not so."""
    if isinstance(error, LedgerUnwritable):
        return f"the ledger {error.path} cannot be written ({error.detail})"
    return str(error)


def _marked(plan: SweepPlan, workplace: Workplace, now: Moment) -> SweepPlan:
    """Mark the runs that may still be written to: a plan may be older, or not know of it."""
    writing = still_at_work((item.candidate for item in plan.take), workplace, now)
    take = (
        replace(item, candidate=replace(item.candidate, still_writing=item.candidate in writing))
        for item in plan.take
    )
    return replace(plan, take=tuple(take))


def _steps(plan: SweepPlan, tools: Tools, *, purges: bool) -> Iterator[Step]:
    yield from take_places(plan.take, tools, purges=purges)
    for shell in plan.empty:
        if not tools.keep_going():
            return
        yield _remove_shell(shell, tools)


def take_places(judged: Sequence[Judged], tools: Tools, *, purges: bool) -> Iterator[Step]:
    """Take garbage out of use, batch by batch and root by root; `purges`: for good at once.

    A root where too many fail in a row is left, with a step that says so for each that waits.
    """
    for root in dict.fromkeys(item.place.root for item in judged):
        here = [item for item in judged if item.place.root == root]
        failing = most = done = 0
        while done < len(here) and most < FAILURES_IN_A_ROW and tools.keep_going():
            batch = here[done : done + BATCH]
            for step in _take_batch(batch, tools, purges=purges):
                failing = failing + 1 if step.result is StepResult.FAILED else 0
                most, done = max(most, failing), done + 1
                yield step
        if most >= FAILURES_IN_A_ROW:
            yield from (Step(item, StepResult.FAILED, Kept.FAILING.value) for item in here[done:])


def _take_batch(batch: Sequence[Judged], tools: Tools, *, purges: bool) -> list[Step]:
    steps = [
        Quarantine(item.candidate, item.verdict)
        for item in batch
        if isinstance(item.verdict, Garbage)
    ]
    waiting = {item.place: item for item in batch}
    taken = list(quarantine(steps, tools))
    purged = _purge_taken(taken, tools) if purges else {}
    return [_step_of(one, waiting[one.item.location], purged, tools) for one in taken]


def _purge_taken(taken: Iterable[Taken], tools: Tools) -> dict[str, Item]:
    """Purge what was taken just now; returns the items in their new states, by their ids."""
    items = [one.item for one in taken if one.item.state is ItemState.QUARANTINED]
    return {item.id: item for item in purge(items, tools)}


def _step_of(taken: Taken, judged: Judged, purged: Mapping[str, Item], tools: Tools) -> Step:
    if taken.failed:
        return Step(judged, StepResult.FAILED, taken.failed)
    if taken.not_ours:
        return Step(judged, StepResult.NOT_OURS, taken.not_ours)
    if taken.skipped:
        return Step(judged, StepResult.SKIPPED, taken.skipped)
    item = purged.get(taken.item.id)
    if item is None:
        return Step(judged, StepResult.QUARANTINED, size=taken.item.size or judged.size)
    size = tools.ledger.items.freed_of(item.id)
    if item.state is ItemState.PURGED:
        return Step(judged, StepResult.PURGED, size=size)
    if item.state is ItemState.RESTORED:
        return Step(judged, StepResult.SKIPPED, "somebody wanted it again")
    return Step(judged, StepResult.FAILED, item.error or "", size)


def _remove_shell(shell: Judged, tools: Tools) -> Step:
    place = shell.place
    inside = Location(place.root, (*place.inside, "artifacts"))
    try:
        tools.refresh()
        verdict = tools.judge(replace(shell.candidate, place=inside))
        if not isinstance(verdict, Garbage):
            return Step(shell, StepResult.SKIPPED, str(verdict))
        store = tools.store_of(place.root)
        store.check()
        is_gone = store.remove_empty(place)
    except (NoRoot, ForeignOwner) as error:
        return Step(shell, StepResult.NOT_OURS, str(error))
    except CleanupError as error:
        return Step(shell, StepResult.FAILED, str(error))
    if not is_gone:
        return Step(shell, StepResult.SKIPPED, "it is not empty any more, or not there")
    return Step(shell, StepResult.REMOVED)
