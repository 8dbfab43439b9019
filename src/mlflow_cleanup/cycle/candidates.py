"""From rows and known runs to candidates that can be judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mlflow_cleanup.cycle.sight import Sight
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.decide.margins import QUIET_BEFORE_IRREVERSIBLE
from mlflow_cleanup.errors import CleanupError
from mlflow_cleanup.ledger.known import KnownRun, RunState
from mlflow_cleanup.model.entity import run
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.snapshot import RunRow
from mlflow_cleanup.model.verdict import Candidate, Gone

_ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})


def active(rows: Iterable[RunRow]) -> list[KnownRun]:
    """Take down the active ones of the given rows."""
    return [
        KnownRun(row.run_id, RunState.ACTIVE, row.experiment_id, row.artifact_uri)
        for row in rows
        if not row.is_deleted
    ]


def seen_active(rows: Iterable[RunRow]) -> list[KnownRun]:
    """Take down runs that were active a moment ago; one deleted since then has left."""
    return [
        KnownRun(row.run_id, RunState.ACTIVE, row.experiment_id, row.artifact_uri) for row in rows
    ]


def backlog(rows: Iterable[RunRow]) -> list[KnownRun]:
    """Take down the deleted ones of the given rows as deleted before our time."""
    return [
        KnownRun(row.run_id, RunState.BACKLOG, row.experiment_id, row.artifact_uri)
        for row in rows
        if row.is_deleted
    ]


def orphan(run_id: str, row: RunRow | None) -> KnownRun:
    """Take down a run that left, with what its row says, if it has one still."""
    if row is None:
        return KnownRun(run_id, RunState.ORPHANED, None, None)
    return KnownRun(run_id, RunState.ORPHANED, row.experiment_id, row.artifact_uri)


def of(known: Iterable[KnownRun], sight: Sight, workplace: Workplace) -> list[Candidate]:
    """Make candidates of known runs that left, with what their rows say, if they have one still.

    One that failed is left out until its pause is over.
    """
    rows = sight.snapshot.departed if sight.snapshot else {}
    return [
        _candidate(run_, rows.get(run_.run_id), sight, workplace)
        for run_ in known
        if run_.retry_s <= sight.now.aged_s
    ]


def _candidate(
    known: KnownRun, row: RunRow | None, sight: Sight, workplace: Workplace
) -> Candidate:
    uri = row.artifact_uri if row else known.artifact_uri
    place = sight.places.locate(uri)
    return Candidate(
        entity=run(known.run_id),
        place=place,
        gone=Gone.DELETED if row else Gone.VANISHED,
        name=row.name if row else None,
        experiment_id=known.experiment_id,
        deleted_at=row.deleted_at if row else None,
        still_writing=_still_writing(row, place, sight.now, workplace),
    )


def vanished(sight: Sight, workplace: Workplace) -> Iterator[Candidate]:
    """Make candidates of the known runs whose rows are gone, whether that was noticed or not."""
    known, heads = workplace.ledger.known, sight.heads
    lost = known.ids(RunState.ACTIVE, RunState.ORPHANED) - heads.active - heads.deleted
    for run_id in sorted(lost):
        if (run_ := known.get(run_id)) is not None:
            yield _candidate(run_, None, sight, workplace)


def still_at_work(
    found: Iterable[Candidate], workplace: Workplace, now: Moment
) -> frozenset[Candidate]:
    """Return the runs that may still be written to; none where what is taken can be restored."""
    if workplace.settings.retention:
        return frozenset()
    left = (Gone.DELETED, Gone.VANISHED)
    runs = {candidate.entity.id: candidate for candidate in found if candidate.gone in left}
    rows = workplace.tracking.rows(frozenset(runs))
    return frozenset(
        candidate
        for id_, candidate in runs.items()
        if _still_writing(rows.get(id_), candidate.place, now, workplace)
    )


def _still_writing(row: RunRow | None, place: object, now: Moment, workplace: Workplace) -> bool:
    """Tell whether a process may still be writing; asked only where nothing could be undone."""
    if workplace.settings.retention or not isinstance(place, Location):
        return False
    if row is not None and row.status in _ENDED:
        return False
    try:
        newest = workplace.store_of(place.root).newest_write(place)
    except (CleanupError, OSError):
        return True
    if newest is None:
        return False
    return now.age_s(newest) < QUIET_BEFORE_IRREVERSIBLE.total_seconds()
