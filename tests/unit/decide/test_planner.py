from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from mlflow_cleanup.decide.planner import (
    Ground,
    is_unclaimed_rest,
    is_wanted_back,
    item_verdict,
    judge_now,
    make_plan,
)
from mlflow_cleanup.model.item import Held, ItemState, Size
from mlflow_cleanup.model.location import Misread, Unplaced
from mlflow_cleanup.model.plan import Keeping, Plan, Quarantine
from mlflow_cleanup.model.snapshot import RunRow
from mlflow_cleanup.model.verdict import Garbage, Gone, Keep, Kept
from tests.kit.tracking_db import run_id
from tests.kit.values import NOW, candidate, claim_on, ground, item, location

DAY_S = 86_400.0


def test_a_whole_cycle_is_planned_from_one_look() -> None:
    """One of everything: each candidate and item lands in its place, with its reason, in order."""
    deleted = candidate(1, deleted_at=NOW)
    vanished = candidate(2, gone=Gone.VANISHED)
    back = candidate(3)
    claimed = candidate(4)
    pinned = candidate(5)
    remote = candidate(6, Unplaced(Misread.REMOTE, "s3://b"))
    unseen = candidate(7, location(7, "/away"))
    fresh = item(11, quarantined_s=9 * DAY_S, size=Size(1, 1))
    due = item(12, quarantined_s=2 * DAY_S, size=Size(2, 10))
    begun = item(13, ItemState.PURGING, quarantined_s=9 * DAY_S, size=Size(3, 100))
    restored_run = item(14, quarantined_s=1 * DAY_S, size=Size(4, 1_000))
    newer_of_it = item(15, quarantined_s=2 * DAY_S, size=Size(5, 10_000))
    half_restored = item(16, ItemState.CONFLICT, size=Size(6, 100_000))
    rest = item(17, ItemState.CONFLICT, size=Size(7, 1_000_000))
    rest_by_hand = item(18, ItemState.CONFLICT, by_hand=True, size=Size(8, 10_000_000))
    away_due = item(19, location=location(19, "/away"), quarantined_s=0.0)
    away_wanted = item(20, location=location(20, "/away"), quarantined_s=0.0)

    plan = make_plan(
        [deleted, vanished, back, claimed, pinned, remote, unseen],
        [
            fresh,
            due,
            begun,
            restored_run,
            newer_of_it,
            half_restored,
            rest,
            rest_by_hand,
            away_due,
            away_wanted,
        ],
        ground(
            claim_on(4),
            active=(3, 14, 15, 16, 20),
            pinned=(5,),
            aged_s=9 * DAY_S,
            unreachable=("/away",),
        ),
    )

    assert plan == Plan(
        restore=(newer_of_it, restored_run),
        hold_again=(rest,),
        quarantine=(
            Quarantine(deleted, Garbage(Gone.DELETED, NOW)),
            Quarantine(vanished, Garbage(Gone.VANISHED)),
        ),
        keep=(
            Keeping(back, Keep(Kept.ACTIVE)),
            Keeping(claimed, Keep(Kept.LIVE_CLAIM, "logged model m-1")),
            Keeping(pinned, Keep(Kept.PINNED)),
            Keeping(remote, Keep(Kept.REMOTE, "s3://b")),
            Keeping(unseen, Keep(Kept.UNREACHABLE, "/away")),
        ),
        purge=(due, begun),
    )


def test_nothing_makes_an_empty_plan() -> None:
    """Without candidates and items there is nothing to carry out."""
    assert make_plan([], [], ground()) == Plan()


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (ground(active=(1,), aged_s=1e9), Keep(Kept.ACTIVE)),
        (ground(pinned=(1,), aged_s=1e9), Keep(Kept.PINNED)),
        (ground(claim_on(1), aged_s=1e9), Keep(Kept.LIVE_CLAIM, "logged model m-1")),
    ],
)
def test_what_is_wanted_back_is_restored_and_not_purged(now: Ground, reason: Keep) -> None:
    """An item whose run is active or pinned, or claimed, again goes back though it is due."""
    held = item(1)

    assert item_verdict(held, now) == reason
    assert make_plan([], [held], now) == Plan(restore=(held,))


def test_a_half_purged_item_that_is_wanted_is_restored_as_far_as_it_is_there() -> None:
    """A purge stops where its run comes back in the middle."""
    held = item(1, ItemState.PURGING)

    assert make_plan([], [held], ground(active=(1,), aged_s=1e9)) == Plan(restore=(held,))


def test_an_unreachable_root_postpones_restore_and_purge() -> None:
    """Nothing is planned where nothing can be seen; it is planned again once it can."""
    due, wanted = item(1, quarantined_s=0.0), item(2, quarantined_s=0.0)
    seen = ground(active=(2,), aged_s=30 * DAY_S)

    assert make_plan([], [due, wanted], replace(seen, unreachable=frozenset({"/art"}))) == Plan()
    assert make_plan([], [due, wanted], seen) == Plan(restore=(wanted,), purge=(due,))


