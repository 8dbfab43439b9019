from __future__ import annotations

import json

import pytest

from mlflow_cleanup.cycle import Cycle
from mlflow_cleanup.cycle.requests import answer_requests
from mlflow_cleanup.errors import OutcomeUntold
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.plan import SweepPlan
from mlflow_cleanup.report.lines import sentence_of
from mlflow_cleanup.report.plans import plan_values, steps_text
from tests.kit.world import Run, World


def quarantined(world: World, size: int) -> Run:
    """Add a run of a given size that is in the trash."""
    run = world.run({"a": size})
    world.cycle()
    world.delete(run)
    world.cycle()
    return run


def answer(world: World) -> None:
    """Answer what waits, as a running monitor does."""
    answer_requests(Cycle(world.workplace), world.workplace)


def test_each_request_is_answered_with_what_became_of_its_items(world: World) -> None:
    """Restored or purged, with the path, the size and no error."""
    back, away = quarantined(world, 10), quarantined(world, 100)
    requests = world.ledger.requests
    first, second = requests.post("restore", [back.id]), requests.post("purge", [away.id])
    answer(world)

    assert requests.waiting() == []
    for number, run, state, size in ((first, back, "restored", 10), (second, away, "purged", 100)):
        (item,) = world.items(run)
        assert requests.outcome(number) == {
            "items": [
                {
                    "id": item.id,
                    "entity": "run",
                    "run_id": run.id,
                    "state": state,
                    "path": str(run.place),
                    "bytes": size,
                    "error": None,
                }
            ]
        }


def test_request_that_is_refused_is_answered_with_the_refusal(world: World) -> None:
    """Whoever waits is told why, and the next request is answered all the same."""
    run = quarantined(world, 10)
    others = [world.run() for _ in range(3)]
    world.cycle()
    world.hard_delete(*others)
    requests = world.ledger.requests
    first, second = requests.post("purge", []), requests.post("restore", [run.id])
    answer(world)

    refused, restored = requests.outcome(first), requests.outcome(second)
    assert refused is not None
    assert restored is not None
    assert refused["type"] == "PlanRefused"
    assert "known active runs vanished" in refused["error"]
    assert [item["state"] for item in restored["items"]] == ["restored"]


def test_request_for_nothing_is_answered_with_nothing(world: World) -> None:
    """A run that has nothing in the trash leaves an empty answer, not a waiting verb."""
    number = world.ledger.requests.post("restore", ["nobody"])
    answer(world)

    assert world.ledger.requests.outcome(number) == {"items": []}


def test_failure_of_the_store_is_in_the_answer(world: World) -> None:
    """What could not be done is said with its error, and stays open."""
    run = quarantined(world, 10)
    world.faults.fail("purge")
    number = world.ledger.requests.post("purge", [run.id])
    answer(world)

    outcome = world.ledger.requests.outcome(number)
    assert outcome is not None
    (item,) = outcome["items"]
    assert item["state"] == "purging"
    assert "Input/output error" in item["error"]


