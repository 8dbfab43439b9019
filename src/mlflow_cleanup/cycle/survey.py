"""The seeing half of a full cycle: storage is listed first, claims are read after, then judged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from mlflow_cleanup.cycle.sight import Sight
from mlflow_cleanup.cycle.workplace import Workplace, real_roots
from mlflow_cleanup.decide.sweep import Spot, View, make_sweep_plan
from mlflow_cleanup.errors import CleanupError, ForeignOwner, StoreUnreachable
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.entity import EntityKind
from mlflow_cleanup.model.inventory import Inventory, Unseen
from mlflow_cleanup.model.item import Item, ItemState
from mlflow_cleanup.model.location import Location, foreign_authority
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.plan import SweepPlan, Terms
from mlflow_cleanup.model.snapshot import BackendIdentity, Snapshot
from mlflow_cleanup.model.verdict import Candidate
from mlflow_cleanup.observe.listing import take_inventory
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
    in_full = take or (lambda store: take_inventory(store.root, store.listing(None, keep_going)))
    return tuple(
        _list_root(workplace, root, in_full)
        for root in real_roots(workplace.settings)
        if os.path.lexists(root) or (root in known and known[root].is_marked)
    )


def _list_root(workplace: Workplace, root: str, take: Take) -> Inventory:
    try:
        store = workplace.store_of(root)
        store.check()
        return take(store)
    except ForeignOwner as error:
        return take_inventory(root, [Unseen(root, f"it belongs to {error.owner}")])
    except StoreUnreachable as error:
        return take_inventory(root, [Unseen(root, error.detail)])


def survey(
    workplace: Workplace, inventories: tuple[Inventory, ...], terms: Terms, now: Moment
) -> SweepPlan:
    """Read all claims, now that storage was listed, and judge; changes nothing.

    Raises TrackingUnreadable.
    """
    view, identity = see(workplace, inventories, now)
    return make_sweep_plan(view, terms, workplace.settings.database, identity)


def see(
    workplace: Workplace, inventories: tuple[Inventory, ...], now: Moment
) -> tuple[View, BackendIdentity]:
    """Read all claims, now that storage was listed, as the ground for judging."""
    sight = Sight(workplace, now, with_holdings=True, listed=inventories)
    snapshot = sight.look()
    sight.unreachable = frozenset(
        item.root for item in inventories if any(one.path == item.root for one in item.unseen)
    )
    view = View(
        ground=sight.ground,
        now=now,
        inventories=inventories,
        departed=tuple(_departed(sight, snapshot)),
        experiments=_experiments(sight, snapshot),
        first_seen=workplace.ledger.sightings.first_seen(),
        adopted=_adopted(workplace),
        released=_released(workplace),
        problems=_problems(inventories, snapshot),
    )
    return view, snapshot.identity


def _departed(sight: Sight, snapshot: Snapshot) -> Iterator[Candidate]:
    for holding in snapshot.holdings.departed:
        place = sight.places.locate(holding.text)
        if holding.entity.kind is EntityKind.MODEL_VERSION and not _is_there(sight, place):
            continue
        yield Candidate(
            entity=holding.entity,
            place=place,
            gone=holding.gone,
            name=holding.name,
            experiment_id=holding.experiment_id,
            deleted_at=holding.deleted_at,
        )


def _is_there(sight: Sight, place: object) -> bool:
    """Tell whether a version's copy is there; it would not be found in an inventory."""
    try:
        return isinstance(place, Location) and sight.workplace.store_of(place.root).exists(place)
    except (CleanupError, OSError):
        return False


def _experiments(sight: Sight, snapshot: Snapshot) -> frozenset[Spot]:
    located = map(sight.places.locate, snapshot.holdings.experiments)
    return frozenset((place.root, place.inside) for place in located if isinstance(place, Location))


def _adopted(workplace: Workplace) -> frozenset[str]:
    adopted = set()
    for root in real_roots(workplace.settings):
        try:
            if workplace.store_of(root).is_adopted():
                adopted.add(root)
        except CleanupError:
            continue  # its inventory says what is wrong with it
    return frozenset(adopted)


def _released(workplace: Workplace) -> frozenset[str]:
    """Name what an operator restored by hand though MLflow does not know it: it is left alone."""
    ledger = workplace.ledger
    restored: dict[str, Item] = {
        item.entity.id: item for item in ledger.items.in_state(ItemState.RESTORED)
    }
    known = ledger.known.ids(*RunState)
    by_hand = {id_ for id_, item in restored.items() if item.by_hand and id_ not in known}
    return ledger.known.ids(RunState.RELEASED) | by_hand


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