def test_an_unreachable_root_does_not_hide_the_better_reason() -> None:
    """A protected run is kept for its protection, whether its root can be seen or not."""
    now = ground(claim_on(1), unreachable=("/art",))

    assert judge_now(candidate(1), now) == Keep(Kept.LIVE_CLAIM, "logged model m-1")


def test_of_several_versions_of_one_run_the_newest_is_restored_first() -> None:
    """The newest quarantined files get their place back, older ones collide with them."""
    old, new, newest = (item(n, quarantined_s=float(n)) for n in (1, 2, 3))

    plan = make_plan([], [old, new, newest], ground(active=(1, 2, 3)))

    assert plan.restore == (newest, new, old)


def test_a_collision_that_was_told_is_not_tried_again() -> None:
    """What a restore left in the trash stays there while its run is active."""
    rest = item(1, ItemState.CONFLICT)

    assert not is_wanted_back(rest, ground(active=(1,)))
    assert make_plan([], [rest], ground(active=(1,), aged_s=1e9)) == Plan()


def test_a_rest_whose_run_is_gone_again_is_held_anew() -> None:
    """It gets a new retention, unless an operator's hand left it there."""
    assert is_unclaimed_rest(item(1, ItemState.CONFLICT), ground())
    assert not is_unclaimed_rest(item(1, ItemState.CONFLICT), ground(pinned=(1,)))
    assert not is_unclaimed_rest(item(1, ItemState.CONFLICT, by_hand=True), ground())
    assert not is_unclaimed_rest(item(1), ground())


def departed(number: int, deleted_ms: int | None) -> dict[str, RunRow]:
    """Return a deleted run's row, as read in the same look."""
    id_ = run_id(number)
    return {id_: RunRow(id_, "0", None, "deleted", deleted_ms=deleted_ms)}


NOW_MS = int(NOW.timestamp() * 1_000)
LATER = NOW + timedelta(days=5)


@pytest.mark.parametrize(
    ("state", "then", "now_ms", "is_anew"),
    [
        (ItemState.QUARANTINED, NOW, NOW_MS + 5 * 86_400_000, True),
        (ItemState.QUARANTINED, LATER, NOW_MS, True),  # whatever the clocks said in between
        (ItemState.QUARANTINED, NOW, NOW_MS, False),
        (ItemState.QUARANTINED, NOW, None, False),
        (ItemState.QUARANTINED, None, NOW_MS, False),
        (ItemState.PURGING, NOW, NOW_MS + 1, False),
    ],
)
def test_what_was_deleted_once_more_is_held_again(
    state: ItemState, then: datetime | None, now_ms: int | None, *, is_anew: bool
) -> None:
    """Another time of deletion in MLflow means a restore in between; half purged is past that."""
    due, other = item(1, state, deleted_at=then), item(2, deleted_at=NOW)
    now = replace(ground(aged_s=9 * DAY_S), departed=departed(1, now_ms) | departed(2, NOW_MS))

    plan = make_plan([], [due, other], now)

    if is_anew:
        row = now.departed[run_id(1)]
        assert plan == Plan(hold_again=(replace(due, deleted_at=row.deleted_at),), purge=(other,))
    else:
        assert plan == Plan(purge=(due, other))


def test_what_is_not_due_yet_is_not_looked_at() -> None:
    """Only the purge that would come now is put off: until then there is time to notice."""
    held = item(1, deleted_at=NOW, quarantined_s=9 * DAY_S)
    now = replace(ground(aged_s=9 * DAY_S), departed=departed(1, NOW_MS + 1_000))

    assert make_plan([], [held], now) == Plan()


@pytest.mark.parametrize("held", Held)
def test_what_another_root_lies_in_is_kept(held: Held) -> None:
    """Taken in place before that root was named, it is wanted back; in the trash it is apart."""
    place = location(1)
    around = replace(ground(), roots=(place.root, f"{place.path}/data/of others"))

    assert judge_now(candidate(1), around) == Keep(
        Kept.NOT_ITS_OWN, f"the artifact root {place.path}/data/of others lies in it"
    )
    assert (item_verdict(item(1, held=held), around) is not None) == (held is Held.IN_PLACE)


@pytest.mark.parametrize("beside", ["2", " copy/artifacts"])
def test_root_beside_a_place_keeps_nothing(beside: str) -> None:
    """A longer name is another directory, and the root that a place lies under is around it."""
    place = location(1)
    around = replace(ground(), roots=(place.root, f"{place.path}{beside}", f"{place.root}/0"))

    assert isinstance(judge_now(candidate(1), around), Garbage)


def test_nothing_is_garbage_while_claims_may_be_missing() -> None:
    """Whatever else is known."""
    unsure = replace(ground(), problems=("table telling is missing",))

    assert judge_now(candidate(1), unsure) == Keep(Kept.CLAIMS_UNKNOWN, "table telling is missing")
