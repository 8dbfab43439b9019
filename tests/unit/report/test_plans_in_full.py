from __future__ import annotations

from mlflow_cleanup.model.entity import Entity, EntityKind
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import Location, Misread, Unplaced
from mlflow_cleanup.model.plan import Judged, SweepPlan
from mlflow_cleanup.model.snapshot import BackendIdentity
from mlflow_cleanup.model.verdict import Candidate, Gone, Keep, Kept
from mlflow_cleanup.report.plans import plan_text
from tests.kit.values import NOW, candidate

MODEL = Entity(EntityKind.LOGGED_MODEL, "m-1")


def test_list_of_what_stays_names_who_claims_it() -> None:
    """`--all` gives each place its own reason, and a text that is no place as it stands."""
    place = Location("/root", ("0", "models", "m-1", "artifacts"))
    claimed = Judged(
        Candidate(MODEL, place, Gone.MODEL_DELETED),
        Keep(Kept.LIVE_CLAIM, "model version net version 1"),
        Size(1, 20),
    )
    remote = Unplaced(Misread.REMOTE, "s3://bucket/0")
    far = Judged(candidate(1, remote), Keep(Kept.REMOTE, remote.detail))
    plan = SweepPlan("1234", NOW, "/mlflow.db", BackendIdentity({}), keep=(far, claimed))

    *_, head, first, second = plan_text(plan, everything=True).splitlines()
    columns = [head.index(name) for name in ("what", "size", "deleted", "why", "where")]
    cells = [
        [line[start:end].strip() for start, end in zip(columns, [*columns[1:], None], strict=True)]
        for line in (first, second)
    ]
    assert cells == [
        [str(MODEL), "20 B", "-", str(claimed.verdict), place.path],
        [str(far.candidate.entity), "?", "-", Kept.REMOTE.value, "s3://bucket/0"],
    ]