def refuse_outcomes(world: World, *, larger_than: int = 0) -> None:
    """Let the ledger have no room for an outcome of more characters than this."""
    world.ledger_connection.execute(
        "CREATE TEMP TRIGGER no_room BEFORE UPDATE OF outcome ON main.requests "
        f"WHEN length(NEW.outcome) > {larger_than} "
        "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )


def test_outcome_that_cannot_be_written_is_kept_and_nothing_done_again(world: World) -> None:
    """However often it is tried: when there is room, whoever waits hears what was done."""
    run, back = quarantined(world, 100), quarantined(world, 10)
    number = world.ledger.requests.post("purge", [run.id])
    second = world.ledger.requests.post("restore", [back.id])
    refuse_outcomes(world)
    for _ in range(3):
        with pytest.raises(OutcomeUntold, match=r"what was done is done .*history"):
            answer(world)
    assert world.ledger.requests.outcome(number) is None
    assert world.history(run).count("purged") == 1
    assert world.history(back).count("restored") == 1

    world.ledger_connection.execute("DROP TRIGGER no_room")
    answer(world)

    for one, state in ((number, "purged"), (second, "restored")):
        outcome = world.ledger.requests.outcome(one)
        assert outcome is not None
        assert [item["state"] for item in outcome["items"]] == [state]


def large_plan(world: World) -> SweepPlan:
    """Make a plan of many steps."""
    world.run({"large": 100_000})
    runs = [world.run({"a": 10}) for _ in range(60)]
    world.cycle()
    world.delete(*runs)
    return world.plan()


def ask_for(world: World, plan: SweepPlan) -> int:
    """Ask for a plan to be carried out."""
    return world.ledger.requests.post("apply", [json.dumps(plan_values(plan))])


def test_outcome_that_is_too_long_is_told_in_short(world: World) -> None:
    """Counts and bytes are whole; the steps are left out, and that is said."""
    plan = large_plan(world)
    number = ask_for(world, plan)
    refuse_outcomes(world, larger_than=1_000)
    answer(world)

    outcome = world.ledger.requests.outcome(number)
    assert outcome is not None
    assert (outcome["counts"]["quarantined"], outcome["bytes"], outcome["left"]) == (60, 600, 0)
    assert (outcome["steps"], outcome["steps_left_out"]) == ([], 60)
    assert "60 step(s) are not listed" in steps_text(outcome)


def test_plan_that_cannot_be_recorded_to_its_end_is_not_called_undone(world: World) -> None:
    """The disk fills in the middle: what was moved before is not denied."""
    plan = large_plan(world)
    number = ask_for(world, plan)
    world.ledger_connection.execute(
        "CREATE TEMP TRIGGER no_room BEFORE INSERT ON main.items "
        "WHEN (SELECT count(*) FROM items) >= 55 "
        "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    answer(world)

    outcome = world.ledger.requests.outcome(number)
    assert outcome is not None
    assert f"plan {plan.id} was broken off after 50 of 60 steps" in outcome["error"]
    assert "nothing was moved" not in outcome["error"]
    assert len(world.trash()) == 50


def test_plan_that_is_asked_for_during_another_is_carried_out_after_it(world: World) -> None:
    """Whoever comes second waits for the first, and no longer."""
    first = large_plan(world)
    asked = [ask_for(world, first)]

    def ask_once() -> None:
        if len(asked) == 1:
            asked.append(ask_for(world, first))

    answer_requests(Cycle(world.workplace), world.workplace, ask_once)

    done, again = map(world.ledger.requests.outcome, asked)
    assert done is not None
    assert done["counts"]["quarantined"] == 60
    assert again is not None
    assert again["type"] == "PlanOutdated"


def test_what_was_answered_in_the_middle_is_not_done_again(world: World) -> None:
    """A restore asked for before a plan began, and answered during it, keeps its answer."""
    run = quarantined(world, 10)
    ask_for(world, large_plan(world))
    number = world.ledger.requests.post("restore", [run.id])
    cycle = Cycle(world.workplace)
    answer_requests(
        cycle,
        world.workplace,
        lambda: answer_requests(cycle, world.workplace, only_short=True),
    )

    outcome = world.ledger.requests.outcome(number)
    assert outcome is not None
    assert [item["state"] for item in outcome["items"]] == ["restored"]


@pytest.mark.parametrize(
    "words",
    ["not json", "", "{}", "5", "null", '"x"', "[5]", "[" * 100_000, b"\xff", 5],
    ids=lambda words: repr(words)[:12],
)
def test_row_that_is_no_request_blocks_no_other(world: World, words: object) -> None:
    """It is thrown away, and told once."""
    run = quarantined(world, 10)
    world.ledger_connection.execute(
        "INSERT INTO requests (verb, words) VALUES ('purge', ?)", (words,)
    )
    number = world.ledger.requests.post("restore", [run.id])
    answer(world)
    answer(world)

    outcome = world.ledger.requests.outcome(number)
    assert outcome is not None
    assert [item["state"] for item in outcome["items"]] == ["restored"]
    assert world.told().count("ignored") == 1
    assert "1 request could not be read" in sentence_of(world.last(EventKind.IGNORED))
    rows = world.ledger_connection.execute("SELECT id FROM requests").fetchall()
    assert [row[0] for row in rows] == [number]
