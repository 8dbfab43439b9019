"""Judging everything that was listed or left, and making a full cycle's plan of it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mlflow_cleanup.decide.margins import ORPHAN_AGE, ORPHAN_INTERVAL
from mlflow_cleanup.decide.planner import Ground, judge_now
from mlflow_cleanup.model.entity import EntityKind
from mlflow_cleanup.model.inventory import Inventory, Place
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.plan import (
    Judged,
    Refusal,
    RootSummary,
    SweepPlan,
    Terms,
    digest_of,
)
from mlflow_cleanup.model.shape import MODEL_FILE, is_usual_experiment
from mlflow_cleanup.model.snapshot import BackendIdentity
from mlflow_cleanup.model.verdict import Candidate, Garbage, Gone, Keep, Kept, Verdict

Spot = tuple[str, tuple[str, ...]]
"""A root and the names that lead on from it."""

NO_MODEL = Keep(
    Kept.NOT_ITS_OWN, f"no {MODEL_FILE} lies directly in it, so it may be more than a model"
)
"""A version's source and storage location are any client's text, and can name whatever they like:
without this, registering somebody's directory and deleting the version would take it."""


@dataclass(frozen=True, slots=True)
class View:
    """All that a full cycle saw: storage first, then the database.

    `departed` are the entities that left and have, or had, bytes; `unlisted` those of their places
    that are no places of an inventory, as they lie in another's or have no shape; `experiments`
    where experiments lie, dead ones too; `first_seen` since when a place has been unclaimed, in
    `awake_s`; `released` are ids of what an operator restored by hand, `backlog` of what had been
    deleted before the first start, where that is to be left alone as well; `held` are the places of
    items that are held in place; `models` the places of versions' copies that hold a model by
    itself; `problems` say why nothing under a root may count as unclaimed; `unfinished` counts the
    uploads under each root that nobody will finish.
    """

    ground: Ground
    now: Moment
    inventories: tuple[Inventory, ...]
    departed: tuple[Candidate, ...]
    experiments: frozenset[Spot]
    first_seen: Mapping[Spot, float]
    adopted: frozenset[str]
    released: frozenset[str] = frozenset()
    backlog: frozenset[str] = frozenset()
    held: frozenset[Spot] = frozenset()
    unlisted: Mapping[Spot, Place] = field(default_factory=dict)
    models: frozenset[Spot] = frozenset()
    problems: Mapping[str, str] = field(default_factory=dict)
    unfinished: Mapping[str, Size] = field(default_factory=dict)


def make_sweep_plan(
    view: View, terms: Terms, database: str, identity: BackendIdentity
) -> SweepPlan:
    """Judge every place and order what follows; refuses what would take too much at once."""
    judged = list(_judge_departed(view, terms))
    known = {_spot(item.place) for item in judged if isinstance(item.candidate.place, Location)}
    listed = [item for item in _judge_listed(view, terms) if _spot(item.place) not in known]
    shells = [item for item in listed if item.candidate.gone is Gone.EMPTY]
    orphans = [item for item in listed if item.candidate.gone is Gone.ORPHAN]
    everything = [*judged, *orphans]
    take = tuple(sorted(_each_place_once(everything), key=_by_size))
    empty = tuple(_garbage(shells))
    id_ = digest_of(None, (*take, *empty))
    return SweepPlan(
        id=id_,
        made_at=view.now.at,
        database=database,
        identity=identity,
        take=take,
        empty=empty,
        keep=tuple(item for item in everything if _is_worth_telling(item)),
        roots=tuple(_summary(inventory, listed, known, view) for inventory in view.inventories),
        refusal=_brake(id_, take, view.inventories, terms),
        unclaimed=_unclaimed(orphans, view),
    )


def _judge_departed(view: View, terms: Terms) -> Iterator[Judged]:
    """Judge what the database says has left; what is not there any more needs no verdict."""
    places = {item.root: item.places for item in view.inventories}
    around = _around(view.inventories)
    for departed in view.departed:
        is_cascade = terms.cascade_models and departed.gone is Gone.RUN_DELETED
        candidate = replace(departed, cascade=is_cascade)
        verdict = _unless_left_alone(candidate, judge_now(candidate, view.ground), view)
        if not isinstance(candidate.place, Location):
            yield Judged(candidate, verdict)
        elif isinstance(verdict, Garbage) and candidate.place.path in around:
            yield Judged(candidate, Keep(Kept.NOT_ITS_OWN, "what others have lies in it"))
        elif (place := _found(candidate.place, places, view)) is not None:
            if isinstance(verdict, Garbage) and not _is_recognised(candidate, view):
                verdict = NO_MODEL
            yield Judged(candidate, verdict, place.size, place.newest, place.changed)


