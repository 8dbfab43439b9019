"""The verdict on one place that a departed run had."""

from __future__ import annotations

from mlflow_cleanup.model.claim import ClaimIndex
from mlflow_cleanup.model.location import RESERVED, Location, Misread, Unplaced
from mlflow_cleanup.model.verdict import Candidate, Garbage, Keep, Kept, Verdict

_UNPLACED = {
    Misread.MALFORMED: Kept.MALFORMED,
    Misread.AMBIGUOUS: Kept.AMBIGUOUS,
    Misread.REMOTE: Kept.REMOTE,
    Misread.OUTSIDE_ROOTS: Kept.OUTSIDE_ROOTS,
    Misread.SYMLINK: Kept.SYMLINK,
    Misread.RESERVED: Kept.RESERVED,
}


def judge(candidate: Candidate, claims: ClaimIndex) -> Verdict:
    """Say whether anybody could still reach the candidate's bytes.

    Only what is known to be the run's own directory, unclaimed and not pinned, is garbage.
    """
    if candidate.entity in claims.pinned:
        return Keep(Kept.PINNED)
    if isinstance(candidate.place, Unplaced):
        return Keep(_UNPLACED[candidate.place.why], candidate.place.detail)
    if not is_own_directory(candidate.place, candidate.entity.id):
        return Keep(Kept.NOT_ITS_OWN, str(candidate.place))
    claim = claims.on_place(candidate.place.path) or claims.on_run(candidate.entity.id)
    if claim is not None:
        return Keep(Kept.LIVE_CLAIM, str(claim.holder))
    if candidate.still_writing:
        return Keep(Kept.STILL_WRITING)
    return Garbage(candidate.gone, candidate.deleted_at)


def is_own_directory(place: Location, run_id: str) -> bool:
    """Tell whether a place has the shape `…/<run_id>/artifacts`, which MLflow gives one run only.

    An artifact root, an experiment's directory or another run's all fail this.
    """
    return place.inside[-2:] == (run_id, "artifacts") and RESERVED not in place.inside
