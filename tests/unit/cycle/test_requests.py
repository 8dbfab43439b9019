from __future__ import annotations

from mlflow_cleanup.cycle import Cycle
from mlflow_cleanup.cycle.requests import answer_requests
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
