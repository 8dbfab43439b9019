from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_cleanup.errors import LedgerUnwritable
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.ledger.sweeps import Pin
from mlflow_cleanup.model.ledger_home import LedgerHome
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.plan import Refusal
from tests.kit.values import NOW

ODD = "\udcff\n é"
A, B, C = ("0", "a", "artifacts"), ("0", "b", "artifacts"), ("0", ODD, "artifacts")


def note(
    ledger: Ledger,
    unclaimed: Mapping[str, Collection[Any]],
    awake_s: float,
    *,
    made_s: float | None = None,
    off_s: float = 0.0,
) -> None:
    """Note at a second of ledger time what a plan made then, or before, calls unclaimed."""
    made_at = NOW + timedelta(seconds=awake_s if made_s is None else made_s)
    now = Moment(NOW + timedelta(seconds=awake_s), awake_s + off_s, off_s)
    ledger.sightings.note(unclaimed, now, made_at)


class TestSightings:
    """Since when places have been unclaimed."""

    def test_first_time_is_remembered_while_it_stays_unclaimed(self, ledger: Ledger) -> None:
        """However often it is seen again."""
        for aged_s in (1.0, 10.0, 100.0):
            note(ledger, {"/art": [A]}, aged_s)

        assert ledger.sightings.first_seen() == {("/art", A): 1.0}

    def test_break_begins_anew(self, ledger: Ledger) -> None:
        """Claimed or gone in between, it was not unclaimed all the time."""
        note(ledger, {"/art": [A, B]}, 1.0)
        note(ledger, {"/art": [B]}, 10.0)
        assert ledger.sightings.first_seen() == {("/art", B): 1.0}

        note(ledger, {"/art": [A, B]}, 100.0)
        assert ledger.sightings.first_seen() == {("/art", A): 100.0, ("/art", B): 1.0}

    def test_root_that_was_not_looked_at_changes_nothing(self, ledger: Ledger) -> None:
        """One that is not there, as against one in which nothing is unclaimed."""
        note(ledger, {"/art": [A], "/other": [B]}, 1.0)

        note(ledger, {"/other": []}, 10.0)
        assert ledger.sightings.first_seen() == {("/art", A): 1.0}
        note(ledger, {}, 100.0)
        assert ledger.sightings.first_seen() == {("/art", A): 1.0}

    def test_time_switched_off_is_left_out(self, ledger: Ledger) -> None:
        """It counts for no orphan's age."""
        note(ledger, {"/art": [A]}, 10.0, off_s=7.0)

        assert ledger.sightings.first_seen() == {("/art", A): 10.0}

    def test_older_plan_only_takes_away(self, ledger: Ledger) -> None:
        """What it calls unclaimed may have been claimed since it was made."""
        note(ledger, {"/art": [A, B]}, 100.0)
        note(ledger, {"/art": [A]}, 1_000.0)
        note(ledger, {"/art": [B]}, 10_000.0, made_s=999.0)
        assert ledger.sightings.first_seen() == {}

        note(ledger, {"/art": [B]}, 20_000.0, made_s=1_000.0)
        assert ledger.sightings.first_seen() == {("/art", B): 20_000.0}

    def test_plan_from_the_future_is_not_newer_for_ever(self, ledger: Ledger) -> None:
        """A clock that was wrong once is right again: plans count, from the next one on."""
        note(ledger, {"/art": []}, 1.0, made_s=1e9)
        note(ledger, {"/art": [A]}, 2.0, made_s=0.0)
        assert ledger.sightings.first_seen() == {}

        note(ledger, {"/art": [A]}, 3.0)
        assert ledger.sightings.first_seen() == {("/art", A): 3.0}

    def test_roots_are_told_apart(self, ledger: Ledger) -> None:
        """The same names under another root are another place."""
        note(ledger, {"/art": [A]}, 1.0)
        note(ledger, {"/art": [A], "/other": [A]}, 10.0)

        assert ledger.sightings.first_seen() == {("/art", A): 1.0, ("/other", A): 10.0}

    def test_names_of_any_bytes_are_remembered(self, ledger: Ledger, home: LedgerHome) -> None:
        """Through a restart, too."""
        note(ledger, {f"/{ODD}": [C]}, 1.0)
        ledger.close()
        again = Ledger.open(home)

        assert again.sightings.first_seen() == {(f"/{ODD}", C): 1.0}
        note(again, {f"/{ODD}": []}, 10.0)
        assert again.sightings.first_seen() == {}
        again.close()

    def test_all_is_noted_or_nothing(self, ledger: Ledger) -> None:
        """Two roots are one entry."""
        note(ledger, {"/art": [A]}, 1.0)
        with pytest.raises(TypeError):
            note(ledger, {"/art": [B], "/other": [7]}, 10.0)

        assert ledger.sightings.first_seen() == {("/art", A): 1.0}

    @settings(max_examples=30, deadline=None)
    @given(
        st.lists(
            st.dictionaries(st.sampled_from(["/r", "/s"]), st.sets(st.sampled_from([A, B, C])))
        )
    )
    def test_time_since_is_never_longer_than_it_was_unclaimed(
        self, rounds: list[dict[str, set[tuple[str, ...]]]]
    ) -> None:
        """Against the plainest way of counting."""
        ledger = Ledger.empty()
        expected: dict[tuple[str, tuple[str, ...]], float] = {}
        for number, unclaimed in enumerate(rounds):
            note(ledger, unclaimed, float(number))
            for root, places in unclaimed.items():
                gone = [key for key in expected if key[0] == root and key[1] not in places]
                for key in gone:
                    del expected[key]
                for place in places:
                    expected.setdefault((root, place), float(number))
            assert ledger.sightings.first_seen() == expected
        ledger.close()


