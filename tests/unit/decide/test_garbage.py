from __future__ import annotations

import pytest

from mlflow_cleanup.decide.garbage import is_own_directory, judge
from mlflow_cleanup.model.claim import Claim, ClaimIndex
from mlflow_cleanup.model.entity import Entity, EntityKind, run
from mlflow_cleanup.model.location import Location, Misread, Unplaced
from mlflow_cleanup.model.verdict import Candidate, Garbage, Gone, Keep, Kept
from tests.kit.tracking_db import run_id
from tests.kit.values import NOW, candidate, claim_on, location

NOBODY = ClaimIndex([])
ID = run_id(1)


def test_an_unclaimed_directory_of_a_deleted_run_is_garbage() -> None:
    """The reason and the moment of the deletion go with the verdict."""
    assert judge(candidate(1, deleted_at=NOW), NOBODY) == Garbage(Gone.DELETED, NOW)


def test_the_directory_of_a_vanished_run_is_garbage() -> None:
    """A run whose row is gone is judged like a deleted one."""
    assert judge(candidate(1, gone=Gone.VANISHED), NOBODY) == Garbage(Gone.VANISHED)


def test_a_pinned_run_is_kept_whatever_its_place() -> None:
    """A pin is the first reason given, before any that lies in the place."""
    index = ClaimIndex([], pinned=frozenset({run(ID)}))

    assert judge(candidate(1), index) == Keep(Kept.PINNED)
    assert judge(candidate(1, Unplaced(Misread.REMOTE, "s3://b")), index) == Keep(Kept.PINNED)


def test_a_pinned_place_is_kept_as_pinned() -> None:
    """A path that an operator pinned is named as that, not as something that MLflow knows."""
    pin = Claim(Entity(EntityKind.PIN, "/srv"), "/srv", (location(1).root,))

    assert judge(candidate(1), ClaimIndex([pin])) == Keep(Kept.PINNED, "/srv")


@pytest.mark.parametrize("why", list(Misread))
def test_an_unplaced_run_is_kept_with_the_reason(why: Misread) -> None:
    """Every reason why there is no place is a reason to keep, with its detail."""
    verdict = judge(candidate(1, Unplaced(why, "the text")), NOBODY)

    assert isinstance(verdict, Keep)
    assert verdict == Keep(Kept[why.name], "the text")
    assert not verdict.reason.is_protection


@pytest.mark.parametrize(
    "inside",
    [
        (),
        ("artifacts",),
        (ID,),
        ("0",),
        ("0", ID),
        ("0", ID, "artifacts", "model"),
        ("0", ID, "Artifacts"),
        ("0", run_id(2), "artifacts"),
        ("0", f"{ID}0", "artifacts"),
        ("models", f"m-{ID}", "artifacts"),
        (".mlflow-cleanup", ID, "artifacts"),
        (".mlflow-cleanup", "trash", "item", ID, "artifacts"),
    ],
)
def test_what_is_not_the_runs_own_directory_is_kept(inside: tuple[str, ...]) -> None:
    """A root, an experiment, another run's or model's directory and our own are never garbage."""
    place = Location("/art", inside)

    assert not is_own_directory(place, run(ID))
    assert judge(candidate(1, place), NOBODY) == Keep(Kept.NOT_ITS_OWN, place.path)


@pytest.mark.parametrize(
    "inside", [(ID, "artifacts"), ("0", ID, "artifacts"), ("w", "team", "0", ID, "artifacts")]
)
def test_the_runs_own_directory_may_lie_at_any_depth(inside: tuple[str, ...]) -> None:
    """An experiment's own location or a workspace puts it elsewhere in the root."""
    assert is_own_directory(Location("/art", inside), run(ID))
    assert isinstance(judge(candidate(1, Location("/art", inside)), NOBODY), Garbage)


def test_a_claimed_place_is_kept_and_the_holder_named() -> None:
    """A logged model inside the run's directory keeps all of it."""
    verdict = judge(candidate(1), ClaimIndex([claim_on(1, "m-7")]))

    assert verdict == Keep(Kept.LIVE_CLAIM, "logged model m-7")


@pytest.mark.parametrize(
    "inside", ["", "0", f"0/{ID}", f"0/{ID}/artifacts", f"0/{ID}/artifacts/deep/er"]
)
def test_a_claim_that_only_has_the_place_keeps_it(inside: str) -> None:
    """Whoever claims the place, something above it or something in it, need not name the run."""
    trace = Claim(Entity(EntityKind.TRACE, "tr-1"), "", (f"/art/{inside}".rstrip("/"),))

    assert judge(candidate(1), ClaimIndex([trace])) == Keep(Kept.LIVE_CLAIM, "trace tr-1")


def test_a_claim_that_only_names_the_run_keeps_it() -> None:
    """A registered version whose source cannot be placed protects the run in its text."""
    version = Claim(Entity(EntityKind.MODEL_VERSION, "net version 1"), f"s3://b/{ID}/artifacts/net")

    verdict = judge(candidate(1), ClaimIndex([version]))

    assert verdict == Keep(Kept.LIVE_CLAIM, "model version net version 1")


def test_claims_on_others_keep_nothing() -> None:
    """A neighbour's claim, and one on a name with the same beginning, are not in the way."""
    neighbour = Claim(run("x"), "", (f"{location(1).path}-backup",))

    assert isinstance(judge(candidate(1), ClaimIndex([claim_on(2), neighbour])), Garbage)


def test_a_run_that_may_still_be_writing_is_kept() -> None:
    """Where nothing could be undone, a running process keeps its files; a claim is told first."""
    writing = candidate(1, still_writing=True)

    assert judge(writing, NOBODY) == Keep(Kept.STILL_WRITING)
    assert judge(writing, ClaimIndex([claim_on(1)])) == Keep(Kept.LIVE_CLAIM, "logged model m-1")


@pytest.mark.parametrize("cascade", [False, True])
def test_model_of_a_deleted_run_that_a_version_uses_is_never_offered(*, cascade: bool) -> None:
    """`--cascade models` is named as the way to take it only where it would take it."""
    model = Entity(EntityKind.LOGGED_MODEL, f"m-{ID}")
    place = Location(location(1).root, ("0", "models", model.id, "artifacts"))
    version = Claim(Entity(EntityKind.MODEL_VERSION, "net version 1"), "", (place.path,))
    left = Candidate(model, place, Gone.RUN_DELETED, cascade=cascade)

    assert judge(left, ClaimIndex([version])) == Keep(
        Kept.LIVE_CLAIM, "model version net version 1"
    )
    expected = Garbage(Gone.RUN_DELETED) if cascade else Keep(Kept.MODEL_OF_DELETED_RUN)
    assert judge(left, NOBODY) == expected
