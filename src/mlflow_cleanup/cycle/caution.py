"""What a plan's steps ask for again, beside what the database says: a plan may be a day old."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mlflow_cleanup.act.tools import Tools
from mlflow_cleanup.cycle.survey import has_model, released
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.decide.sweep import NO_MODEL
from mlflow_cleanup.errors import CleanupError
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.entity import EntityKind
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.plan import Judged, SweepPlan
from mlflow_cleanup.model.verdict import Candidate, Garbage, Gone, Keep, Kept, Verdict


def cautious(plan: SweepPlan, tools: Tools, workplace: Workplace) -> Tools:
    """Look again at more than the database: at an orphan's files, and what operators restored."""
    planned = {item.place: item for item in plan.take}
    left = _LeftAlone(plan, workplace)

    def refresh() -> None:
        tools.refresh()
        left.read()

    def judge(candidate: Candidate) -> Verdict:
        verdict = tools.judge(candidate)
        if not isinstance(verdict, Garbage):
            return verdict
        if (kept := left.verdict(candidate) or _unrecognised(candidate, workplace)) is not None:
            return kept
        if candidate.gone is Gone.ORPHAN:
            return _unless_written_to(candidate, verdict, planned, tools)
        return verdict

    return replace(tools, refresh=refresh, judge=judge)


class _LeftAlone:
    """What is left alone by now: restored by hand since, or the backlog where that stays."""

    def __init__(self, plan: SweepPlan, workplace: Workplace) -> None:
        self._plan, self._workplace = plan, workplace
        self.read()

    def read(self) -> None:
        """Read it anew from the ledger."""
        self._released, self._backlog = released(self._workplace), frozenset[str]()
        if self._plan.leaves_backlog:
            self._backlog = self._workplace.ledger.known.ids(RunState.BACKLOG)

    def verdict(self, candidate: Candidate) -> Keep | None:
        """Say why a candidate is left alone, None where it is not."""
        if candidate.entity.id in self._released.ids or candidate.place in self._released.places:
            return Keep(Kept.RELEASED)
        return Keep(Kept.BACKLOG) if candidate.entity.id in self._backlog else None


def _unrecognised(candidate: Candidate, workplace: Workplace) -> Keep | None:
    """Say why a version's copy is none, or none any more."""
    place = candidate.place
    if candidate.entity.kind is not EntityKind.MODEL_VERSION or not isinstance(place, Location):
        return None
    return None if has_model(workplace, place) else NO_MODEL


def _unless_written_to(
    candidate: Candidate, verdict: Verdict, planned: Mapping[Location, Judged], tools: Tools
) -> Verdict:
    """Keep an orphan in which something was changed after its plan was made: it is in use.

    Modification times alone do not tell: copies often keep those of their originals.
    """
    place = candidate.place
    if not isinstance(place, Location):
        return verdict
    try:
        found, before = tools.store_of(place.root).newest_times(place), planned.get(place)
    except (CleanupError, OSError) as error:
        return Keep(Kept.UNREACHABLE, str(error))  # unreadable: it may have been written to
    if found is None:
        return verdict
    times = (None, None) if before is None else (before.newest, before.changed)
    if any(then is None or now > then for now, then in zip(found, times, strict=True)):
        return Keep(Kept.TOO_YOUNG, "since the plan was made")
    return verdict
