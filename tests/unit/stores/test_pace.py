from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from mlflow_cleanup.stores.pace import KEPT_S, PAYS, TRIAL_S, Pace


@dataclass
class Work:
    """Removes entries at given speeds on a clock of its own, and asks the pace how to go on."""

    now_s: float = 100.0
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self.pace = Pace(lambda: self.now_s)

    def go(self, span_s: float, *, alone: float = 1_000.0, both: float = 1_000.0) -> None:
        """Work for a while; `alone` and `both` are entries per second of one and two walkers."""
        begun_s = self.now_s
        while self.now_s < begun_s + span_s:
            self.now_s += TRIAL_S / 10
            self.pace.count(round((both if self.pace.together else alone) * TRIAL_S / 10))


def begun() -> Work:
    """Give work of which the first entries were removed just now."""
    work = Work()
    work.pace.count(1)
    return work


def test_it_begins_with_one_walker() -> None:
    """What is done before a trial's time is over is done by one."""
    work = begun()

    work.go(TRIAL_S * 0.8)

    assert not work.pace.together


def test_two_are_tried_next() -> None:
    """Two walkers are tried once the speed of one is known."""
    work = begun()

    work.go(TRIAL_S * 1.1)

    assert work.pace.together


@pytest.mark.parametrize(
    ("gain", "together"), [(0.5, False), (1.0, False), (PAYS - 0.05, False), (PAYS + 0.05, True)]
)
def test_two_are_kept_only_where_they_are_faster(gain: float, *, together: bool) -> None:
    """A second walker that gains less than a tenth, or costs time, is not kept."""
    work = begun()

    work.go(TRIAL_S * 2.5, alone=10_000, both=10_000 * gain)
    assert work.pace.together is together

    work.go(KEPT_S * 0.8, alone=10_000, both=10_000 * gain)
    assert work.pace.together is together


@pytest.mark.parametrize("first", [0.5, 2.0])
def test_choice_is_made_again(first: float) -> None:
    """What was slower is tried again, so that a choice made in a bad moment does not stay."""
    work = begun()
    work.go(TRIAL_S * 2.5, both=1_000 * first)
    before = work.pace.together

    work.go(KEPT_S + TRIAL_S * 3, both=1_000 / first)

    assert (before, work.pace.together) == (first > 1, first < 1)


def test_first_listing_is_nobodys_pace() -> None:
    """The time of reading a long list of names, in which nothing goes, does not make one slow."""
    work = Work()
    work.pace.count(0)
    work.now_s += 60
    work.pace.count(0)
    work.now_s += 60
    work.pace.count(1)

    work.go(TRIAL_S * 2.5, both=1_000)

    assert not work.pace.together


def test_a_large_directory_is_no_sprint() -> None:
    """Entries of a first count, whose time nobody took, do not make one walker look fast."""
    work = Work()
    work.now_s += 60
    work.pace.count(10_000)

    work.go(TRIAL_S * 2.5, both=2_000)

    assert work.pace.together
