"""Which of the chosen experiments stay, worked out before anything goes.

What left only with its deleted experiment, such as an active logged model, is there again when
somebody restores that. So nothing of it may go while the experiment stays, for whatever reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from mlflow_cleanup.act.metadata import foresee
from mlflow_cleanup.cycle.judging import Considered, RowJudge, Trashed
from mlflow_cleanup.cycle.selection import Page, Selected
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.decide.retention import is_due
from mlflow_cleanup.errors import CleanupError
from mlflow_cleanup.model.deleted import Deleted
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.target import Target, TargetKind
from mlflow_cleanup.model.verdict import Gone


@dataclass(frozen=True, slots=True)
class _Wait:
    """Why something waits; `is_final`: it does not end by itself."""

    text: str
    is_final: bool = False


@dataclass(slots=True)
class Staying:
    """The experiments in which something stays, with the reason.

    `_waits` are those of which something is or goes in the trash, and nothing else stands in their
    way: what left only with them may go there too, and can be restored with all the rest.
    """

    workplace: Workplace
    judge: RowJudge
    selected: Selected
    _stays: dict[str, str] = field(init=False, default_factory=dict)
    _waits: dict[str, str] = field(init=False, default_factory=dict)
    _going: dict[str, list[Target]] = field(init=False, default_factory=dict)
    """All that would go with each experiment, itself too."""

    def work_out(self, *, takes_bytes: bool) -> None:
        """Look at everything in the chosen experiments; changes nothing.

        `takes_bytes`: what has files is to lose them.
        """
        self._stays, self._waits = self.selected.kept_experiments, {}
        self._going = defaultdict(list)
        for page in self.selected.inside():
            if not self.workplace.unhurried():
                return
            self._look_at(page, takes_bytes=takes_bytes)
        self._foresee()

    def look_again(self) -> None:
        """Ask once more for what keeps experiments, where time has passed since."""
        self._foresee()

    def learn(self, rows: Iterable[Deleted]) -> None:
        """Take down that rows stay, and so do their experiments."""
        for row in rows:
            if row.experiment_id is not None:
                self._stays.setdefault(row.experiment_id, f"{row.target} in it stays")

    def goes(self, experiment_id: str | None) -> bool:
        """Tell whether an experiment is to go, as far as is known."""
        is_chosen = experiment_id in self.selected.chosen_experiments
        return is_chosen and experiment_id not in self._stays and experiment_id not in self._waits

    def applied_to(self, one: Considered) -> Considered:
        """Keep what is not deleted itself: who restores the experiment finds it there."""
        is_active = one.row.gone in (None, Gone.EXPERIMENT_DELETED)
        id_ = one.row.experiment_id or ""
        if one.stays is not None or not is_active:
            return one
        is_experiment = one.row.target.kind is TargetKind.EXPERIMENT
        if (why := self._stays.get(id_)) is not None:
            return replace(one, stays=why if is_experiment else f"its experiment stays: {why}")
        if (why := self._waits.get(id_)) is not None:
            if is_experiment:
                return replace(one, stays=why)
            return replace(one, waits=f"its experiment stays: {why}")
        return one

    def _look_at(self, page: Page, *, takes_bytes: bool) -> None:
        self.learn(row for row, _ in page.left)
        found = self.judge.consider(page.chosen)
        trashed = Trashed.of(self.workplace, found)
        for one in found:
            id_ = one.row.experiment_id or ""
            self._going[id_].append(Target(one.row.target.kind, one.row.target.id))
            if one.stays is not None:
                is_experiment = one.row.target.kind is TargetKind.EXPERIMENT
                why = one.stays if is_experiment else f"{one.row.target} in it stays"
                self._stays.setdefault(id_, why)
            elif wait := self._is_to_wait(one, trashed, takes_bytes=takes_bytes):
                can_wait = takes_bytes and self.workplace.settings.retention and not wait.is_final
                kept = self._waits if can_wait else self._stays
                kept.setdefault(id_, f"{one.row.target} in it stays: {wait.text}")

    def _is_to_wait(self, one: Considered, trashed: Trashed, *, takes_bytes: bool) -> _Wait | None:
        """Say why a row cannot go before the files of it are purged."""
        item = trashed.items.get(one.row.target.id)
        retention, aged_s = self.workplace.settings.retention, self.judge.sight.now.aged_s
        if takes_bytes and item is not None and is_due(item, retention, aged_s):
            return None
        if (held := trashed.holding(one)) is not None:
            return _Wait(held.reason, is_final=item is not None and bool(item.error))
        if takes_bytes and not retention:
            return None
        if any(self._exists(judged.place) for judged in one.places):
            return _Wait("its files go into the trash first" if takes_bytes else "it has files")
        return None

    def _exists(self, place: Location) -> bool:
        try:
            return self.workplace.store_of(place.root).exists(place)
        except (CleanupError, OSError):
            return True  # not known to be gone

    def _foresee(self) -> None:
        """Ask for what would keep the rest; what stays may itself keep others, so ask again."""
        while self.workplace.unhurried():
            going = {
                id_: some
                for id_, some in self._going.items()
                if id_ not in self._stays and id_ not in self._waits
            }
            held = going and foresee(
                self.workplace.settings.database,
                (target for some in going.values() for target in some),
                keep_going=self.workplace.unhurried,
            )
            if not held:
                return
            known = len(self._stays)
            for id_, some in going.items():
                for target in filter(held.__contains__, some):
                    is_experiment = target.kind is TargetKind.EXPERIMENT
                    why = held[target] if is_experiment else f"{target} in it: {held[target]}"
                    self._stays.setdefault(id_, why)
            if len(self._stays) == known:
                return
