from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.entity import run
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.plan import Refusal

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone.utc)
REFUSAL = Refusal("1234abcd", "all rows vanished")
OTHER = Refusal("ffffffff", "another database")


def event(run_id: str, detail: str = "") -> Event:
    """Make an event of a run."""
    return Event(EventKind.KEPT, AT, run(run_id), detail=detail)


class TestHistory:
    """What happened, in order."""

    @pytest.mark.parametrize(
        "told",
        [
            Event(EventKind.STOPPED, AT),
            Event(
                EventKind.PURGED,
                AT,
                run("a"),
                name="odd \udcff name\n",
                detail="/odd/\udc80/path",
                size=Size(3, 4_000_000_000_000),
                item_id="item",
            ),
        ],
    )
    def test_event_comes_back_as_it_was_added(self, ledger: Ledger, told: Event) -> None:
        """Everything but the time of a purge to come, which the item knows better."""
        ledger.history.add([replace(told, due_at=AT)])

        assert ledger.history.latest(10) == [told]

    def test_latest_are_the_last_ones_in_their_order(self, ledger: Ledger) -> None:
        """Of many events the newest, the oldest of them first."""
        ledger.history.add([event("a", str(number)) for number in range(10)])

        assert [one.detail for one in ledger.history.latest(3)] == ["7", "8", "9"]

    def test_latest_of_some_runs(self, ledger: Ledger) -> None:
        """Only what happened to the runs asked for."""
        ledger.history.add([event("a", "1"), event("b", "2"), event("c", "3"), event("a", "4")])

        assert [one.detail for one in ledger.history.latest(2, ["a", "b"])] == ["2", "4"]


class TestRefusals:
    """Refused plans, and what the operator says of them."""

    def test_refusal_is_new_once(self, ledger: Ledger) -> None:
        """The same situation in the next cycle is no news."""
        assert ledger.refusals.answer_to(REFUSAL, AT) == (None, True)
        assert ledger.refusals.answer_to(REFUSAL, AT) == (None, False)

    @pytest.mark.parametrize("answer", ["confirmed", "forget"])
    def test_answer_holds_for_the_refusal_that_stands(self, ledger: Ledger, answer: str) -> None:
        """What the operator said is found in the next cycle."""
        ledger.refusals.answer_to(REFUSAL, AT)
        assert ledger.refusals.answer(REFUSAL.plan_id, answer)

        assert ledger.refusals.answer_to(REFUSAL, AT) == (answer, False)

    def test_answer_is_used_up_when_the_refusal_is_settled(self, ledger: Ledger) -> None:
        """The same accident a year later is asked about again."""
        ledger.refusals.answer_to(REFUSAL, AT)
        ledger.refusals.answer(REFUSAL.plan_id, "confirmed")
        ledger.refusals.settle()

        assert ledger.refusals.current() is None
        assert ledger.refusals.answer_to(REFUSAL, AT) == (None, True)

    def test_answer_does_not_hold_for_another_refusal(self, ledger: Ledger) -> None:
        """A new situation is asked about by itself, whatever was confirmed before."""
        ledger.refusals.answer_to(REFUSAL, AT)
        ledger.refusals.answer(REFUSAL.plan_id, "confirmed")

        assert ledger.refusals.answer_to(OTHER, AT) == (None, True)
        assert ledger.refusals.confirmed() == {REFUSAL.plan_id}

    def test_only_one_refusal_stands(self, ledger: Ledger) -> None:
        """The newest is what stands, with when it was found."""
        ledger.refusals.answer_to(REFUSAL, AT)
        ledger.refusals.answer_to(OTHER, AT)
        current = ledger.refusals.current()

        assert current is not None
        assert (current.refusal, current.at, current.answer) == (OTHER, AT.isoformat(), None)

    def test_answer_without_a_question_is_not_taken(self, ledger: Ledger) -> None:
        """Neither a plan that was never refused nor one that no longer stands."""
        assert not ledger.refusals.answer(REFUSAL.plan_id, "confirmed")
        ledger.refusals.answer_to(REFUSAL, AT)
        ledger.refusals.settle()
        assert not ledger.refusals.answer(REFUSAL.plan_id, "confirmed")


class TestRequests:
    """The letter box between verbs and the process that holds the lease."""

    def test_requests_wait_in_order_until_they_are_settled(self, ledger: Ledger) -> None:
        """Each is taken once, the oldest first, with what was asked."""
        first = ledger.requests.post("restore", ["a", "b"])
        second = ledger.requests.post("purge", [])
        waiting = ledger.requests.waiting()
        assert [(one.id, one.verb, one.words) for one in waiting] == [
            (first, "restore", ("a", "b")),
            (second, "purge", ()),
        ]

        ledger.requests.settle(first, {"items": []})
        assert [one.id for one in ledger.requests.waiting()] == [second]

    def test_outcome_is_there_when_it_is(self, ledger: Ledger) -> None:
        """None while it waits, then what was left for the verb."""
        number = ledger.requests.post("restore", ["a"])
        assert ledger.requests.outcome(number) is None

        ledger.requests.settle(number, {"items": [{"id": "x"}]})
        assert ledger.requests.outcome(number) == {"items": [{"id": "x"}]}

    def test_withdrawn_request_is_never_carried_out(self, ledger: Ledger) -> None:
        """Taken back while it waits, nobody finds it."""
        number = ledger.requests.post("purge", ["a"])

        assert ledger.requests.withdraw(number)
        assert ledger.requests.waiting() == []
        assert not ledger.requests.withdraw(number)

    def test_request_that_was_carried_out_cannot_be_withdrawn(self, ledger: Ledger) -> None:
        """Too late to take it back: its outcome stays."""
        number = ledger.requests.post("purge", ["a"])
        ledger.requests.settle(number, {"items": []})

        assert not ledger.requests.withdraw(number)
        assert ledger.requests.outcome(number) == {"items": []}

    def test_outcome_of_nobodys_request_is_none(self, ledger: Ledger) -> None:
        """A number that was never given has no outcome."""
        assert ledger.requests.outcome(99) is None
