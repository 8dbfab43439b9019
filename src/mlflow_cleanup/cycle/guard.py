"""Whether a cycle may act at all: safeguards, refusals, and the operator's answer to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from mlflow_cleanup.cycle.sight import Sight
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.decide.departures import Departures
from mlflow_cleanup.decide.margins import VANISHED_WINDOW
from mlflow_cleanup.decide.safeguards import Facts, Limits, examine, mass_vanishing, suspicions
from mlflow_cleanup.errors import PlanRefused
from mlflow_cleanup.ledger.items import HELD, OPEN
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import Held, Item, ItemState
from mlflow_cleanup.model.plan import Refusal


class Admission(NamedTuple):
    """What a cycle that may act has to know: roots that cannot be seen, rows lost unexplained."""

    unreachable: frozenset[str]
    unexplained: int


def admit(workplace: Workplace, sight: Sight, delta: Departures) -> Admission:
    """Let the cycle act; raises PlanRefused when nothing may be done.

    A refusal is told once; it stands until the facts change or the operator answers. What was seen
    unclaimed before begins anew then, as no full cycle sees what is claimed in the meantime.
    """
    unreachable, foreign = workplace.check_roots()
    facts, limits = _facts(workplace, sight, delta, foreign), _limits(workplace)
    ledger = workplace.ledger
    # On a standby nothing is over: what it says may be old.
    certain = [*facts.problems, *(["standby"] if facts.found_identity.is_standby else [])]
    ledger.refusals.keep_only({item.plan_id for item in suspicions(facts, limits)}, certain)
    confirmed = ledger.refusals.confirmed()
    refusal = examine(facts, limits, confirmed) or _unanswered(workplace, confirmed)
    if refusal is None:
        is_meant = mass_vanishing(facts, limits) is not None  # as somebody confirmed it
        if confirmed:
            _accept(workplace, sight, foreign)
        if is_meant:
            ledger.forget_vanished()
        return Admission(unreachable, 0 if is_meant else len(facts.vanished))
    with ledger.transaction():
        answer, is_new = ledger.refusals.answer_to(refusal, sight.now.at)
        ledger.sightings.forget()
        told = _event(sight, EventKind.REFUSED, refusal)
        if is_new:
            ledger.history.add([told])
    if answer == "forget":
        _forget(workplace, sight, refusal)
        raise Forgotten(refusal.plan_id, refusal.reason)
    if is_new:
        workplace.tell(told)
    raise PlanRefused(refusal.plan_id, refusal.reason)


def _unanswered(workplace: Workplace, confirmed: frozenset[str]) -> Refusal | None:
    """Return a refusal that stands though its signs are gone by now."""
    lasting = workplace.ledger.refusals.lasting()
    return next((refusal for refusal in lasting if refusal.plan_id not in confirmed), None)


class Forgotten(PlanRefused):
    """The operator said that this is another database on purpose: the next cycle begins anew."""


def _facts(
    workplace: Workplace, sight: Sight, delta: Departures, foreign: Mapping[str, str]
) -> Facts:
    snapshot = sight.snapshot or sight.look()
    known = workplace.ledger.known
    return Facts(
        known_identity=workplace.ledger.identity,
        found_identity=snapshot.identity,
        schema=snapshot.schema,
        known_active=len(known.active),
        vanished=delta.vanished,
        vanished_before=workplace.ledger.vanished_within(VANISHED_WINDOW, sight.now),
        returned=delta.arrived & known.ids(RunState.GONE, RunState.ORPHANED),
        problems=snapshot.problems,
        foreign_roots=tuple(f"{root} (of {owner})" for root, owner in sorted(foreign.items())),
    )


def _limits(workplace: Workplace) -> Limits:
    settings = workplace.settings
    return Limits(settings.vanished_share, settings.vanished_minimum, settings.allow_unknown_schema)


def _accept(workplace: Workplace, sight: Sight, foreign: Mapping[str, str]) -> None:
    """Go on as confirmed: what was found is how it is meant to be."""
    for root in foreign:
        workplace.adopt(root)
    ledger = workplace.ledger
    with ledger.transaction():
        if sight.snapshot is not None:
            ledger.set_identity(sight.snapshot.identity)
        news = [_event(sight, EventKind.CONFIRMED, item) for item in ledger.refusals.accept()]
        ledger.history.add(news)
    for event in news:
        workplace.tell(event)


def _forget(workplace: Workplace, sight: Sight, refusal: Refusal) -> None:
    """Forget the runs of another database; what the trash holds of them stays for now."""
    ledger = workplace.ledger
    held = [_set_aside(item, refusal) for item in ledger.items.in_state(*HELD, *OPEN)]
    with ledger.transaction():
        ledger.known.forget_all()
        ledger.items.put(held, sight.now.aged_s)
        ledger.set_identity(None)
        ledger.refusals.settle()
        told = _event(sight, EventKind.FORGOTTEN, refusal)
        ledger.history.add([told])
    workplace.forget_stores()
    workplace.tell(told)


def _set_aside(item: Item, refusal: Refusal) -> Item:
    if item.held is Held.IN_PLACE or item.state is ItemState.QUARANTINING:
        # Where it belongs, or not known to have moved: nothing of it is ours to keep or purge.
        return replace(item, state=ItemState.ABANDONED)
    return replace(
        item,
        state=ItemState.CONFLICT,
        by_hand=True,
        error=(
            f"its database was forgotten with plan {refusal.plan_id}; restore or purge it by hand"
        ),
    )


def _event(sight: Sight, kind: EventKind, refusal: Refusal) -> Event:
    return Event(kind, sight.now.at, detail=refusal.reason, item_id=refusal.plan_id)
