"""Removing what was selected: bytes first, and rows only where the bytes are verifiably gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mlflow_cleanup.act.metadata import CHANGED, Outcome, Result, remove_rows, require_removable
from mlflow_cleanup.cycle.doubts import Doubts
from mlflow_cleanup.cycle.judging import ENTITIES, Considered, RowJudge, Trashed
from mlflow_cleanup.cycle.selection import Selected
from mlflow_cleanup.cycle.sight import Sight
from mlflow_cleanup.cycle.staying import Staying
from mlflow_cleanup.cycle.survey import held_in_place, released
from mlflow_cleanup.cycle.workplace import Workplace, real_roots
from mlflow_cleanup.decide.retention import is_due
from mlflow_cleanup.errors import CleanupError, DatabaseBusy
from mlflow_cleanup.model.collected import Collected, Fate
from mlflow_cleanup.model.deleted import Deleted
from mlflow_cleanup.model.item import ItemState, Size
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.plan import Judged, Step, StepResult, SweepPlan, digest_of
from mlflow_cleanup.model.target import Target, TargetKind
from mlflow_cleanup.model.verdict import Gone, Keep

_EMPTIED = ("models", "traces")
"""What MLflow makes in an experiment's directory beside its runs."""

Take = Callable[[Sequence[Judged], Sequence[str]], Iterable[Step]]
"""Takes places out of use, and purges what the trash holds of the entities with these ids as far
as it is due; yields what became of each place."""

Tell = Callable[[Collected], None]

RESTORED_EMPTY = "restored in MLflow after its files were removed"

