"""The verdict on one place that a departed entity had."""

from __future__ import annotations

from mlflow_cleanup.model.claim import ClaimIndex
from mlflow_cleanup.model.entity import Entity, EntityKind
from mlflow_cleanup.model.location import RESERVED, Location, Misread, Unplaced
from mlflow_cleanup.model.shape import is_own_place, is_usual_experiment, shape_of
from mlflow_cleanup.model.verdict import Candidate, Garbage, Gone, Keep, Kept, Verdict

_UNPLACED = {
    Misread.MALFORMED: Kept.MALFORMED,
    Misread.AMBIGUOUS: Kept.AMBIGUOUS,
    Misread.REMOTE: Kept.REMOTE,
    Misread.OUTSIDE_ROOTS: Kept.OUTSIDE_ROOTS,
    Misread.SYMLINK: Kept.SYMLINK,
    Misread.RESERVED: Kept.RESERVED,
}


def judge(candidate: Candidate, claims: ClaimIndex, soft: ClaimIndex | None = None) -> Verdict:
    """Say whether anybody could still reach the candidate's bytes.

    Only what is known to be the entity's own directory, unclaimed and not pinned, is garbage.
    """
    if candidate.entity in claims.pinned:
        return Keep(Kept.PINNED)
    if isinstance(candidate.place, Unplaced):
        return Keep(_UNPLACED[candidate.place.why], candidate.place.detail)
    if not is_own_directory(candidate.place, candidate.entity):
        return Keep(Kept.NOT_ITS_OWN, str(candidate.place))
    claim = claims.on(candidate.place, candidate.entity)
    if claim is None and candidate.gone is Gone.RUN_DELETED and not candidate.cascade:
        return Keep(Kept.MODEL_OF_DELETED_RUN)
    if claim is None and soft is not None and not candidate.cascade:
        claim = soft.on(candidate.place, candidate.entity)
    if claim is not None and claim.holder.kind is EntityKind.PIN:
        return Keep(Kept.PINNED, claim.holder.id)
    if claim is not None:
        return Keep(Kept.LIVE_CLAIM, str(claim.holder))
    if candidate.still_writing:
        return Keep(Kept.STILL_WRITING)
    return Garbage(candidate.gone, candidate.deleted_at)


def is_own_directory(place: Location, entity: Entity) -> bool:
    """Tell whether a place can be this entity's alone.

    An artifact root, an experiment's directory or another entity's all fail this. A model version's
    copy has no shape of its own: it may lie anywhere but in what has one.
    """
    if RESERVED in place.inside:
        return False
    if entity.kind is EntityKind.MODEL_VERSION:
        return shape_of(place.inside) is None and not is_usual_experiment(place.inside)
    return is_own_place(place.inside, entity)
