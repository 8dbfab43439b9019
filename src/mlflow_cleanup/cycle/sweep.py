"""The acting half of a full cycle: a plan's steps, each looked at again, each by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from mlflow_cleanup.act.purge import purge
from mlflow_cleanup.act.quarantine import Taken, quarantine
from mlflow_cleanup.act.recover import recover
from mlflow_cleanup.act.tools import Tools
from mlflow_cleanup.cycle.survey import list_roots, survey
from mlflow_cleanup.cycle.turn import Cycle
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.decide.margins import FAILURES_IN_A_ROW, PLAN_GOOD_FOR
from mlflow_cleanup.errors import CleanupError, PlanOutdated, SweepRefused
from mlflow_cleanup.ledger.known import KnownRun, RunState
from mlflow_cleanup.model.item import ItemState, Size
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.plan import Judged, Quarantine, Step, StepResult, SweepPlan, Terms
from mlflow_cleanup.model.verdict import Candidate, Garbage, Gone, Keep, Kept, Verdict
from mlflow_cleanup.observe.listing import take_inventory

OnStep = Callable[[Step], None]


def require_current(workplace: Workplace, plan: SweepPlan, now: datetime) -> None:
    """Raise PlanOutdated for a plan that is old, another database's, or carried out already."""
    found = workplace.tracking.identity()
    if plan.database != workplace.settings.database or not plan.identity.is_same_as(found):
        raise PlanOutdated(plan.id, f"it was made for the database {plan.database}")
    if now - plan.made_at > PLAN_GOOD_FOR or plan.made_at > now:
        raise PlanOutdated(plan.id, f"it was made at {plan.made_at.isoformat()}")
    if workplace.ledger.plans.is_done(plan.id):
        raise PlanOutdated(plan.id, "it was carried out already")


def carry_out(
    cycle: Cycle, workplace: Workplace, plan: SweepPlan, on_step: OnStep = lambda _: None
) -> list[Step]:
    """Carry out a plan once; raises SweepRefused and what a cycle raises.

    Stopped in the middle, it goes on where it stopped when it is carried out again.
    """
    ledger = workplace.ledger
    _require_confirmed(workplace, plan)
    tools = cycle.prepare()
    recover(tools)
    _make_known(plan, tools)
    ledger.plans.begin(plan.id, tools.now.at)
    steps = []
    for step in _steps(plan, _cautious(plan, tools)):
        steps.append(step)
        on_step(step)
    if tools.keep_going():
        with ledger.transaction():
            ledger.plans.end(plan.id)
            if plan.refusal is not None:
                ledger.brakes.settle()
    return steps


def look(workplace: Workplace) -> SweepPlan:
    """List every root, then read all claims, and judge; changes nothing."""
    inventories = list_roots(workplace, workplace.unhurried)
    now = workplace.ledger.peek(workplace.clock())
    return survey(workplace, inventories, workplace.settings.terms, now)


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
    cycle: Cycle, workplace: Workplace, on_plan: Callable[[SweepPlan], OnStep]
) -> tuple[SweepPlan, list[Step]]:
    """Do a whole full cycle, and an ordinary one after it.

    What was unclaimed in it is remembered for the next, whatever became of the rest.
    """
    plan = look(workplace)
    now = workplace.ledger.now(workplace.clock())
    try:
        steps = carry_out(cycle, workplace, plan, on_plan(plan))
    finally:
        workplace.ledger.sightings.note(plan.unclaimed, now.aged_s)
    cycle.run()
    return plan, steps


def _make_known(plan: SweepPlan, tools: Tools) -> None:
    """Take down deleted runs that no cycle has seen yet: what becomes of them is remembered."""
    known = tools.ledger.known.ids(*RunState)
    left = (item.candidate for item in plan.take if item.candidate.gone is Gone.DELETED)
    tools.ledger.known.learn(
        KnownRun(one.entity.id, RunState.ORPHANED, one.experiment_id, None)
        for one in left
        if one.entity.id not in known
    )


def _require_confirmed(workplace: Workplace, plan: SweepPlan) -> None:
    refusal = plan.refusal
    if refusal is not None and not workplace.ledger.brakes.is_confirmed(refusal.plan_id):
        workplace.ledger.brakes.refuse(refusal.plan_id)
        raise SweepRefused(refusal.plan_id, refusal.reason)


def _cautious(plan: SweepPlan, tools: Tools) -> Tools:
    """Look at an orphan's files again as well: what was written to meanwhile is in use."""
    planned = {item.place: item.newest for item in plan.take}

    def judge(candidate: Candidate) -> Verdict:
        place, verdict = candidate.place, tools.judge(candidate)
        if candidate.gone is not Gone.ORPHAN or not isinstance(verdict, Garbage):
            return verdict
        if not isinstance(place, Location):
            return verdict
        try:
            newest, before = tools.store_of(place.root).newest_write(place), planned.get(place)
        except (CleanupError, OSError) as error:
            return Keep(Kept.UNREACHABLE, str(error))  # unreadable: it may have been written to
        if newest is not None and (before is None or newest > before):
            return Keep(Kept.TOO_YOUNG)
        return verdict

    return replace(tools, judge=judge)


def _steps(plan: SweepPlan, tools: Tools) -> Iterator[Step]:
    failing: Counter[str] = Counter()
    waiting = {item.place: item for item in plan.take}
    for root in dict.fromkeys(item.place.root for item in plan.take):
        here = [item for item in plan.take if item.place.root == root]
        steps = [
            Quarantine(item.candidate, item.verdict)
            for item in here
            if isinstance(item.verdict, Garbage)
        ]
        for taken in quarantine(steps, tools):
            judged = waiting.pop(_place_of(taken))
            failing[root] = failing[root] + 1 if taken.failed else 0
            yield _step_of(taken, judged, tools)
            if failing[root] >= FAILURES_IN_A_ROW:
                break
        if failing[root] >= FAILURES_IN_A_ROW:
            left = [item for item in here if item.place in waiting]
            yield from (Step(item, StepResult.FAILED, Kept.FAILING.value) for item in left)
    for shell in plan.empty:
        if not tools.keep_going():
            return
        yield _remove_shell(shell, tools)


def _place_of(taken: Taken) -> Location:
    return taken.item.location


def _step_of(taken: Taken, judged: Judged, tools: Tools) -> Step:
    if taken.failed:
        return Step(judged, StepResult.FAILED, taken.failed)
    if taken.skipped:
        return Step(judged, StepResult.SKIPPED, taken.skipped)
    item = taken.item
    if tools.retention:
        return Step(judged, StepResult.QUARANTINED, size=item.size or judged.size)
    before = tools.ledger.items.freed_of(item.id)
    after = purge([item], tools)
    freed = tools.ledger.items.freed_of(item.id)
    size = Size(freed.files - before.files, freed.bytes - before.bytes)
    if after and after[0].state is ItemState.PURGED:
        return Step(judged, StepResult.PURGED, size=size)
    return Step(judged, StepResult.FAILED, after[0].error or "" if after else "", size)


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
    except CleanupError as error:
        return Step(shell, StepResult.FAILED, str(error))
    if not is_gone:
        return Step(shell, StepResult.SKIPPED, "it is not empty any more, or not there")
    return Step(shell, StepResult.REMOVED)
