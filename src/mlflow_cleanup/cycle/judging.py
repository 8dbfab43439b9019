"""Judging rows that are deleted by the places of their bytes, and by what the trash holds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mlflow_cleanup.cycle.candidates import still_at_work
from mlflow_cleanup.cycle.sight import Sight
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.ledger.items import HELD, OPEN
from mlflow_cleanup.model.collected import Collected, Fate
from mlflow_cleanup.model.deleted import Deleted
from mlflow_cleanup.model.entity import Entity, EntityKind
from mlflow_cleanup.model.item import Held, Item
from mlflow_cleanup.model.location import scheme_of
from mlflow_cleanup.model.moment import from_ms
from mlflow_cleanup.model.plan import Judged
from mlflow_cleanup.model.target import Target, TargetKind
from mlflow_cleanup.model.verdict import Candidate, Keep, Kept

ENTITIES = {
    TargetKind.RUN: EntityKind.RUN,
    TargetKind.LOGGED_MODEL: EntityKind.LOGGED_MODEL,
    TargetKind.TRACE: EntityKind.TRACE,
    TargetKind.EXPERIMENT: EntityKind.EXPERIMENT,
}
_ON_PURPOSE = (
    Kept.ACTIVE,
    Kept.LIVE_CLAIM,
    Kept.PINNED,
    Kept.STILL_WRITING,
    Kept.RELEASED,
)
"""Reasons to keep something that are no failure."""

_HELD = tuple(dict.fromkeys((*HELD, *OPEN)))


@dataclass(frozen=True, slots=True)
class Considered:
    """One row with its judged places.

    `stays` says why nothing of it may go, and `fate` how that counts. `waits`: why its row stays
    for now, while its bytes may go into the trash, though not for good. `scheme` names the storage
    it is in, where that is not handled.
    """

    row: Deleted
    places: tuple[Judged, ...] = ()
    stays: str | None = None
    fate: Fate = Fate.KEPT
    waits: str | None = None
    scheme: str | None = None


@dataclass(frozen=True, slots=True)
class RowJudge:
    """Judges rows by `sight`; those whose ids are `left_alone` were restored by hand."""

    workplace: Workplace
    sight: Sight
    left_alone: Collection[str]

    def consider(self, rows: Sequence[Deleted]) -> list[Considered]:
        """Judge rows, each by its pins and by all of its places."""
        found = self._candidates(rows)
        pinned_here = {pin.target for pin in self.workplace.ledger.pins.all()}
        return [self._consider(row, found.get(row.target, ()), pinned_here) for row in rows]

    def _consider(
        self, row: Deleted, candidates: Iterable[Candidate], pinned_here: Collection[str]
    ) -> Considered:
        judged = tuple(Judged(one, self.sight.judge(one)) for one in candidates)
        kept = [item.verdict for item in judged if isinstance(item.verdict, Keep)]
        is_pinned = _entity(row.target) in self.sight.ground.claims.pinned
        if is_pinned or row.target.id in pinned_here:
            kept.insert(0, Keep(Kept.PINNED))
        elif row.gone is not None and row.target.id in self.left_alone:
            kept.append(Keep(Kept.RELEASED))
        if not kept:
            return Considered(row, judged)
        fate = Fate.KEPT if kept[0].reason in _ON_PURPOSE else Fate.FAILED
        scheme = scheme_of(kept[0].detail) if kept[0].reason is Kept.REMOTE else None
        return Considered(row, judged, str(kept[0]), fate, scheme=scheme)

    def _candidates(self, rows: Iterable[Deleted]) -> dict[Target, list[Candidate]]:
        """Make a candidate of every place, marked where a process may still be writing to it."""
        places = self.workplace.places()
        found = {
            row.target: [
                Candidate(
                    entity=Entity(ENTITIES[row.target.kind], row.target.id),
                    place=places.locate(text),
                    gone=row.gone,
                    name=row.name,
                    experiment_id=row.experiment_id,
                    deleted_at=from_ms(row.since_ms),
                )
                for text in row.texts
            ]
            for row in rows
            if row.gone is not None
        }
        every = [candidate for some in found.values() for candidate in some]
        writing = still_at_work(every, self.workplace, self.sight.now)
        return {
            target: [replace(one, still_writing=one in writing) for one in some]
            for target, some in found.items()
        }


@dataclass(frozen=True, slots=True)
class Trashed:
    """What the trash holds: `items` of some entities, and `around`: all places it has, with ids."""

    items: Mapping[str, Item]
    around: Mapping[str, str]

    @classmethod
    def of(cls, workplace: Workplace, some: Iterable[Considered]) -> Trashed:
        """Look at what the ledger says of them now."""
        ids = [one.row.target.id for one in some if one.row.gone is not None]
        items = workplace.ledger.items.of(ids, *_HELD)
        return cls({item.entity.id: item for item in items}, workplace.ledger.items.paths(*_HELD))

    def holding(self, one: Considered) -> Collected | None:
        """Say why a row stays: the trash holds its bytes, or that inside of which they lay."""
        target = one.row.target
        if one.row.gone is None:
            return None
        if (item := self.items.get(target.id)) is not None:
            if item.error:
                return Collected(target, Fate.FAILED, item.error)
            where = "held in place" if item.held is Held.IN_PLACE else "in the trash"
            return Collected(target, Fate.HELD, f"its files are {where}, as item {item.id}")
        for judged in one.places if self.around else ():
            for path in _above(judged.place.path):
                if path in self.around:
                    why = f"its files went into the trash with item {self.around[path]}"
                    return Collected(target, Fate.HELD, why)
        return None


def _entity(target: Target) -> Entity | None:
    kind = ENTITIES.get(target.kind)
    return None if kind is None else Entity(kind, target.id)


def _above(path: str) -> Iterator[str]:
    """Name a path and every one above it."""
    while path:
        yield path
        path = path.rpartition("/")[0]
