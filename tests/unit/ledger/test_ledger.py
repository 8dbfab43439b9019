from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timezone

import pytest

from mlflow_cleanup.ledger.ageing import Reading
from mlflow_cleanup.ledger.ledger import KnownRoot, Ledger
from mlflow_cleanup.model.ledger_home import LedgerHome
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.snapshot import BackendIdentity


def reading(uptime_s: float, boot: str = "one", wall_s: float = 0.0) -> Reading:
    """Make a reading of the clocks."""
    return Reading(wall_s, boot, uptime_s)


def test_time_begins_with_the_first_look(ledger: Ledger) -> None:
    """The first moment is second 0, at what the wall clock shows."""
    assert ledger.now(reading(500, wall_s=86_400)) == Moment(
        datetime(1970, 1, 2, tzinfo=timezone.utc), 0.0
    )


def test_time_goes_on_from_look_to_look(ledger: Ledger) -> None:
    """Each moment is later by what really passed."""
    ledger.now(reading(500))

    assert [ledger.now(reading(uptime)).aged_s for uptime in (501, 560, 560)] == [1, 60, 60]


@pytest.mark.parametrize("looks", [[], [600], [600, 4_200, 4_300], [100_000]])
def test_time_goes_on_over_a_restart(ledger: Ledger, home: LedgerHome, looks: list[int]) -> None:
    """A new process counts on from the same beginning, however often the last one looked."""
    ledger.now(reading(500))
    for uptime in looks:
        ledger.now(reading(uptime))
    ledger.close()

    again = Ledger.open(home)
    assert again.now(reading(200_500)).aged_s == 200_000
    again.close()


def test_time_is_written_down_hourly_not_with_every_look(ledger: Ledger) -> None:
    """Looking often costs no writes; an hour is the most that a reboot can take back."""
    ledger.now(reading(0))
    written = ledger.fact("age")
    ledger.now(reading(3_599, wall_s=3_599))
    assert ledger.fact("age") == written

    ledger.now(reading(3_600, wall_s=3_600))
    assert ledger.fact("age") != written


def test_time_over_a_reboot_is_written_down_at_once(ledger: Ledger, home: LedgerHome) -> None:
    """What a gap counted for is counted once: the next process begins after it."""
    ledger.now(reading(100, wall_s=1_000))
    ledger.now(reading(1, boot="two", wall_s=2_000))
    ledger.close()

    again = Ledger.open(home)
    assert again.now(reading(1, boot="two", wall_s=9_999)).aged_s == 1_000
    again.close()


def test_clock_that_was_set_is_written_down_at_once(ledger: Ledger, home: LedgerHome) -> None:
    """Set back and forward again between two starts: files may have times from in between."""
    ledger.now(reading(100, wall_s=9_000))
    ledger.now(reading(101, wall_s=1_000))
    ledger.close()

    again = Ledger.open(home)
    assert again.now(reading(102, wall_s=9_002)).behind_s == 8_001
    again.close()


def test_peeking_tells_the_same_and_writes_nothing(ledger: Ledger, home: LedgerHome) -> None:
    """A reading command shows the moment that a cycle would have."""
    ledger.now(reading(500))
    reader = Ledger.read(home)

    assert reader.peek(reading(100_500)) == Moment(datetime.fromtimestamp(0, timezone.utc), 1e5)
    reader.close()


def test_peeking_into_an_empty_ledger_begins_at_nought(ledger: Ledger) -> None:
    """Before the first look no time has passed."""
    assert ledger.peek(reading(500)).aged_s == 0
    assert ledger.fact("age") is None


def test_facts_are_set_and_replaced(ledger: Ledger) -> None:
    """A fact has one value, the last one; one that was never set has none."""
    ledger.set_fact("telling", "1")
    ledger.set_fact("telling", "2")

    assert ledger.fact("telling") == "2"
    assert ledger.fact("missing") is None


def test_identity_is_remembered_and_forgotten(ledger: Ledger) -> None:
    """By what the database is recognised survives, missing times included."""
    seen = [ledger.identity]
    identity = BackendIdentity({"0": 1_000, "7": None}, 42)
    for value in (identity, None):
        ledger.set_identity(value)
        seen.append(ledger.identity)

    assert seen == [None, identity, None]


def test_roots_are_remembered_by_path(ledger: Ledger) -> None:
    """Whether a root was marked and what is wrong with it now; odd paths too."""
    ledger.note_root("/b", is_marked=False, problem="it does not exist")
    ledger.note_root("/a\udcff", is_marked=True, problem=None)
    ledger.note_root("/b", is_marked=True, problem=None)

    assert ledger.roots() == {
        "/a\udcff": KnownRoot("/a\udcff", is_marked=True, problem=None),
        "/b": KnownRoot("/b", is_marked=True, problem=None),
    }


def test_what_is_watched_is_told_to_readers(ledger: Ledger) -> None:
    """The last monitor's own words, for `status`."""
    told = {"database": "/x/mlflow.db", "roots": ["/x"]}
    before = ledger.watching
    ledger.set_watching(told)

    assert (before, ledger.watching) == (None, told)


def test_several_entries_can_be_one(ledger: Ledger) -> None:
    """Inside a transaction all of them are taken back together."""
    with suppress(RuntimeError), ledger.transaction():
        ledger.set_fact("telling", "1")
        ledger.note_root("/a", is_marked=True, problem=None)
        raise RuntimeError

    assert ledger.fact("telling") is None
    assert ledger.roots() == {}
