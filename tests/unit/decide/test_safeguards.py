from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_cleanup.decide.safeguards import Facts, Limits, examine
from mlflow_cleanup.model.snapshot import BackendIdentity, Schema
from tests.kit.tracking_db import run_id

KNOWN = BackendIdentity({"0": 1_000}, change_count=100)
CALM = Facts(
    known_identity=KNOWN,
    found_identity=KNOWN,
    schema=Schema("dc11669786a5", is_known=True),
    known_active=100,
    vanished=frozenset(),
    returned=frozenset(),
)
LIMITS = Limits(vanished_share=0.5, vanished_minimum=10)


def runs(count: int, first: int = 0) -> frozenset[str]:
    """Make a set of run ids."""
    return frozenset(run_id(number) for number in range(first, first + count))


SUSPICIONS = {
    "schema": replace(CALM, schema=Schema("feedfacecafe", is_known=False)),
    "claims": replace(CALM, problems=("table logged_models has no column artifact_location",)),
    "replaced": replace(CALM, found_identity=BackendIdentity({"0": 2_000}, 500)),
    "rolled back": replace(CALM, found_identity=replace(KNOWN, change_count=99)),
    "came back": replace(CALM, vanished=runs(1), returned=runs(1, first=50)),
    "foreign": replace(CALM, foreign_roots=("/art (of /other/mlflow.db)",)),
    "vanished": replace(CALM, vanished=runs(51)),
}


def test_a_calm_database_is_not_refused() -> None:
    """Nothing suspicious is no refusal; on the very first look there is nothing to compare with."""
    assert examine(CALM, LIMITS) is None
    assert examine(replace(CALM, known_identity=None, known_active=0), LIMITS) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("schema", ["feedfacecafe", "--allow-unknown-schema"]),
        ("claims", ["table logged_models has no column artifact_location"]),
        ("replaced", ["experiment 0 created at 1000 ms", "experiment 0 created at 2000 ms"]),
        ("rolled back", ["100", "99", "backup"]),
        ("came back", ["1 active run(s) vanished", "1 that had left are active again"]),
        ("foreign", ["/art (of /other/mlflow.db)"]),
        ("vanished", ["51 of 100", "without having been deleted"]),
    ],
)
def test_each_suspicion_refuses_and_says_what_to_look_at(name: str, words: list[str]) -> None:
    """A refusal tells the facts that it was made from."""
    refusal = examine(SUSPICIONS[name], LIMITS)

    assert refusal is not None
    assert all(word in refusal.reason for word in words)


def test_refusals_have_ids_of_their_own() -> None:
    """No two kinds of suspicion share a plan id, so that a confirmation cannot slip."""
    refusals = [examine(facts, LIMITS) for facts in SUSPICIONS.values()]

    assert len({refusal.plan_id for refusal in refusals if refusal}) == len(SUSPICIONS)


@pytest.mark.parametrize("name", SUSPICIONS)
def test_the_same_facts_have_the_same_id_in_every_cycle(name: str) -> None:
    """An operator can confirm what an earlier cycle told."""
    facts = SUSPICIONS[name]

    assert examine(facts, LIMITS) == examine(replace(facts), LIMITS)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("schema", {"schema": Schema("0badc0ffee00", is_known=False)}),
        ("claims", {"problems": ("table trace_tags has no column value",)}),
        ("replaced", {"found_identity": BackendIdentity({"0": 3_000}, 500)}),
        ("rolled back", {"known_identity": replace(KNOWN, change_count=101)}),
        ("came back", {"vanished": runs(1, first=7)}),
        ("came back", {"returned": runs(1, first=51)}),
        ("foreign", {"foreign_roots": ("/art (of /third/mlflow.db)",)}),
        ("vanished", {"vanished": runs(52)}),
        ("vanished", {"vanished": runs(51, first=1)}),
    ],
)
def test_other_facts_have_another_id(name: str, changed: dict[str, object]) -> None:
    """A confirmation holds for exactly what was refused, and for nothing that came after."""
    before = examine(SUSPICIONS[name], LIMITS)
    after = examine(replace(SUSPICIONS[name], **changed), LIMITS)  # type: ignore[arg-type]

    assert before is not None
    assert after is not None
    assert before.plan_id != after.plan_id


def test_a_rollback_keeps_its_id_while_the_database_is_written_to() -> None:
    """The counter goes on counting after a backup was restored; it stays one situation."""
    found = [replace(KNOWN, change_count=count) for count in (3, 98)]
    refusals = [examine(replace(CALM, found_identity=identity), LIMITS) for identity in found]

    assert refusals[0] is not None
    assert refusals[1] is not None
    assert refusals[0].plan_id == refusals[1].plan_id


