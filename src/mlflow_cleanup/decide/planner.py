"""Making a cycle's plan from verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from mlflow_cleanup.decide.garbage import judge
from mlflow_cleanup.decide.retention import is_due
from mlflow_cleanup.model.claim import ClaimIndex
from mlflow_cleanup.model.item import Held, Item, ItemState
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.plan import Keeping, Plan, Quarantine
from mlflow_cleanup.model.snapshot import Heads, RunRow
from mlflow_cleanup.model.verdict import Candidate, Garbage, Gone, Keep, Kept, Verdict


@dataclass(frozen=True, slots=True)
class Ground:
    """What verdicts are based on: one read of the database, the retention, and ledger time.

    `unreachable` are artifact roots that cannot be seen now; `departed` the rows of deleted runs;
    `soft` the claims of models whose run was deleted; `roots` every configured artifact root;
    `problems` why claims may be missing.
    """

    heads: Heads
    claims: ClaimIndex
    retention: timedelta
    aged_s: float
    unreachable: frozenset[str] = frozenset()
    departed: Mapping[str, RunRow] = field(default_factory=dict)
    soft: ClaimIndex | None = None
    roots: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def make_plan(candidates: Iterable[Candidate], items: Iterable[Item], ground: Ground) -> Plan:
    """Judge every candidate and every item held, and order what follows from it.

    Items come in the order in which they were taken.
    """
    quarantine, keep = [], []
    for candidate in candidates:
        verdict = judge_now(candidate, ground)
        if isinstance(verdict, Garbage):
            quarantine.append(Quarantine(candidate, verdict))
        else:
            keep.append(Keeping(candidate, verdict))
    held = list(items)
    wanted = [
        item
        for item in held
        if is_wanted_back(item, ground) and item.location.root not in ground.unreachable
    ]
    wanted_ids = {item.id for item in wanted}
    due = [
        item
        for item in held
        if item.id not in wanted_ids
        and item.location.root not in ground.unreachable
        and is_due(item, ground.retention, ground.aged_s)
    ]
    rests = [_as_deleted_now(item, ground) for item in held if is_unclaimed_rest(item, ground)]
    anew = [again for item in due if (again := deleted_anew(item, ground)) is not None]
    anew_ids = {item.id for item in anew}
    return Plan(
        # The newest first, so that of several versions of one file it gets its place back.
        restore=tuple(reversed(wanted)),
        hold_again=(*rests, *anew),
        quarantine=tuple(quarantine),
        keep=tuple(keep),
        purge=tuple(item for item in due if item.id not in anew_ids),
    )


def judge_now(candidate: Candidate, ground: Ground) -> Verdict:
    """Judge a candidate against one read of the database: an active run is never garbage."""
    if candidate.entity.id in ground.heads.active:
        return Keep(Kept.ACTIVE)
    verdict = judge(candidate, ground.claims, ground.soft)
    place = candidate.place
    if not isinstance(verdict, Garbage) or not isinstance(place, Location):
        return verdict
    if ground.problems:
        return Keep(Kept.CLAIMS_UNKNOWN, ground.problems[0])
    if place.root in ground.unreachable:
        return Keep(Kept.UNREACHABLE, place.root)
    return _around_a_root(place, ground) or verdict


def _around_a_root(place: Location, ground: Ground) -> Keep | None:
    """Keep what an artifact root lies in: that is others' place as well, and claims name parts."""
    fold = ground.claims.fold
    here = fold(place.path)
    for root in ground.roots:
        if f"{fold(root)}/".startswith(f"{here}/"):
            return Keep(Kept.NOT_ITS_OWN, f"the artifact root {root} lies in it")
    return None


def item_verdict(item: Item, ground: Ground) -> Keep | None:
    """Return why an item's bytes are wanted at their origin, or None when nobody wants them."""
    if item.entity.id in ground.heads.active:
        return Keep(Kept.ACTIVE)
    if item.entity in ground.claims.pinned:
        return Keep(Kept.PINNED)
    claim = ground.claims.on(item.location, item.entity)
    if claim is None and ground.soft is not None and item.reason != Gone.RUN_DELETED.value:
        claim = ground.soft.on(item.location, item.entity)
    if claim is None and item.held is Held.IN_PLACE:
        return _around_a_root(item.location, ground)
    return Keep(Kept.LIVE_CLAIM, str(claim.holder)) if claim else None


def deleted_anew(item: Item, ground: Ground) -> Item | None:
    """Return an item due for purging as deleted once more, when MLflow says that it was.

    Its run was restored and deleted again between two looks: it may be restored as long as one that
    was deleted then.
    """
    now = _as_deleted_now(item, ground)
    if item.state is not ItemState.QUARANTINED or None in (now.deleted_at, item.deleted_at):
        return None
    return now if now.deleted_at != item.deleted_at else None


def _as_deleted_now(item: Item, ground: Ground) -> Item:
    row = ground.departed.get(item.entity.id)
    return replace(item, deleted_at=row.deleted_at) if row and row.deleted_at else item


def is_wanted_back(item: Item, ground: Ground) -> bool:
    """Tell whether an item must be restored: a collision reported once is not tried again."""
    return item.state is not ItemState.CONFLICT and item_verdict(item, ground) is not None


def is_unclaimed_rest(item: Item, ground: Ground) -> bool:
    """Tell whether what a restore left in the trash has lost its entity again."""
    return (
        item.state is ItemState.CONFLICT and not item.by_hand and item_verdict(item, ground) is None
    )
