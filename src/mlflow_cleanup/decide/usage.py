"""Saying of every byte that was listed what it is and whose, and adding it up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from heapq import nsmallest

from mlflow_cleanup.decide.sweep import Spot
from mlflow_cleanup.model.entity import EntityKind
from mlflow_cleanup.model.inventory import Place
from mlflow_cleanup.model.item import Item, Size
from mlflow_cleanup.model.shape import is_usual_experiment
from mlflow_cleanup.model.usage import By, Kind, Owner, Owners, Portion, RootContent, Row, Table

_KINDS = {
    EntityKind.RUN: Kind.RUN,
    EntityKind.LOGGED_MODEL: Kind.MODEL,
    EntityKind.TRACE: Kind.TRACE,
}
_NOBODY = Owner()
_OWNERS = {By.EXPERIMENT: 0, By.RUN: 1, By.USER: 2}
"""Where in an owner it stands by whom is added up."""

_Sum = list[int]
"""Files, bytes, and the bytes of checkpoints among them."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the places: whose they are, which nobody claims, where MLflow writes.

    `experiments` are the places of experiments, `items` what is held, by id; `held_in_place` the
    places of those of them whose bytes are where they always were.
    """

    owners: Owners
    orphans: AbstractSet[Spot]
    experiments: AbstractSet[Spot]
    items: Mapping[str, Item]
    held_in_place: AbstractSet[Spot] = frozenset()


def attribute(roots: Iterable[RootContent], facts: Facts) -> Iterator[Portion]:
    """Yield every byte of the roots once, as a part of some portion."""
    for content in roots:
        root = content.inventory.root
        is_ours: dict[tuple[str, ...], bool] = {}  # asked for every place, and few differ in it
        for place in content.inventory.places.values():
            above = place.above
            if above not in is_ours:
                is_ours[above] = is_usual_experiment(above) or (root, above) in facts.experiments
            if is_ours[above]:
                yield from _portions_of(place, root, facts)
            else:
                yield Portion(Kind.FOREIGN, _NOBODY, place.size.files, place.size.bytes)
        for size in content.inventory.foreign.values():
            yield Portion(Kind.FOREIGN, _NOBODY, size.files, size.bytes)
        for item_id, size in content.trash.items():
            owner = _owner_of(facts.items.get(item_id), facts)
            yield Portion(Kind.QUARANTINED, owner, size.files, size.bytes)
        yield Portion(Kind.OWN, _NOBODY, content.own.files, content.own.bytes)


def _portions_of(place: Place, root: str, facts: Facts) -> Iterator[Portion]:
    size, above, entity = place.size, place.above, place.entity
    owner = facts.owners.of.get(entity.id)
    if owner is None:
        run_id = entity.id if entity.kind is EntityKind.RUN else None
        owner = Owner(above[-1] if above else None, run_id)
    if facts.held_in_place and (root, place.inside) in facts.held_in_place:
        yield Portion(Kind.QUARANTINED, owner, size.files, size.bytes)
        return
    if facts.orphans and (root, place.inside) in facts.orphans:
        yield Portion(Kind.ORPHANED, owner, size.files, size.bytes)
        return
    marked = place.marked
    if marked.files:
        yield Portion(Kind.CHECKPOINT, owner, marked.files, marked.bytes)
        size = Size(size.files - marked.files, size.bytes - marked.bytes)
    yield Portion(_KINDS[entity.kind], owner, size.files, size.bytes)


def _owner_of(item: Item | None, facts: Facts) -> Owner:
    if item is None:
        return _NOBODY
    run_id = item.entity.id if item.entity.kind is EntityKind.RUN else None
    return facts.owners.of.get(item.entity.id, Owner(item.experiment_id, run_id))


def wanted_ids(
    roots: Iterable[RootContent], items: Iterable[Item]
) -> Mapping[EntityKind, AbstractSet[str]]:
    """Name everything of which it has to be known whose it is."""
    wanted: dict[EntityKind, set[str]] = {kind: set() for kind in EntityKind}
    for content in roots:
        for place in content.inventory.places.values():
            wanted[place.entity.kind].add(place.entity.id)
    for item in items:
        wanted[item.entity.kind].add(item.entity.id)
    return wanted


class Sums:
    """What portions come to, by each dimension."""

    def __init__(self, dimensions: Iterable[By]) -> None:
        self._sums: dict[By, dict[str | None, _Sum]] = {by: {} for by in dimensions}
        self._owners: dict[str | None, Owner] = {}

    def add(self, portions: Iterable[Portion]) -> None:
        """Add portions; one without files counts nowhere."""
        kinds, runs = self._sums.get(By.KIND), self._sums.get(By.RUN)
        by_owner = [(_OWNERS[by], sums) for by, sums in self._sums.items() if by in _OWNERS]
        for kind, owner, files, size in portions:
            if not files:
                continue
            checkpoint = size if kind is Kind.CHECKPOINT else 0
            keyed = [(owner[position], sums) for position, sums in by_owner]
            if kinds is not None:
                keyed.append((kind.value, kinds))
            for key, sums in keyed:
                if key in sums:
                    sum_ = sums[key]
                    sum_[0] += files
                    sum_[1] += size
                    sum_[2] += checkpoint
                else:
                    sums[key] = [files, size, checkpoint]
                    if sums is runs:
                        self._owners[key] = owner

    def table(self, by: By, order: str, most: int) -> Table:
        """Return the first `most` rows in an order, 0: all of them, and what the others come to."""
        sums, order_of = self._sums[by], _ORDERS[order]
        shown = nsmallest(most or len(sums), sums.items(), key=order_of)
        rest = Size(
            sum(one[0] for one in sums.values()) - sum(one[0] for _, one in shown),
            sum(one[1] for one in sums.values()) - sum(one[1] for _, one in shown),
        )
        return Table(tuple(self._row(by, *one) for one in shown), len(sums) - len(shown), rest)

    def _row(self, by: By, key: str | None, sums: _Sum) -> Row:
        owner = self._owners[key] if by is By.RUN and key is not None else _NOBODY
        files, size, checkpoint = sums
        return Row(key, files, size, checkpoint, None, owner.experiment_id, owner.user)


_ORDERS: Mapping[str, Callable[[tuple[str | None, _Sum]], tuple[object, ...]]] = {
    "bytes": lambda one: (-one[1][1], -one[1][0], one[0] or ""),
    "files": lambda one: (-one[1][0], -one[1][1], one[0] or ""),
    "key": lambda one: (one[0] is None, one[0] or ""),
}

ORDERS = tuple(_ORDERS)
"""The orders of rows: the largest first, or by key."""
