"""Reading what an operator selected of what is deleted, page by page; bad ids are refused first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import chain

from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.decide.selection import Chooser, problems
from mlflow_cleanup.errors import BadSelection
from mlflow_cleanup.model.deleted import Deleted, Selection
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.target import Target, TargetKind
from mlflow_cleanup.model.verdict import Gone
from mlflow_cleanup.observe.deleted import PAGE, Position

_UNDATED = ""
"""Under this name the ledger remembers since when something undated is seen deleted."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what is deleted: what was selected, and what stays with the reason."""

    chosen: tuple[Deleted, ...]
    left: tuple[tuple[Deleted, str], ...] = ()


def _in_pages(rows: list[Deleted]) -> Iterator[list[Deleted]]:
    for start in range(0, len(rows), PAGE):
        yield rows[start : start + PAGE]


class Selected:
    """What was selected; raises BadSelection for ids that MLflow would refuse.

    Rows are read when they are asked for: experiments at once, as what is in them goes with them.
    """

    def __init__(self, workplace: Workplace, selection: Selection, now: Moment) -> None:
        self._tracking, self._ledger = workplace.tracking, workplace.ledger
        self._selection, self._now = selection, now
        self._undated: set[Target] = set()
        chooser = Chooser(selection, int(now.age_s(0.0) * 1000), self._seen())
        with self._tracking.deleted(selection.workspace) as reader:
            named = reader.named(selection.targets)
            experiments = reader.experiments()
            runs = reader.runs_named(selection.run_ids or ())
            models = reader.models()
            active = reader.active_runs_in(row.target.id for row in experiments)
        if found := list(problems(chooser, named, (*experiments, *runs, *models))):
            raise BadSelection(found)
        chosen = [row for row in experiments if chooser.chooses(row)]
        self._note_undated(experiments)
        inside = frozenset(row.target.id for row in chosen)
        self._chooser = replace(chooser, experiments=inside)
        with self._tracking.deleted(selection.workspace) as reader:
            needed = reader.runs_named_by_models(inside)
        stays = {
            **{id_: f"run {run} in it has metrics of a live model" for id_, run in needed.items()},
            **{id_: f"run {run} in it is not deleted" for id_, run in active.items()},
        }
        self._models = models
        self._traces: list[Deleted] | None = None
        self._experiments = Page(
            tuple(row for row in chosen if row.target.id not in stays),
            tuple((row, stays[row.target.id]) for row in chosen if row.target.id in stays),
        )

    @property
    def named_ids(self) -> frozenset[str]:
        """The ids that were given."""
        return frozenset(target.id for target in self._selection.targets)

    @property
    def kept_experiments(self) -> dict[str, str]:
        """Experiments that were chosen and yet stay, with the reason."""
        return {row.target.id: why for row, why in self._experiments.left}

    @property
    def chosen_experiments(self) -> AbstractSet[str]:
        """The experiments that were chosen, those that stay too."""
        return self._chooser.experiments

    def inside(self) -> Iterator[Page]:
        """Yield what is in the chosen experiments, and these, unless it is known that they stay."""
        going = {row.target.id for row in self._experiments.chosen}
        if not going:
            return
        for rows in chain(self._models_and_traces(), self._runs()):
            yield self._page(row for row in rows if row.experiment_id in going)
        yield replace(self._experiments, left=())

    def pages(self) -> Iterator[Page]:
        """Yield everything selected.

        What is deleted itself comes before what left only with its experiment, which stays when
        any of that does not go; then jobs, and at last, though there are none, the experiments.
        """
        for rows in _in_pages(self._models):
            yield self._page(row for row in rows if row.gone is not Gone.EXPERIMENT_DELETED)
        for rows in self._runs():
            yield self._page(rows)
        for rows in self._models_and_traces():
            yield self._page(row for row in rows if row.gone is Gone.EXPERIMENT_DELETED)
        if self._selection.takes_jobs:
            with self._tracking.deleted(self._selection.workspace) as reader:
                jobs = reader.jobs(self._selection.job_ids)
            yield Page(tuple(filter(self._chooser.is_old, jobs)))
        yield self._experiments

    def remember(self) -> None:
        """Take down since when what no row dates is seen deleted; everything was read by now.

        What was not looked at, as something else was asked for, is as old as it was.
        """
        if self._selection.older_than is not None:
            if self._selection.named or self._selection.workspace is not None:
                self._undated.update(self._chooser.seen_s)
            places = [(target.kind.value, target.id) for target in self._undated]
            self._ledger.sightings.note_other(_UNDATED, places, self._now)

    def _models_and_traces(self) -> Iterator[list[Deleted]]:
        yield from _in_pages(self._models)
        if not self._chooser.experiments:
            return
        if self._traces is None:
            with self._tracking.deleted(self._selection.workspace) as reader:
                self._traces = reader.traces()
        yield from _in_pages(self._traces)

    def _runs(self) -> Iterator[list[Deleted]]:
        if (named := self._selection.run_ids) is None:
            yield from self._every_run()
            return
        with self._tracking.deleted(self._selection.workspace) as reader:
            runs = reader.runs_named(named)
            inside = reader.runs_of(self._chooser.experiments)
        rows = list({row.target: row for row in (*runs, *inside)}.values())
        yield from _in_pages(rows)

    def _every_run(self) -> Iterator[list[Deleted]]:
        last: Position = None
        while True:
            with self._tracking.deleted(self._selection.workspace) as reader:
                rows, last = reader.runs_after(last)
            if not rows:
                return
            yield rows

    def _page(self, rows: Iterable[Deleted]) -> Page:
        chosen: list[Deleted] = []
        left: list[tuple[Deleted, str]] = []
        rows = list(rows)
        self._note_undated(rows)
        for row in rows:
            why = self._chooser.left(row)
            if why is None:
                chosen.append(row)
            elif why:
                left.append((row, why))
        return Page(tuple(chosen), tuple(left))

    def _note_undated(self, rows: Iterable[Deleted]) -> None:
        """Take down what is deleted though no row says when; a trace only leaves with others."""
        self._undated.update(
            row.target
            for row in rows
            if row.since_ms is None and row.gone is not Gone.EXPERIMENT_DELETED
        )

    def _seen(self) -> dict[Target, float]:
        """Say for how many seconds what no row dates is known to be deleted."""
        if self._selection.older_than is None:
            return {}
        first = self._ledger.sightings.since_when(_UNDATED)
        return {
            Target(TargetKind(kind), id_): self._now.awake_s - first_s
            for (kind, id_), first_s in first.items()
        }
