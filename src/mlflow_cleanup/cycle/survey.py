"""The seeing half of a full cycle: storage is listed first, claims are read after, then judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

from mlflow_cleanup.cycle.candidates import still_at_work, vanished
from mlflow_cleanup.cycle.sight import Sight
from mlflow_cleanup.cycle.uploads import forgotten
from mlflow_cleanup.cycle.workplace import Workplace, real_roots
from mlflow_cleanup.decide.sweep import Spot, View, make_sweep_plan
from mlflow_cleanup.errors import CleanupError, StoreUnreachable
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.entity import Entity, EntityKind
from mlflow_cleanup.model.inventory import Inventory, Listed, Place, Unseen
from mlflow_cleanup.model.location import Location, foreign_authority
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.plan import SweepPlan, Terms
from mlflow_cleanup.model.shape import MODEL_FILE, shape_of
from mlflow_cleanup.model.snapshot import BackendIdentity, Snapshot
from mlflow_cleanup.model.verdict import Candidate
from mlflow_cleanup.observe.listing import take_inventory
from mlflow_cleanup.observe.places import is_not_made_yet
from mlflow_cleanup.stores.base import ArtifactStore, KeepGoing

Take = Callable[[ArtifactStore], Inventory]


def list_roots(
    workplace: Workplace, keep_going: KeepGoing, take: Take | None = None
) -> tuple[Inventory, ...]:
    """List every configured root; one that cannot be seen has an empty inventory that says so.

    A root that was never there is left out: MLflow makes it with the first artifact. `take` makes
    an inventory of a store in a way of its own.
    """
    known = workplace.ledger.roots()

    def in_full(store: ArtifactStore) -> Inventory:
        listed = store.listing(None, keep_going)
        return take_inventory(store.root, its_own(workplace, store.root, listed))

    return tuple(
        _list_root(workplace, root, take or in_full)
        for root in real_roots(workplace.settings)
        if not is_not_made_yet(root) or (root in known and known[root].is_marked)
    )


def _list_root(workplace: Workplace, root: str, take: Take) -> Inventory:
    try:
        store = workplace.store_of(root)
        store.check()
        return take(store)
    except StoreUnreachable as error:
        return take_inventory(root, [Unseen(root, error.detail)])


def its_own(
    workplace: Workplace, root: str, listed: Iterable[Listed | Unseen]
) -> Iterable[Listed | Unseen]:
    """Leave out what is listed of roots that lie inside this one: what they hold is theirs."""
    below = root.rstrip("/") + "/"
    inner = [
        tuple(other.removeprefix(below).split("/"))
        for other in real_roots(workplace.settings)
        if other.startswith(below)
    ]
    if not inner:
        return listed
    return (
        one
        for one in listed
        if isinstance(one, Unseen) or all(one.inside[: len(names)] != names for names in inner)
    )


def survey(
    workplace: Workplace,
    inventories: tuple[Inventory, ...],
    terms: Terms,
    now: Moment,
    *,
    leaves_backlog: bool = False,
) -> SweepPlan:
    """Read all claims, now that storage was listed, and judge; changes nothing.

    Raises TrackingUnreadable.
    """
    view, identity = see(workplace, inventories, now, leaves_backlog=leaves_backlog)
    plan = make_sweep_plan(view, terms, workplace.settings.database.name, identity)
    return replace(plan, leaves_backlog=leaves_backlog)


def see(
    workplace: Workplace,
    inventories: tuple[Inventory, ...],
    now: Moment,
    *,
    leaves_backlog: bool = False,
) -> tuple[View, BackendIdentity]:
    """Read all claims, now that storage was listed, as the ground for judging."""
    sight = Sight(workplace, now, with_holdings=True, listed=inventories)
    snapshot = sight.look()
    sight.unreachable = frozenset(
        item.root for item in inventories if any(one.path == item.root for one in item.unseen)
    )
    departed = _departed(sight, snapshot)
    view = View(
        ground=sight.ground,
        now=now,
        inventories=inventories,
        departed=departed,
        unlisted=_unlisted(sight, departed, inventories),
        models=_models(workplace, departed),
        experiments=_experiments(sight, snapshot),
        first_seen=workplace.ledger.sightings.first_seen(),
        adopted=_adopted(workplace),
        released=released(workplace).ids,
        held=frozenset((one.root, one.inside) for one in held_in_place(workplace)),
        backlog=workplace.ledger.known.ids(RunState.BACKLOG) if leaves_backlog else frozenset(),
        problems=_problems(inventories, snapshot),
        unfinished=forgotten(workplace, sight.ground, now),
    )
    return view, snapshot.identity


def _departed(sight: Sight, snapshot: Snapshot) -> tuple[Candidate, ...]:
    gone = [
        Candidate(
            entity=holding.entity,
            place=sight.places.locate(holding.text),
            gone=holding.gone,
            name=holding.name,
            experiment_id=holding.experiment_id,
            deleted_at=holding.deleted_at,
        )
        for holding in snapshot.holdings.departed
    ]
    found = [*filter(_has_own_files, gone), *vanished(sight, sight.workplace)]
    writing = still_at_work(found, sight.workplace, sight.now)
    return tuple(replace(one, still_writing=True) if one in writing else one for one in found)


def _has_own_files(candidate: Candidate) -> bool:
    """Tell a version's own copy from the files of a run or model, which are judged as theirs."""
    if candidate.entity.kind is not EntityKind.MODEL_VERSION:
        return True
    return isinstance(candidate.place, Location) and shape_of(candidate.place.inside) is None


