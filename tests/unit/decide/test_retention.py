from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_cleanup.decide.retention import due_in_s, is_due, pause_after
from mlflow_cleanup.model.item import ItemState
from tests.kit.values import item

WEEK = timedelta(days=7)
WEEK_S = WEEK.total_seconds()
NEVER_BY_ITSELF = [
    state for state in ItemState if state not in (ItemState.QUARANTINED, ItemState.PURGING)
]


@pytest.mark.parametrize(
    ("retention", "aged_s", "due"),
    [
        (WEEK, 100.0, False),
        (WEEK, 100.0 + WEEK_S - 0.001, False),
        (WEEK, 100.0 + WEEK_S, True),
        (WEEK, 100.0 + WEEK_S + 0.001, True),
        (timedelta(0), 99.999, False),
        (timedelta(0), 100.0, True),
        (timedelta.max, 1e12, False),
    ],
)
def test_retention_counts_from_the_moment_of_quarantine(
    retention: timedelta, aged_s: float, due: bool
) -> None:
    """An item falls due when exactly its retention has passed in ledger time, not before."""
    held = item(1, quarantined_s=100.0)

    assert is_due(held, retention, aged_s) is due
    assert (due_in_s(held, retention, aged_s) <= 0) is due


@pytest.mark.parametrize("state", NEVER_BY_ITSELF)
def test_only_what_is_quarantined_or_half_purged_ever_falls_due(state: ItemState) -> None:
    """A collision's rest, an open intent and whatever is settled are never purged by themselves."""
    assert not is_due(item(1, state), timedelta(0), 1e12)


def test_after_a_failed_attempt_its_pause_has_to_pass_too() -> None:
    """An item whose retention is over waits for the later of the two moments."""
    held = item(1, quarantined_s=0.0, retry_s=WEEK_S + 60)

    assert not is_due(held, WEEK, WEEK_S + 59.9)
    assert is_due(held, WEEK, WEEK_S + 60)
    assert due_in_s(held, WEEK, WEEK_S) == 60
    assert due_in_s(item(1, retry_s=5.0), WEEK, 10.0) == WEEK_S - 10


def test_a_purge_that_was_begun_goes_on_whatever_the_retention_is_now() -> None:
    """Half-purged bytes help nobody: only the pause counts, also when retention was made longer."""
    begun = item(1, ItemState.PURGING, quarantined_s=0.0, retry_s=60.0)

    assert not is_due(begun, WEEK, 59.9)
    assert is_due(begun, WEEK, 60.0)
    assert due_in_s(begun, WEEK, 10.0) == 50


@pytest.mark.parametrize(
    ("attempts", "minutes"),
    [(1, 1), (2, 2), (3, 4), (9, 256), (10, 360), (11, 360), (1_000_000, 360)],
)
def test_pauses_double_up_to_six_hours(attempts: int, minutes: int) -> None:
    """A file that somebody holds open for long costs a handful of attempts a day."""
    assert pause_after(attempts) == timedelta(minutes=minutes)


@settings(deadline=None)
@given(
    quarantined_s=st.floats(0, 1e9),
    retry_s=st.floats(0, 1e9),
    retention_s=st.integers(0, 10**8),
    aged_s=st.floats(0, 1e9),
)
def test_nothing_quarantined_is_due_before_its_retention(
    quarantined_s: float, retry_s: float, retention_s: int, aged_s: float
) -> None:
    """For no combination of times does an item go early."""
    held = item(1, quarantined_s=quarantined_s, retry_s=retry_s)

    if is_due(held, timedelta(seconds=retention_s), aged_s):
        assert aged_s >= quarantined_s + retention_s
        assert aged_s >= retry_s
