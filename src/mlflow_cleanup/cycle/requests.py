"""What verbs ask for while a monitor holds the lease: done here, the outcome left in the ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from mlflow_cleanup.cycle.sweep import Follow, carry_out, require_current
from mlflow_cleanup.cycle.turn import Cycle
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.errors import LedgerFull, LedgerUnwritable, OutcomeUntold
from mlflow_cleanup.ledger.ageing import utc
from mlflow_cleanup.ledger.requests import Progress, Request, Requests
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import Item
from mlflow_cleanup.model.plan import Step
from mlflow_cleanup.report.plans import in_short, plan_from, steps_values
from mlflow_cleanup.report.text import counted

RESTORE, PURGE, APPLY = "restore", "purge", "apply"

REPORT_S = 0.25
"""Between two reports of how far a plan has come: each is a write to the disk."""

MakeWay = Callable[[], None]
"""Lets what is more urgent go first, in the middle of something long."""


def answer_requests(
    cycle: Cycle,
    workplace: Workplace,
    make_way: MakeWay = lambda: None,
    *,
    only_short: bool = False,
) -> None:
    """Carry out requests until none is waiting; one that fails is answered with its error.

    `only_short` leaves whole plans for later. Raises OutcomeUntold when an outcome could not be
    written: it is kept, and written by a later call.
    """
    requests = workplace.ledger.requests
    if count := requests.throw_away_unreadable():
        at, what = utc(workplace.clock().wall_s), counted(count, "request")
        workplace.tell(Event(EventKind.IGNORED, at, detail=what))
    # Asked anew each time: others come in, and are answered, while a long one is carried out.
    while (request := _next(requests, only_short=only_short)) is not None:
        if not requests.begin(request.id):
            continue  # withdrawn just now
        try:
            outcome = (
                _apply(cycle, workplace, request, make_way)
                if request.verb == APPLY
                else {
                    "items": [outcome_of(item) for item in do(cycle, request.verb, request.words)]
                }
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, the next one is answered too
            outcome = {"error": str(error), "type": type(error).__name__, "items": []}
        requests.keep(request.id, outcome)
        with suppress(OutcomeUntold):  # the next one may be what makes room
            _settle_kept(requests)
    _settle_kept(requests)


def _next(requests: Requests, *, only_short: bool) -> Request | None:
    """Return the oldest request that is waiting."""
    waiting = (one for one in requests.waiting() if not (only_short and one.verb == APPLY))
    return next(waiting, None)


def do(cycle: Cycle, verb: str, words: Sequence[str]) -> list[Item]:
    """Restore or purge what is named; returns what became of each item."""
    verbs: dict[str, Callable[[list[str]], list[Item]]] = {
        RESTORE: cycle.restore,
        PURGE: cycle.purge,
    }
    try:
        return verbs[verb](list(words))
    except LedgerFull:
        return verbs[verb](list(words))


def _settle_kept(requests: Requests) -> None:
    """Leave every outcome that was not left yet; raises OutcomeUntold."""
    trouble: LedgerUnwritable | None = None
    for number, outcome in requests.untold.items():
        try:
            _settle(requests, number, outcome)
        except LedgerUnwritable as error:
            trouble = error
    if trouble is not None:
        raise OutcomeUntold(trouble.path, trouble.detail) from trouble


def _settle(requests: Requests, number: int, outcome: dict[str, Any]) -> None:
    """Leave one outcome; where there is no room for the whole, in short."""
    try:
        requests.settle(number, outcome)
    except LedgerUnwritable as error:
        if isinstance(error, LedgerFull):
            with suppress(LedgerUnwritable):  # now with the room that was reserved
                requests.settle(number, outcome)
                return
        if "steps" not in outcome:
            raise
        requests.settle(number, in_short(outcome))


def outcome_of(item: Item) -> dict[str, Any]:
    """Say what became of one item, as JSON values."""
    return {
        "id": item.id,
        "entity": item.entity.kind.value,
        "run_id": item.entity.id,
        "state": item.state.value,
        "path": item.location.path,
        "bytes": item.size.bytes if item.size else None,
        "error": item.error,
    }


def _apply(
    cycle: Cycle, workplace: Workplace, request: Request, make_way: MakeWay
) -> dict[str, Any]:
    """Carry out a plan that a verb made; what it takes is purged by the cycles that follow."""
    plan = plan_from(json.loads(request.words[0]))
    require_current(workplace, plan, workplace.ledger.now(workplace.clock()).at)
    # What left is known as having left, whatever becomes of its rows from now on.
    cycle.learn()
    follow = _reporting(workplace.ledger.requests, request.id, make_way)
    steps = carry_out(cycle, workplace, plan, follow, purges=False)
    return steps_values(plan, steps)


def _reporting(requests: Requests, number: int, make_way: MakeWay) -> Follow:
    """Report each step to whoever waits, now and then, and ask whether the rest is wanted."""
    done, taken_bytes, reported_s = 0, 0, time.monotonic()

    def follow(step: Step) -> bool:
        nonlocal done, taken_bytes, reported_s
        done, taken_bytes = done + 1, taken_bytes + (step.size.bytes if step.size else 0)
        make_way()
        if time.monotonic() - reported_s < REPORT_S:
            return True
        requests.report(number, Progress(done, taken_bytes))
        reported_s = time.monotonic()
        return not requests.is_to_stop(number)

    return follow