_FATES = {
    Result.REMOVED: Fate.REMOVED,
    Result.KEPT: Fate.KEPT,
    Result.ABSENT: Fate.ABSENT,
}


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
    _judge: RowJudge = field(init=False)
    _staying: Staying = field(init=False)
    _held_for_now: list[Deleted] = field(init=False, default_factory=list)
    """Runs whose rows something holds that may yet go, with the experiment that they are in."""

    def __post_init__(self) -> None:
        self.doubts = Doubts(self.workplace)
        left_alone = released(self.workplace).ids - self.selected.named_ids
        self._judge = RowJudge(self.workplace, self.sight, left_alone)
        self._staying = Staying(self.workplace, self._judge, self.selected)

    def considered(self, *, takes_bytes: bool = True) -> Iterator[list[Considered]]:
        """Judge everything that was selected, page by page; changes nothing.

        Which experiments stay is worked out before; `takes_bytes`: files are to go as well.
        """
        if not self.only_purged:
            self._staying.work_out(takes_bytes=takes_bytes)
        was_asked = False
        for page in self.selected.pages():
            if not self._keeps_going():
                return
            if not was_asked and any(row.gone is Gone.EXPERIMENT_DELETED for row in page.chosen):
                was_asked = True
                self._staying.look_again()  # the runs may have taken hours
            if self.only_purged:
                yield self._judge.consider(self._purged(page.chosen))
                continue
            left = (Considered(row, stays=why) for row, why in page.left)
            found = [*self._judge.consider(page.chosen), *left]
            self._staying.learn(one.row for one in found if one.stays is not None)
            yield [self._staying.applied_to(one) for one in found]

    def remove(self, tell: Tell, take: Take | None, *, with_rows: bool = True) -> None:
        """Remove the bytes (`take`; None: no bytes) and then the rows of all that may go.

        The rows of a page go right after its files, so that hardly anybody who restores a run
        meanwhile finds an empty one. Raises what a cycle raises, DatabaseMissing and
        TrackingUnwritable; where no row can be removed, no file is either.
        """
        if with_rows:
            require_removable(self.workplace.settings.database)
        for page in self.considered(takes_bytes=take is not None):
            for one in page:
                if one.stays is not None:
                    tell(Collected(one.row.target, one.fate, one.stays, one.scheme))
            going = [one for one in page if one.stays is None]
            failed = self._take(going, take) if take is not None else {}
            if not self._keeps_going():
                return
            bare = list(self._without_bytes(going, failed, tell))
            if with_rows:
                self._remove_rows(bare, tell)
                continue
            for row in bare:
                if row.gone is not None:
                    tell(Collected(row.target, Fate.FILES_REMOVED))
        if self._keeps_going():
            self._remove_held(tell)
            self.selected.remember()

    def plan(self) -> tuple[SweepPlan, list[Considered]]:
        """Show what `remove` would do: the places that would go, measured, and every row."""
        rows = [one for page in self.considered() for one in page]
        waits = self._held_on()
        take = tuple(
            replace(judged, size=self._size_of(judged.place))
            for one in rows
            if one.stays is None
            for judged in one.places
            if judged.place not in waits and self._exists(judged.place)
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
            database=self.workplace.settings.database.name,
            identity=self.workplace.tracking.identity(),
            take=take,
            keep=keep,
        )
        return plan, rows

    def _held_on(self) -> frozenset[Location]:
        """Name the places that are held in place and whose time has not come."""
        retention, aged_s = self.workplace.settings.retention, self.sight.now.aged_s
        held = self.workplace.ledger.items.held_in_place()
        return frozenset(item.location for item in held if not is_due(item, retention, aged_s))

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
        return [row for row in found.values() if (ENTITIES[row.target.kind], row.target.id) in ids]

    def _keeps_going(self) -> bool:
        return self.workplace.unhurried()

    def _is_still_to_go_on(self) -> bool:
        """Ask between two batches of rows; raises LeaseLost."""
        self.workplace.still_ours()
        return self._keeps_going()

    def _without_bytes(
        self, going: Sequence[Considered], failed: Mapping[Target, Collected], tell: Tell
    ) -> Iterator[Deleted]:
        """Yield what has no bytes any more, as far as can be seen; tells of the others."""
        trashed = Trashed.of(self.workplace, going)
        for one in going:
            why = failed.get(one.row.target) or trashed.holding(one)
            if why is None and one.waits is not None:
                why = Collected(one.row.target, Fate.KEPT, one.waits)
            why = why or self._still_there(one)
            if why is None:
                yield one.row
                continue
            if why.fate is not Fate.HELD:  # what is held may be restored with all the rest
                self._staying.learn([one.row])
            tell(why)

    def _remove_rows(self, rows: Sequence[Deleted], tell: Tell) -> None:
        """Remove rows; those of runs that may yet go when others went are left for the end."""
        if any(row.target.kind is TargetKind.EXPERIMENT for row in rows):
            self._remove_held(tell)
        for outcome, row in self._removed(rows):
            is_run = row.target.kind is TargetKind.RUN
            is_held = outcome.result is Result.KEPT and not outcome.is_trouble
            may_go_yet = is_run and is_held and self._staying.goes(row.experiment_id)
            if may_go_yet and outcome.reason != CHANGED:
                self._held_for_now.append(row)
            else:
                self._settle(outcome, row, tell)

    def _remove_held(self, tell: Tell) -> None:
        for outcome, row in self._removed(self._held_for_now):
            self._settle(outcome, row, tell)
        self._held_for_now = []

    def _removed(self, rows: Sequence[Deleted]) -> Iterator[tuple[Outcome, Deleted]]:
        if not rows:
            return
        known = {row.target: row for row in rows}
        for outcome in remove_rows(
            self.workplace.settings.database,
            known,
            keep_going=self._is_still_to_go_on,
            tell=self.busy,
        ):
            yield outcome, known[outcome.target]

    def _settle(self, outcome: Outcome, row: Deleted, tell: Tell) -> None:
        """Tell what became of a row, and what follows from that."""
        if outcome.result is Result.KEPT:
            self._staying.learn([row])
        if outcome.result is Result.REMOVED and row.target.kind is TargetKind.EXPERIMENT:
            self._remove_directory(row)
        if outcome.reason == CHANGED and self._is_back(row) and self._had_files(row):
            tell(Collected(row.target, Fate.FAILED, RESTORED_EMPTY))
            return
        fate = Fate.FAILED if outcome.is_trouble else _FATES[outcome.result]
        tell(Collected(row.target, fate, outcome.reason))

    def _is_back(self, row: Deleted) -> bool:
        """Tell whether MLflow calls something deleted no longer, or what it left with."""
        target = row.target
        if row.gone is Gone.EXPERIMENT_DELETED:
            target = Target(TargetKind.EXPERIMENT, row.experiment_id or "")
        with self.workplace.tracking.deleted(None) as reader:
            stages = reader.named([target]).stages
        return stages.get(Target(target.kind, target.id)) not in (None, "deleted")

    def _had_files(self, row: Deleted) -> bool:
        items = self.workplace.ledger.items.of([row.target.id], ItemState.PURGED)
        return any(item.entity.kind is ENTITIES[row.target.kind] for item in items)

    def _take(self, going: Sequence[Considered], take: Take) -> dict[Target, Collected]:
        """Have places taken; returns those that would not go."""
        rows = {judged.place: one.row for one in going for judged in one.places}
        places = {judged.place: judged for one in going for judged in one.places}
        held = held_in_place(self.workplace)
        there = [
            judged for place, judged in places.items() if place not in held and self._exists(place)
        ]
        due = [one.row for one in going if one.waits is None]
        ids = [row.target.id for row in due if row.gone is not None]
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

    def _remove_directory(self, experiment: Deleted) -> None:
        """Remove a removed experiment's directory, where it is empty and no other's place."""
        spot = self.workplace.places().holder(experiment.texts[0])
        if spot is None or not spot[1] or spot[1][-1] != experiment.target.id:
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