def _is_recognised(candidate: Candidate, view: View) -> bool:
    """Tell whether a place shows that it is what it is said to be: a copy has no shape for that."""
    if candidate.entity.kind is not EntityKind.MODEL_VERSION:
        return True
    return isinstance(candidate.place, Location) and _spot(candidate.place) in view.models


def _found(
    place: Location, places: Mapping[str, Mapping[tuple[str, ...], Place]], view: View
) -> Place | None:
    """Return what was found there, listed or looked at by itself."""
    listed = places.get(place.root, {}).get(place.inside)
    return listed if listed is not None else view.unlisted.get(_spot(place))


def _around(inventories: Iterable[Inventory]) -> set[str]:
    """Name every directory around a recognised place."""
    around: set[str] = set()
    for inventory in inventories:
        for path in (Location(inventory.root, inside).path for inside in inventory.places):
            while (path := path.rpartition("/")[0]) and path not in around:
                around.add(path)
    return around


def _judge_listed(view: View, terms: Terms) -> Iterator[Judged]:
    """Judge every recognised place by itself, as if nobody had left.

    Those of active runs, which are nearly all, are not worth a verdict: see `_is_in_use`.
    """
    for inventory in view.inventories:
        for place in inventory.places.values():
            if _is_in_use(place, view) or not _is_where_mlflow_writes(place, inventory.root, view):
                continue
            gone = Gone.EMPTY if place.is_shell else Gone.ORPHAN
            candidate = Candidate(
                place.entity,
                Location(inventory.root, place.inside),
                gone,
                experiment_id=place.above[-1] if place.above else None,
            )
            verdict = _verdict_on(candidate, place, view, terms)
            yield Judged(candidate, verdict, place.size, place.newest, place.changed)


def _verdict_on(candidate: Candidate, place: Place, view: View, terms: Terms) -> Verdict:
    # A shell is judged as what it is the shell of.
    location, judged = candidate.place, candidate
    if place.is_shell and isinstance(location, Location):
        location = Location(location.root, (*location.inside, "artifacts"))
        judged = replace(candidate, place=location)
    verdict = _unless_left_alone(candidate, judge_now(judged, view.ground), view)
    if isinstance(verdict, Keep):
        return verdict
    root = location.root if isinstance(location, Location) else ""
    if root in view.problems:
        return Keep(Kept.REPORT_ONLY, view.problems[root])
    if not terms.at_once and _is_young(place, view.now):
        return Keep(Kept.TOO_YOUNG)
    if place.is_shell:
        return Garbage(candidate.gone)
    if root not in view.adopted:
        return Keep(Kept.NOT_ADOPTED)
    if not terms.at_once and not _was_seen_before((root, place.inside), view):
        return Keep(Kept.SEEN_ONCE)
    return Garbage(candidate.gone)


def _unless_left_alone(candidate: Candidate, verdict: Verdict, view: View) -> Verdict:
    if not isinstance(verdict, Garbage):
        return verdict
    if candidate.entity.id in view.released:
        return Keep(Kept.RELEASED)
    if candidate.entity.id in view.backlog:
        return Keep(Kept.BACKLOG)
    if isinstance(candidate.place, Location) and _spot(candidate.place) in view.held:
        return Keep(Kept.HELD)
    return verdict


def _is_young(place: Place, now: Moment) -> bool:
    """Tell whether something in it is younger than an orphan may be, or claims to be."""
    return now.age_s(place.newest) < ORPHAN_AGE.total_seconds()


def _was_seen_before(spot: Spot, view: View) -> bool:
    first_s = view.first_seen.get(spot)
    return first_s is not None and view.now.awake_s - first_s >= ORPHAN_INTERVAL.total_seconds()


def _is_in_use(place: Place, view: View) -> bool:
    """Tell whether a place is an active run's, which `judge_now` keeps whatever else there is."""
    return place.entity.id in view.ground.heads.active


def _is_where_mlflow_writes(place: Place, root: str, view: View) -> bool:
    """Tell a run's directory from a copy of it that somebody keeps elsewhere under the root.

    What lies in a root inside this one is that one's, whichever database it belongs to.
    """
    for inventory in view.inventories:
        if inventory.root == root and any(
            place.inside[: len(names)] == names for names in inventory.marked
        ):
            return False
    return is_usual_experiment(place.above) or (root, place.above) in view.experiments


