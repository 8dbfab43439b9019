"""What is still needed by something that lives keeps its entity, with the reason."""

from __future__ import annotations

import pytest

from mlflow_cleanup.act.metadata import Outcome, Result, Target, TargetKind, remove_rows
from tests.kit.rows import Filled, World, difference

GUARDS = ("guardrails", "guardrail_configs")
RUN, MODEL, EXPERIMENT = TargetKind.RUN, TargetKind.LOGGED_MODEL, TargetKind.EXPERIMENT


def one(filled: Filled, target: Target) -> Outcome:
    """Remove one target."""
    (outcome,) = remove_rows(filled.database, [target])
    return outcome


def expect_kept(filled: Filled, target: Target, why: str) -> None:
    """See that it stays for this reason, and that nothing is another one."""
    before = filled.content()
    assert one(filled, target) == Outcome(target, Result.KEPT, why)
    assert filled.content() == before


def emptied(filled: Filled, *left: TargetKind) -> tuple[World, Target]:
    """Fill a deleted world and remove all but its experiment, and but what is `left`."""
    world = filled.world(2, "deleted", without=GUARDS)
    for target in filled.targets(world):
        if target.kind not in (*left, EXPERIMENT, TargetKind.JOB):
            assert one(filled, target).result is Result.REMOVED
    return world, filled.target(EXPERIMENT, world)


def test_a_run_stays_while_metrics_of_an_active_model_name_it(filled: Filled) -> None:
    """They are the model's, and their run is part of their key; MLflow loses them."""
    world = filled.world(2, "deleted")
    filled.file.execute("UPDATE logged_models SET lifecycle_stage = 'active'")
    why = "metrics of a logged model that is not deleted name it"
    expect_kept(filled, filled.target(RUN, world), why)


def test_a_run_goes_when_that_model_has_gone(filled: Filled) -> None:
    """Deleted or without a row: its metrics are no reason any more."""
    world = filled.world(2, "deleted")
    filled.file.execute("DELETE FROM logged_models")
    assert one(filled, filled.target(RUN, world)).result is Result.REMOVED
    assert filled.content()["logged_model_metrics"] == set()


def test_rows_that_name_something_else_by_the_same_id_stay(filled: Filled) -> None:
    """Without a key, only the type says what an id is of."""
    world = filled.world(2, "deleted", without=GUARDS)
    strange = []
    for number, id_ in enumerate((world.run, world.model, world.trace, str(world.experiment))):
        strange += [
            ("entity_associations", {"association_id": f"s{number}", "source_id": id_}),
            ("inputs", {"input_uuid": f"s{number}", "source_id": id_, "destination_id": id_}),
            ("review_queue_items", {"item_id": id_, "item_type": "session"}),
        ]
    other = filled.world(3, "active", without=GUARDS)
    for table, values in strange:
        filled.add(table, values, other)
    before = filled.content()
    assert {item.reason for item in remove_rows(filled.database, filled.targets(world))} == {""}
    gone = difference(before, filled.content())
    for table in ("entity_associations", "inputs", "review_queue_items"):
        assert not [row for row in gone[table] if f"{table} " in str(row) and " 3" in str(row)]
    count = "SELECT count(*) FROM review_queue_items WHERE item_type = 'session'"
    assert filled.file.execute(count) == [(4,)]


def test_only_the_run_that_is_named_stays(filled: Filled) -> None:
    """Among many runs of one batch, each has its own answer."""
    worlds = [filled.world(number, "deleted") for number in range(2, 12)]
    filled.file.execute(
        "UPDATE logged_models SET lifecycle_stage = 'active' WHERE model_id = ?", worlds[3].model
    )
    targets = [filled.target(RUN, world) for world in worlds]
    kept = [item.target.id for item in remove_rows(filled.database, targets) if item.reason]
    assert kept == [worlds[3].run]
    assert filled.file.execute("SELECT run_id FROM logged_model_metrics") == [(worlds[3].run,)]
    assert filled.broken_keys() == []


@pytest.mark.parametrize(
    ("left", "why"),
    [
        (RUN, "a run in it is not deleted"),
        (MODEL, "a logged model in it is not deleted"),
    ],
)
def test_an_experiment_stays_while_something_in_it_lives(
    filled: Filled, left: TargetKind, why: str
) -> None:
    """A run restored on its own in a deleted experiment: MLflow removes its rows, and leaks."""
    world, target = emptied(filled, left)
    table = "runs" if left is RUN else "logged_models"
    filled.file.execute(f"UPDATE {table} SET lifecycle_stage = 'active'")
    if left is MODEL:
        filled.file.execute("DELETE FROM inputs WHERE source_id = ?", world.run)
    else:
        filled.file.execute("DELETE FROM inputs")
    expect_kept(filled, target, why)


@pytest.mark.parametrize(
    ("left", "why"),
    [
        (RUN, "runs of it are still there"),
        (MODEL, "logged models of it are still there"),
        (TargetKind.TRACE, "traces of it are still there"),
    ],
)
def test_an_experiment_stays_while_anything_is_in_it(
    filled: Filled, left: TargetKind, why: str
) -> None:
    """A deleted entity may have files still: it goes by its own target only."""
    _, target = emptied(filled, left)
    filled.file.execute("DELETE FROM inputs")
    expect_kept(filled, target, why)


def test_an_experiment_goes_after_what_is_in_it(filled: Filled) -> None:
    """Named in any order in one job."""
    world = filled.world(2, "deleted", without=GUARDS)
    targets = filled.targets(world)
    for order in (targets, targets[::-1]):
        assert {item.result for item in remove_rows(filled.database, order)} <= {
            Result.REMOVED,
            Result.ABSENT,
        }
    assert filled.content()["experiments"] == set()


def test_an_experiment_stays_while_a_run_elsewhere_uses_a_dataset_of_it(filled: Filled) -> None:
    """Its dataset would be lost to that run."""
    other = filled.world(1, "active")
    world, target = emptied(filled)
    dataset = world.rows["datasets"][0]["dataset_uuid"]
    use = {
        "input_uuid": "used",
        "source_type": "DATASET",
        "source_id": dataset,
        "destination_type": "RUN",
        "destination_id": other.run,
    }
    filled.add("inputs", use, other)
    expect_kept(filled, target, "a run that is still there uses a dataset of it")

    gone = {**use, "destination_id": "of a run that has gone", "input_uuid": "dangles"}
    filled.file.execute("DELETE FROM inputs WHERE input_uuid = 'used'")
    filled.add("inputs", gone, other)
    assert one(filled, target).result is Result.REMOVED
    assert filled.file.execute("SELECT * FROM inputs WHERE input_uuid = 'dangles'") == []


def test_an_experiment_stays_while_its_scorer_guards_an_endpoint(filled: Filled) -> None:
    """That endpoint would be without its guard; MLflow fails there, its files gone already."""
    world = filled.world(2, "deleted")
    for target in filled.targets(world):
        if target.kind is not EXPERIMENT:
            one(filled, target)
    target = filled.target(EXPERIMENT, world)
    expect_kept(filled, target, "a gateway endpoint is guarded by a scorer of it")
    filled.file.execute("DELETE FROM guardrail_configs")
    before = filled.content()
    assert one(filled, target).result is Result.REMOVED
    assert len(difference(before, filled.content())["guardrails"]) == 1
    assert filled.broken_keys() == []