def _unlisted(
    sight: Sight, departed: Iterable[Candidate], inventories: Iterable[Inventory]
) -> dict[Spot, Place]:
    """Look at what left and has no listing of its own: in another's place, or a version's copy."""
    listed = {item.root: item.places for item in inventories}
    found = {}
    for candidate in departed:
        place = candidate.place
        if not isinstance(place, Location):
            continue
        places, inside = listed.get(place.root, {}), place.inside
        is_within = any(inside[:depth] in places for depth in range(1, len(inside)))
        is_copy = candidate.entity.kind is EntityKind.MODEL_VERSION
        if inside not in places and (is_within or is_copy):
            look = _look_at(sight.workplace, candidate.entity, place)
            found.update({(place.root, inside): look} if look else {})
    return found


def _models(workplace: Workplace, departed: Iterable[Candidate]) -> frozenset[Spot]:
    """Find the places of deleted versions' copies that a model lies in by itself."""
    places = {
        one.place
        for one in departed
        if one.entity.kind is EntityKind.MODEL_VERSION and isinstance(one.place, Location)
    }
    return frozenset((place.root, place.inside) for place in places if has_model(workplace, place))


def has_model(workplace: Workplace, place: Location) -> bool:
    """Tell whether a place is a model's own directory; no where it cannot be seen."""
    try:
        return workplace.store_of(place.root).holds_file(place, MODEL_FILE)
    except (CleanupError, OSError):
        return False


def _look_at(workplace: Workplace, entity: Entity, place: Location) -> Place | None:
    try:
        store = workplace.store_of(place.root)
        times, size = store.newest_times(place), store.measure(place, workplace.unhurried)
    except (CleanupError, OSError):
        return None  # what cannot be seen is not judged
    if times is None or size is None:
        return None
    newest, changed = times
    return Place(entity, place.inside, (), False, size, newest, changed=changed)


def _experiments(sight: Sight, snapshot: Snapshot) -> frozenset[Spot]:
    found = map(sight.places.holder, snapshot.holdings.experiments)
    return frozenset(spot for spot in found if spot is not None)


def _adopted(workplace: Workplace) -> frozenset[str]:
    adopted = set()
    for root in real_roots(workplace.settings):
        try:
            if workplace.store_of(root).is_adopted():
                adopted.add(root)
        except CleanupError:
            continue  # its inventory says what is wrong with it
    return frozenset(adopted)


def held_in_place(workplace: Workplace) -> frozenset[Location]:
    """Name the places whose bytes wait there, with the ledger's record, until they are purged."""
    return frozenset(item.location for item in workplace.ledger.items.held_in_place())


class Released(NamedTuple):
    """What an operator restored by hand: it is left alone, whatever names its place."""

    ids: frozenset[str]
    places: frozenset[Location]


def released(workplace: Workplace) -> Released:
    """Read what was restored by hand from the ledger as it is now.

    A run that was active since is not among it; nothing else is ever known to be active again.
    """
    known = workplace.ledger.known
    by_hand = [
        item
        for item in workplace.ledger.items.restored_by_hand()
        if (run := known.get(item.entity.id)) is None or run.state is RunState.RELEASED
    ]
    ids = (item.entity.id for item in by_hand)
    return Released(
        known.ids(RunState.RELEASED).union(ids), frozenset(item.location for item in by_hand)
    )


def _problems(inventories: tuple[Inventory, ...], snapshot: Snapshot) -> dict[str, str]:
    """Say why nothing may count as unclaimed under a root, for each where that is so."""
    everywhere = [*snapshot.problems]
    if not snapshot.schema.is_known:
        everywhere.append(f"the schema revision {snapshot.schema.revision} is not known")
    everywhere += [
        f"the column {name} may hold artifact locations" for name in snapshot.holdings.unknown
    ]
    everywhere += sorted(
        f"an experiment lies at {text}, on a host of its own"
        for text in snapshot.holdings.experiments
        if foreign_authority(text)
    )
    found = {}
    for inventory in inventories:
        unseen = [f"{one.path} could not be seen: {one.why}" for one in inventory.unseen]
        if reasons := [*everywhere, *unseen]:
            more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
            found[inventory.root] = reasons[0] + more
    return found