class TestPins:
    """What an operator keeps."""

    def test_pins_come_back_by_target(self, ledger: Ledger, home: LedgerHome) -> None:
        """With when and why, through a restart too."""
        ledger.pins.add(["b", "a"], NOW, "for Ada")
        ledger.pins.add([f"/{ODD}"], NOW, None)
        ledger.close()
        again = Ledger.read(home)

        assert again.pins.all() == [
            Pin(f"/{ODD}", NOW.isoformat(), None),
            Pin("a", NOW.isoformat(), "for Ada"),
            Pin("b", NOW.isoformat(), "for Ada"),
        ]
        again.close()

    def test_pinned_again_the_last_word_counts(self, ledger: Ledger) -> None:
        """One pin, with the newer reason."""
        ledger.pins.add(["a"], NOW, "old")
        later = NOW + timedelta(days=1)
        ledger.pins.add(["a"], later, ODD)

        assert ledger.pins.all() == [Pin("a", later.isoformat(), ODD)]

    def test_unpinning_says_how_many_there_were(self, ledger: Ledger) -> None:
        """And takes no other."""
        ledger.pins.add(["a", "b", "ab", "A"], NOW, None)

        assert ledger.pins.remove(["a", "missing"]) == 1
        assert ledger.pins.remove(["a"]) == 0
        assert ledger.pins.remove(["b", "A"]) == 2
        assert [pin.target for pin in ledger.pins.all()] == ["ab"]


class TestPlans:
    """A plan is carried out once."""

    def test_begun_plan_is_not_done(self, ledger: Ledger, home: LedgerHome) -> None:
        """It may go on; done it is when it came to its end, for good."""
        assert not ledger.plans.is_done("1f2e3d4c")
        ledger.plans.begin("1f2e3d4c", NOW)
        assert not ledger.plans.is_done("1f2e3d4c")
        ledger.plans.end("1f2e3d4c")
        ledger.plans.begin("1f2e3d4c", NOW)
        ledger.close()

        again = Ledger.open(home)
        assert again.plans.is_done("1f2e3d4c")
        assert not again.plans.is_done("1f2e3d4d")
        again.close()

    def test_plan_that_was_never_begun_does_not_end(self, ledger: Ledger) -> None:
        """There is nothing to take down."""
        ledger.plans.end("1f2e3d4c")

        assert not ledger.plans.is_done("1f2e3d4c")


class TestBrakes:
    """What would take too much waits for a word."""

    def test_only_what_was_refused_can_be_confirmed(self, ledger: Ledger) -> None:
        """Nothing else, and nothing in advance."""
        assert not ledger.brakes.confirm("1f2e3d4c")
        assert not ledger.brakes.is_confirmed("1f2e3d4c")

        ledger.brakes.refuse(Refusal("1f2e3d4c", "too much"), NOW)
        assert not ledger.brakes.is_confirmed("1f2e3d4c")
        assert not ledger.brakes.confirm("other")
        assert ledger.brakes.confirm("1f2e3d4c")
        assert ledger.brakes.is_confirmed("1f2e3d4c")
        assert not ledger.brakes.is_confirmed("other")

    def test_confirmation_is_used_up(self, ledger: Ledger) -> None:
        """What was done once is not confirmed for ever."""
        ledger.brakes.refuse(Refusal("1f2e3d4c", "too much"), NOW)
        ledger.brakes.confirm("1f2e3d4c")
        ledger.brakes.settle()
        assert not ledger.brakes.is_confirmed("1f2e3d4c")

        ledger.brakes.refuse(Refusal("1f2e3d4c", "too much"), NOW)
        assert not ledger.brakes.is_confirmed("1f2e3d4c")
        assert ledger.brakes.confirm("1f2e3d4c")

    def test_later_refusal_takes_the_place_of_an_earlier_one(self, ledger: Ledger) -> None:
        """The situation changed: what is confirmed is the one that stands."""
        ledger.brakes.refuse(Refusal("earlier", "too much"), NOW)
        ledger.brakes.refuse(Refusal("later", "too much"), NOW)

        assert not ledger.brakes.confirm("earlier")
        assert ledger.brakes.confirm("later")


@pytest.mark.parametrize(
    "write",
    [
        lambda ledger: note(ledger, {"/art": [A]}, 1.0),
        lambda ledger: ledger.pins.add(["a"], NOW, None),
        lambda ledger: ledger.pins.remove(["a"]),
        lambda ledger: ledger.plans.begin("1f2e3d4c", NOW),
        lambda ledger: ledger.plans.end("1f2e3d4c"),
        lambda ledger: ledger.brakes.refuse(Refusal("1f2e3d4c", "too much"), NOW),
    ],
)
def test_reader_writes_nothing(
    ledger: Ledger, home: LedgerHome, write: Callable[[Ledger], object]
) -> None:
    """What only reads cannot remember anything either."""
    reader = Ledger.read(home)
    with pytest.raises(LedgerUnwritable):
        write(reader)
    reader.close()

    assert (ledger.sightings.first_seen(), ledger.pins.all()) == ({}, [])
    assert not ledger.plans.is_done("1f2e3d4c")
    assert not ledger.brakes.confirm("1f2e3d4c")
