from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_cleanup.decide.margins import ORPHAN_AGE
from mlflow_cleanup.ledger import ageing
from mlflow_cleanup.ledger.ageing import LONGEST_GAP_S, STEPS_KEPT_S, Age, Reading, read_clocks, utc

SECONDS = st.floats(0, 1e9, allow_nan=False)
READINGS = st.builds(Reading, st.floats(-1e10, 1e10), st.sampled_from(["one", "two"]), SECONDS)

START = Age(100.0, Reading(wall_s=5_000.0, boot="one", uptime_s=50.0))


def test_within_a_boot_the_uptime_counts_and_the_wall_clock_does_not() -> None:
    """Time passes by the uptime, wherever the wall clock is set to."""
    for wall_s in (0.0, 5_000.0, 1e10):
        assert START.at(Reading(wall_s, "one", 57.5)).aged_s == 107.5


def test_over_a_reboot_the_wall_clock_counts() -> None:
    """The uptime begins anew; what the wall clock says passed is what counts."""
    assert START.at(Reading(5_060.0, "two", 3.0)).aged_s == 160.0


def test_over_a_reboot_a_gap_counts_for_a_day_and_a_half_at_most() -> None:
    """Years on the wall clock may be a clock that was set."""
    assert START.at(Reading(1e9, "two", 3.0)).aged_s == 100.0 + LONGEST_GAP_S
    assert LONGEST_GAP_S == 36 * 3600


def test_over_a_reboot_a_clock_in_the_past_counts_nothing() -> None:
    """Ledger time never goes back."""
    assert START.at(Reading(4_000.0, "two", 3.0)).aged_s == 100.0


def test_uptime_that_fell_within_a_boot_is_taken_for_a_reboot() -> None:
    """A machine brought back from an image has its boot's name and less uptime."""
    assert START.at(Reading(5_060.0, "one", 10.0)).aged_s == 160.0


def test_counting_goes_on_from_the_new_boot() -> None:
    """After a reboot the next step counts by the new boot's uptime."""
    rebooted = START.at(Reading(5_060.0, "two", 3.0))

    assert rebooted.at(Reading(0.0, "two", 10.0)).aged_s == 167.0


def later(age: Age, passed_s: float, *, set_by_s: float = 0.0) -> Age:
    """Let time pass within a boot, and set the wall clock before."""
    now = age.reading
    return age.at(Reading(now.wall_s + passed_s + set_by_s, now.boot, now.uptime_s + passed_s))


def off(age: Age, for_s: float, boot: str) -> Age:
    """Start the machine anew."""
    return age.at(Reading(age.reading.wall_s + for_s, boot, 1.0))


def test_clock_set_forward_is_remembered_for_three_days() -> None:
    """Until then a file may have its time from before, and looks that much older."""
    jumped = later(START, 60.0, set_by_s=5_000.0)

    assert jumped.behind_s == 5_000.0
    assert later(jumped, STEPS_KEPT_S - 1.0).behind_s == 5_000.0
    assert later(jumped, STEPS_KEPT_S).behind_s == 0.0
    assert timedelta(seconds=STEPS_KEPT_S) == ORPHAN_AGE


def test_clock_set_forward_twice_counts_from_before_the_first_time() -> None:
    """The lowest that it was lately is what counts."""
    first = later(START, 60.0, set_by_s=1_000.0)
    second = later(first, 60.0, set_by_s=300.0)

    assert second.behind_s == 1_300.0
    assert later(second, STEPS_KEPT_S - 60.0).behind_s == 300.0


def test_clock_set_back_makes_nothing_older() -> None:
    """Files then look younger than they are; set right again, those from in between look older."""
    back = later(START, 60.0, set_by_s=-1_000.0)

    assert back.behind_s == 0.0
    assert later(back, 60.0, set_by_s=1_000.0).behind_s == 1_000.0


@pytest.mark.parametrize("for_s", [600.0, 5 * 86_400.0])
def test_machine_that_was_off_makes_nothing_older(for_s: float) -> None:
    """It cannot be told from a clock that was set while it restarted."""
    again = off(START, for_s, "two")

    assert (again.off_s, again.aged_s) == (again.aged_s - 100.0, 100.0 + min(for_s, LONGEST_GAP_S))
    assert again.behind_s == for_s
    assert off(later(again, 10.0), for_s, "three").behind_s == 2 * for_s


def test_another_process_where_boots_have_no_names_was_not_off() -> None:
    """There time passes between two of our processes, as far as a day and a half goes."""
    unnamed = replace(START, reading=replace(START.reading, boot="process 1"))
    again = off(unnamed, 3_600.0, "process 2")

    assert (again.aged_s, again.off_s, again.behind_s) == (3_700.0, 0.0, 0.0)
    assert off(again, 5 * 86_400.0, "process 3").behind_s == 5 * 86_400.0 - LONGEST_GAP_S


def test_age_of_an_earlier_version_is_read() -> None:
    """It says nothing of steps, and goes on from there."""
    told = '{"aged_s": 100.0, "wall_s": 5000.0, "boot": "one", "uptime_s": 50.0}'

    assert Age.decode(told) == START


@given(st.lists(READINGS, max_size=20))
def test_ledger_time_never_goes_back(readings: list[Reading]) -> None:
    """Whatever the clocks show, in any order, no age is ever less than one before."""
    ages = [START]
    for reading in readings:
        ages.append(ages[-1].at(reading))

    assert ages == sorted(ages, key=lambda age: age.aged_s)


@given(st.lists(st.tuples(SECONDS, st.floats(-1e10, 1e10)), max_size=20))
def test_within_a_boot_looking_often_adds_nothing(steps: list[tuple[float, float]]) -> None:
    """Any number of looks in between, with any wall clock, gives what a single look would."""
    age, reading = START, START.reading
    for passed_s, wall_s in steps:
        reading = replace(reading, uptime_s=reading.uptime_s + passed_s, wall_s=wall_s)
        age = age.at(reading)

    assert abs(age.aged_s - START.at(reading).aged_s) <= 1e-6 * (1 + age.aged_s)


STEPS = st.lists(st.tuples(SECONDS, SECONDS), max_size=3).map(tuple)


@given(st.builds(Age, SECONDS, READINGS, SECONDS, STEPS))
def test_age_survives_being_written_down(age: Age) -> None:
    """What is encoded is decoded to the very same, to the last bit."""
    assert Age.decode(age.encode()) == age


def test_clocks_of_this_machine_agree_with_each_other() -> None:
    """Two readings: the same boot, the wall clock of this moment, and uptime that grows."""
    before, first = time.time(), read_clocks()
    second, after = read_clocks(), time.time()

    assert first.boot == second.boot
    assert first.boot
    assert first.uptime_s <= second.uptime_s
    assert before <= first.wall_s <= second.wall_s <= after


def test_without_a_name_for_the_boot_the_uptime_counts_within_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system does not tell its boot, no other process can go on counting from ours."""
    monkeypatch.setattr(ageing, "_BOOT_ID", tmp_path / "missing")

    first, second = read_clocks(), read_clocks()

    assert first.boot == second.boot
    assert first.boot.startswith("process ")
    assert first.uptime_s <= second.uptime_s


def test_dates_are_in_utc() -> None:
    """Wall clock readings become dates with a time zone."""
    assert utc(0) == datetime(1970, 1, 1, tzinfo=timezone.utc)