def test_a_confirmation_lets_exactly_its_own_plan_pass() -> None:
    """Of several suspicions each has to be confirmed by itself, in whatever order."""
    facts = replace(
        SUSPICIONS["vanished"],
        schema=SUSPICIONS["schema"].schema,
        foreign_roots=SUSPICIONS["foreign"].foreign_roots,
        found_identity=SUSPICIONS["replaced"].found_identity,
    )
    confirmed: set[str] = set()
    for _ in range(4):
        refusal = examine(facts, LIMITS, confirmed)
        assert refusal is not None
        assert refusal.plan_id not in confirmed
        assert examine(facts, LIMITS, {refusal.plan_id}) is not None
        confirmed.add(refusal.plan_id)

    assert examine(facts, LIMITS, confirmed) is None
    assert examine(facts, LIMITS, {"another"}) is not None


def test_unread_claims_cannot_be_confirmed_away() -> None:
    """What is not known about claims does not become known by an operator's word."""
    refusal = examine(SUSPICIONS["claims"], LIMITS)

    assert refusal is not None
    assert examine(SUSPICIONS["claims"], LIMITS, {refusal.plan_id}) == refusal


@pytest.mark.parametrize(
    ("known", "vanished", "limits", "is_refused"),
    [
        (100, 50, LIMITS, False),  # exactly the share
        (100, 51, LIMITS, True),
        (19, 9, LIMITS, False),
        (18, 9, LIMITS, False),
        (17, 9, LIMITS, False),  # more than the share, but fewer than the minimum
        (19, 10, LIMITS, True),  # exactly the minimum
        (20, 10, LIMITS, False),  # exactly the share again
        (10, 10, LIMITS, True),
        (9, 9, LIMITS, True),  # every one
        (1, 1, LIMITS, True),
        (2, 1, LIMITS, False),
        (0, 0, LIMITS, False),
        (100, 99, Limits(1.0, 10), False),
        (100, 100, Limits(1.0, 10), True),
        (100, 1, Limits(0.0, 1), True),
        (100, 1, Limits(0.0, 2), False),
    ],
)
def test_vanished_rows_refuse_above_the_share_and_from_the_minimum_on(
    known: int, vanished: int, limits: Limits, is_refused: bool
) -> None:
    """More than the share and at least the minimum refuse; every known one always does."""
    facts = replace(CALM, known_active=known, vanished=runs(vanished))

    assert (examine(facts, limits) is not None) is is_refused


def test_an_unknown_schema_may_be_allowed_and_nothing_else_with_it() -> None:
    """The permission for an unknown revision does not silence unread claims."""
    allowing = replace(LIMITS, allow_unknown_schema=True)
    unknown = SUSPICIONS["schema"]

    assert examine(unknown, allowing) is None
    assert examine(replace(unknown, problems=("table tags is missing",)), allowing) is not None


@pytest.mark.parametrize(
    ("known", "found", "is_refused"),
    [(100, 100, False), (100, 101, False), (100, 99, True), (None, 1, False), (100, None, False)],
)
def test_only_a_counter_that_fell_is_a_rollback(
    known: int | None, found: int | None, is_refused: bool
) -> None:
    """An equal or higher change counter, or none to compare, is no sign of a restored backup."""
    facts = replace(
        CALM,
        known_identity=replace(KNOWN, change_count=known),
        found_identity=replace(KNOWN, change_count=found),
    )

    assert (examine(facts, LIMITS) is not None) is is_refused


@pytest.mark.parametrize(("vanished", "returned"), [(runs(1), runs(0)), (runs(0), runs(1))])
def test_vanishing_or_returning_alone_is_no_rollback(
    vanished: frozenset[str], returned: frozenset[str]
) -> None:
    """A row removed, or a run restored, happens every day; only both at once are suspicious."""
    assert examine(replace(CALM, vanished=vanished, returned=returned), LIMITS) is None


@pytest.mark.parametrize("text", [chr(0xDCFF), chr(0xD800), "line\nbreak"])
def test_any_text_can_stand_in_a_refusal(text: str) -> None:
    """A root or a marker may hold text that is no Unicode; it is refused all the same."""
    assert examine(replace(CALM, foreign_roots=(text,)), LIMITS) is not None


@settings(deadline=None)
@given(known=st.integers(0, 60), vanished=st.integers(0, 60), share=st.floats(0, 1))
def test_losing_every_known_run_is_always_refused(known: int, vanished: int, share: float) -> None:
    """No setting makes a database that lost all of its active runs acceptable."""
    vanished = min(known, vanished)
    facts = replace(CALM, known_active=known, vanished=runs(vanished))
    refusal = examine(facts, Limits(share, vanished_minimum=1_000))

    assert (refusal is not None) == (vanished == known > 0)
