"""Removing what was selected: bytes first, and rows only where the bytes are verifiably gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mlflow_cleanup.act.metadata import Outcome, Result, remove_rows
from mlflow_cleanup.cycle.candidates import still_at_work
from mlflow_cleanup.cycle.doubts import Doubts
from mlflow_cleanup.cycle.selection import Selected
from mlflow_cleanup.cycle.sight import Sight
from mlflow_cleanup.cycle.survey import released
from mlflow_cleanup.cycle.workplace import Workplace, real_roots
from mlflow_cleanup.errors import CleanupError, DatabaseBusy
from mlflow_cleanup.ledger.items import HELD, OPEN
from mlflow_cleanup.model.collected import Collected, Fate
from mlflow_cleanup.model.deleted import Deleted
from mlflow_cleanup.model.entity import Entity, EntityKind
from mlflow_cleanup.model.item import Item, ItemState, Size
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.moment import from_ms
from mlflow_cleanup.model.plan import Judged, Step, StepResult, SweepPlan, digest_of
from mlflow_cleanup.model.target import Target, TargetKind
from mlflow_cleanup.model.verdict import Candidate, Gone, Keep, Kept

_ENTITIES = {
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

_EMPTIED = ("models", "traces")
"""What MLflow makes in an experiment's directory beside its runs."""

Take = Callable[[Sequence[Judged], Sequence[str]], Iterable[Step]]
"""Takes places out of use, and purges what the trash holds of the entities with these ids as far
as it is due; yields what became of each place."""

Tell = Callable[[Collected], None]


@dataclass(frozen=True, slots=True)
class Considered:
    """One row with its judged places.

    `stays` says why nothing of it may go, and `fate` how that counts.
    """

    row: Deleted
    places: tuple[Judged, ...] = ()
    stays: str | None = None
    fate: Fate = Fate.KEPT