def _unclaimed(orphans: Iterable[Judged], view: View) -> dict[str, tuple[tuple[str, ...], ...]]:
    """List the orphans of every root, those that have to wait as well.

    Where not everything is known nothing is unclaimed, and what was before begins anew: it may have
    been claimed meanwhile without anybody's having seen it.
    """
    found: dict[str, list[tuple[str, ...]]] = {item.root: [] for item in view.inventories}
    waiting = (Kept.SEEN_ONCE, Kept.TOO_YOUNG, Kept.NOT_ADOPTED)
    for item in orphans:
        if isinstance(item.verdict, Garbage) or item.verdict.reason in waiting:
            found[item.place.root].append(item.place.inside)
    return {root: tuple(places) for root, places in found.items()}


def _summary(
    inventory: Inventory, listed: Iterable[Judged], known: Container[Spot], view: View
) -> RootSummary:
    live, count = _in_use(inventory, known, view)
    for item in listed:
        if item.place.root == inventory.root and _is_live(item):
            live, count = live + (item.size or Size()), count + 1
    return RootSummary(
        inventory.root,
        inventory.total,
        live,
        count,
        _foreign(inventory, view),
        inventory.unseen,
        view.problems.get(inventory.root),
        view.unfinished.get(inventory.root, Size()),
    )


def _foreign(inventory: Inventory, view: View) -> dict[str, Size]:
    """Add up what is nobody's that is known, by its first directories."""
    foreign = dict(inventory.foreign)
    for place in inventory.places.values():
        if not _is_where_mlflow_writes(place, inventory.root, view) and place.size.files:
            top = "/".join(place.inside[:2])
            foreign[top] = foreign.get(top, Size()) + place.size
    for (root, inside), place in view.unlisted.items():
        top = "/".join(inside[:2])
        if (root, inside) in view.models and root == inventory.root and top in foreign:
            left = foreign[top].files - place.size.files, foreign[top].bytes - place.size.bytes
            foreign[top] = Size(max(left[0], 0), max(left[1], 0))
    return {top: size for top, size in foreign.items() if size.files}


def _in_use(inventory: Inventory, known: Container[Spot], view: View) -> tuple[Size, int]:
    """Count the bytes and places of active runs."""
    files = size = count = 0
    root = inventory.root
    for place in inventory.places.values():
        if (
            _is_in_use(place, view)
            and _is_where_mlflow_writes(place, root, view)
            and (root, place.inside) not in known
        ):
            files, size = files + place.size.files, size + place.size.bytes
            count += 1
    return Size(files, size), count


def _brake(
    plan_id: str, take: Sequence[Judged], inventories: Iterable[Inventory], terms: Terms
) -> Refusal | None:
    """Refuse a plan that would take most of a root, or a great many entities.

    By the files' own sizes: a backup made of second names leaves a plan with nothing to free, and
    as much to lose.
    """
    reasons = []
    if len(take) > terms.most_entities:
        reasons.append(f"it would take {len(take)} entities, more than {terms.most_entities}")
    for inventory in inventories:
        taken = sum(
            item.size.whole for item in take if item.size and item.place.root == inventory.root
        )
        if taken > terms.most_share * inventory.total.whole:
            share = taken / (inventory.total.whole or taken)
            reasons.append(f"it would take {share:.0%} of the bytes under {inventory.root}")
    if not reasons:
        return None
    return Refusal(plan_id, "; ".join(reasons))


def _each_place_once(judged: Iterable[Judged]) -> Iterator[Judged]:
    """Choose what to take: versions can share a place, which an operator may have restored."""
    judged = list(judged)
    done = {item.place for item in judged if item.verdict == Keep(Kept.RELEASED)}
    for item in _garbage(judged):
        if item.place not in done:
            done.add(item.place)
            yield item


def _garbage(judged: Iterable[Judged]) -> Iterator[Judged]:
    return (item for item in judged if isinstance(item.verdict, Garbage))


def _is_live(item: Judged) -> bool:
    return isinstance(item.verdict, Keep) and item.verdict.reason.is_protection


def _is_worth_telling(item: Judged) -> bool:
    """Tell what is kept on purpose from what is simply in use."""
    if not isinstance(item.verdict, Keep):
        return False
    return item.candidate.gone is not Gone.ORPHAN or not item.verdict.reason.is_protection


def _by_size(item: Judged) -> tuple[int, str]:
    return (-(item.size.bytes if item.size else 0), str(item.candidate.entity))


def _spot(place: Location) -> Spot:
    return place.root, place.inside