@dataclass(slots=True)
class Collection:
    """One collection of what was selected.

    `sight` gives the verdicts; `busy` hears that others have the database locked; `only_purged`:
    only what the ledger says was purged is meant.
    """

    workplace: Workplace
    sight: Sight
    selected: Selected
    only_purged: bool = False
    busy: Callable[[DatabaseBusy], object] = lambda _: None
    doubts: Doubts = field(init=False)
    _experiments: dict[str, str | None] = field(init=False, default_factory=dict)
    _staying: dict[str, str] = field(init=False, default_factory=dict)
    """Experiments in which something stays, and so do they, with what left only with them."""

    def __post_init__(self) -> None:
        self.doubts = Doubts(self.workplace)

    def considered(self) -> Iterator[list[Considered]]:
        """Judge everything that was selected, page by page; changes nothing."""
        left_alone = dict.fromkeys(
            released(self.workplace).ids - self.selected.named_ids, Keep(Kept.RELEASED)
        )
        self._staying = self.selected.kept_experiments
        for page in self.selected.pages():
            if self.only_purged:
                yield list(self._consider(self._purged(page.chosen), left_alone))
                continue
            left = (Considered(row, stays=why) for row, why in page.left)
            found = [*self._consider(page.chosen, left_alone), *left]
            self._keep_experiments_of(one.row for one in found if one.stays is not None)
            yield [self._kept_with_its_experiment(one) for one in found]

    def _keep_experiments_of(self, rows: Iterable[Deleted]) -> None:
        for row in rows:
            if row.experiment_id is not None:
                self._staying.setdefault(row.experiment_id, f"{row.target} in it stays")

    def _kept_with_its_experiment(self, one: Considered) -> Considered:
        """Keep what is not deleted itself: who restores the experiment finds it there."""
        why = self._staying.get(one.row.experiment_id or "")
        is_active = one.row.gone in (None, Gone.EXPERIMENT_DELETED)
        if one.stays is not None or why is None or not is_active:
            return one
        is_experiment = one.row.target.kind is TargetKind.EXPERIMENT
        return replace(one, stays=why if is_experiment else f"its experiment stays: {why}")

    def remove(self, tell: Tell, take: Take | None, *, with_rows: bool = True) -> None:
        """Remove the bytes (`take`; None: no bytes) and then the rows of all that may go.

        Raises what a cycle raises, DatabaseMissing and TrackingUnwritable.
        """
        going = self._without_bytes(tell, take)
        if not with_rows:
            for row in going:
                if row.gone is not None:
                    tell(Collected(row.target, Fate.FILES_REMOVED))
            return
        for outcome in remove_rows(
            self.workplace.settings.database,
            (row.target for row in going),
            keep_going=self._keeps_going,
            tell=self.busy,
        ):
            if outcome.result is Result.REMOVED and outcome.target.kind is TargetKind.EXPERIMENT:
                self._remove_directory(outcome.target.id)
            tell(_collected(outcome))

    def plan(self) -> tuple[SweepPlan, list[Considered]]:
        """Show what `remove` would do: the places that would go, measured, and every row."""
        rows = [one for page in self.considered() for one in page]
        take = tuple(
            replace(judged, size=self._size_of(judged.place))
            for one in rows
            if one.stays is None
            for judged in one.places
            if self._exists(judged.place)
        )
        keep = tuple(
            judged
            for one in rows
            if one.stays is not None
            for judged in one.places
            if isinstance(judged.verdict, Keep)
        )
        plan = SweepPlan(
            id=digest_of(None, take),
            made_at=self.sight.now.at,
            database=self.workplace.settings.database,
            identity=self.workplace.tracking.identity(),
            take=take,
            keep=keep,
        )
        return plan, rows

    def _size_of(self, place: Location) -> Size | None:
        try:
            return self.workplace.store_of(place.root).measure(place, self._keeps_going)
        except (CleanupError, OSError):
            return None

    def _purged(self, rows: Iterable[Deleted]) -> list[Deleted]:
        """Keep what had files, all of which were purged; no experiment is among that."""
        found = {row.target.id: row for row in rows if row.gone is not None}
        purged = self.workplace.ledger.items.of(found, ItemState.PURGED)
        ids = {(item.entity.kind, item.entity.id) for item in purged}
        return [row for row in found.values() if (_ENTITIES[row.target.kind], row.target.id) in ids]

    def _keeps_going(self) -> bool:
        return self.workplace.unhurried()

    def _consider(
        self, rows: Sequence[Deleted], left_alone: Mapping[str, Keep]
    ) -> Iterator[Considered]:
        found = self._candidates(rows)
        pinned = self.sight.ground.claims.pinned
        pinned_here = {pin.target for pin in self.workplace.ledger.pins.all()}
        for row in rows:
            judged = tuple(Judged(one, self.sight.judge(one)) for one in found.get(row.target, ()))
            entity = _entity(row.target)
            kept = [item.verdict for item in judged if isinstance(item.verdict, Keep)]
            if entity in pinned or row.target.id in pinned_here:
                kept.insert(0, Keep(Kept.PINNED))
            elif row.gone is not None and row.target.id in left_alone:
                kept.append(left_alone[row.target.id])
            if kept:
                fate = Fate.KEPT if kept[0].reason in _ON_PURPOSE else Fate.FAILED
                yield Considered(row, judged, str(kept[0]), fate)
            else:
                yield Considered(row, judged)

    def _candidates(self, rows: Iterable[Deleted]) -> dict[Target, list[Candidate]]:
        """Make a candidate of every place, marked where a process may still be writing to it."""
        places = self.workplace.places()
        found = {
            row.target: [
                Candidate(
                    entity=Entity(_ENTITIES[row.target.kind], row.target.id),
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

    def _without_bytes(self, tell: Tell, take: Take | None) -> Iterator[Deleted]:
        """Take the bytes, page by page; yields what has none any more, as far as can be seen."""
        for page in self.considered():
            if not self._keeps_going():
                return
            going = [one for one in page if one.stays is None]
            for one in page:
                if one.stays is not None:
                    tell(Collected(one.row.target, one.fate, one.stays))
            failed = self._take(going, take) if take is not None else {}
            if not self._keeps_going():
                return
            held, around = self._held(going), self.workplace.ledger.items.paths(*_HELD)
            for one in going:
                why = (
                    failed.get(one.row.target)
                    or self._in_trash(one, held, around)
                    or self._still_there(one)
                )
                if why is not None:
                    if why.fate is not Fate.HELD:  # what is held may be restored with all the rest
                        self._keep_experiments_of([one.row])
                    tell(why)
                    continue
                if one.row.target.kind is TargetKind.EXPERIMENT:
                    self._experiments[one.row.target.id] = one.row.texts[0]
                yield one.row
        self.selected.remember()

    def _take(self, going: Sequence[Considered], take: Take) -> dict[Target, Collected]:
        """Have places taken; returns those that would not go."""
        rows = {judged.place: one.row for one in going for judged in one.places}
        places = {judged.place: judged for one in going for judged in one.places}
        there = [judged for place, judged in places.items() if self._exists(place)]
        ids = [one.row.target.id for one in going if one.row.gone is not None]
        failed: dict[Target, Collected] = {}
        for step in take(there, ids):
            target = rows[step.judged.place].target
            if step.result in (StepResult.FAILED, StepResult.NOT_OURS):
                failed[target] = Collected(target, Fate.FAILED, step.detail)
            elif step.result is StepResult.SKIPPED and self._exists(step.judged.place):
                failed[target] = Collected(target, Fate.KEPT, step.detail)
        return failed

    def _exists(self, place: Location) -> bool:
        try:
            return self.workplace.store_of(place.root).exists(place)
        except (CleanupError, OSError):
            return False  # it is looked at once more before its row goes

    def _held(self, going: Iterable[Considered]) -> Mapping[str, Item]:
        ids = [one.row.target.id for one in going if one.row.gone is not None]
        items = self.workplace.ledger.items.of(ids, *_HELD)
        return {item.entity.id: item for item in items}

    def _in_trash(
        self, one: Considered, held: Mapping[str, Item], around: Mapping[str, str]
    ) -> Collected | None:
        """Say why a row stays: the trash holds its bytes, or that inside of which they lay.

        `around` are all places of which the trash holds something.
        """
        target = one.row.target
        if one.row.gone is None:
            return None
        if (item := held.get(target.id)) is not None:
            if item.error:
                return Collected(target, Fate.FAILED, item.error)
            return Collected(target, Fate.HELD, f"its files are in the trash, as item {item.id}")
        for judged in one.places if around else ():
            for path in _above(judged.place.path):
                if path in around:
                    why = f"its files went into the trash with item {around[path]}"
                    return Collected(target, Fate.HELD, why)
        return None

    def _still_there(self, one: Considered) -> Collected | None:
        """Say why a row stays: its bytes are there, or it cannot be seen that they are not."""
        target = one.row.target
        for judged in one.places:
            place = judged.place
            try:
                store = self.workplace.store_of(place.root)
                store.check()
                if store.exists(place):
                    return Collected(target, Fate.KEPT, f"its files are there: {place}")
                if (doubt := self.doubts.on(place.root)) is not None:
                    return Collected(target, Fate.FAILED, doubt)
                store.remove_empty(Location(place.root, place.inside[:-1]))
            except (CleanupError, OSError) as error:
                return Collected(target, Fate.FAILED, str(error))
        return None

    def _remove_directory(self, experiment_id: str) -> None:
        """Remove a removed experiment's directory, where it is empty and no other's place."""
        spot = self.workplace.places().holder(self._experiments.get(experiment_id))
        if spot is None or not spot[1] or spot[1][-1] != experiment_id:
            return
        try:
            store = self.workplace.store_of(spot[0])
            for inside in (*((*spot[1], name) for name in _EMPTIED), spot[1]):
                store.remove_empty(Location(spot[0], inside))
        except (CleanupError, OSError):
            return  # an empty directory is no bytes; a sweep sees it


def look_only(workplace: Workplace) -> Sight:
    """Look at everything for verdicts that are only shown; changes nothing."""
    sight = Sight(workplace, workplace.ledger.peek(workplace.clock()))
    sight.look()
    unreachable = set()
    for root in real_roots(workplace.settings):
        try:
            workplace.store_of(root).check()
        except CleanupError:
            unreachable.add(root)
    sight.unreachable = frozenset(unreachable)
    return sight


def _entity(target: Target) -> Entity | None:
    kind = _ENTITIES.get(target.kind)
    return None if kind is None else Entity(kind, target.id)


def _above(path: str) -> Iterator[str]:
    """Name a path and every one above it."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _collected(outcome: Outcome) -> Collected:
    fates = {
        Result.REMOVED: Fate.REMOVED,
        Result.KEPT: Fate.KEPT,
        Result.ABSENT: Fate.ABSENT,
    }
    fate = Fate.FAILED if outcome.is_trouble else fates[outcome.result]
    return Collected(outcome.target, fate, outcome.reason)
