"""Each kind of entity, in the tables of every release: its own rows go, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_cleanup.act.metadata import Result, TargetKind, remove_rows
from tests.kit.rows import Filled, Row, Rows, World, difference
from tests.kit.served import Served
from tests.kit.servers.make_schemas import VERSIONS
from tests.kit.tracking_db import REVISIONS

GUARDS = ("guardrails", "guardrail_configs")
"""What keeps an experiment; `test_what_holds` has it."""

OF_A_RUN = {
    *("runs", "metrics", "latest_metrics", "params", "tags"),
    *("inputs", "input_tags", "logged_model_metrics"),
}
OF_A_MODEL = {
    *("logged_models", "logged_model_metrics", "logged_model_params", "logged_model_tags"),
}
OF_A_TRACE = {
    *("trace_info", "trace_tags", "trace_request_metadata", "trace_metrics"),
    *("spans", "span_metrics", "assessments", "review_queue_items"),
}
OF_A_JOB = {"jobs", "job_locks"}
OF_AN_EXPERIMENT = {
    *("experiments", "experiment_tags", "datasets", "issues", "label_schemas"),
    *("review_queues", "review_queue_label_schemas", "review_queue_users"),
    *("scorers", "scorer_versions", "online_scoring_configs", "endpoint_bindings"),
    *("sql_trace_metric_daily_rollups", "sql_span_cost_daily_rollups"),
    *("sql_assessment_daily_rollups", "sql_trace_rollup_rebuild_queue"),
}


KINDS = [
    *(("sqlite", version) for version in REVISIONS),
    *((kind, version) for kind in ("postgresql", "mariadb") for version in VERSIONS),
]


@pytest.fixture(params=KINDS, ids=" ".join)
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Filled]:
    """A database of one release with two worlds that are none of our business."""
    kind, version = request.param
    if kind == "sqlite":
        made = Filled(tmp_path / "mlflow.db", version)
    else:
        made = Served(request.getfixturevalue(kind), version)
    made.world(1, "active", without=GUARDS)
    made.world(3, "deleted", without=GUARDS)
    yield made
    made.release()


def fill(filled: Filled) -> tuple[World, Rows]:
    """Add the world that is to go, and return it with all of its rows."""
    others = filled.content()
    world = filled.world(2, "deleted", without=GUARDS)
    return world, difference(filled.content(), others)


def remove(filled: Filled, world: World, *kinds: TargetKind) -> tuple[Rows, Rows]:
    """Remove entities; returns which rows went and which came, where a changed one does both."""
    before = filled.content()
    for outcome in remove_rows(filled.database, [filled.target(kind, world) for kind in kinds]):
        there = filled.has(TABLES[outcome.target.kind])
        assert outcome.result is (Result.REMOVED if there else Result.ABSENT), outcome
    after = filled.content()
    assert filled.broken_keys() == []
    return difference(before, after), difference(after, before)


TABLES = {
    TargetKind.RUN: "runs",
    TargetKind.LOGGED_MODEL: "logged_models",
    TargetKind.TRACE: "trace_info",
    TargetKind.EXPERIMENT: "experiments",
    TargetKind.JOB: "jobs",
}


def test_a_run_goes_with_its_rows(filled: Filled) -> None:
    """Its metrics, inputs and associations go; an issue found in it stays, and names it no more."""
    world, mine = fill(filled)
    gone, came = remove(filled, world, TargetKind.RUN)
    expected = only(mine, OF_A_RUN) | naming(mine, "entity_associations", world.run)
    expected |= naming(mine, "issues", world.run)
    assert gone == expected
    assert set(came) <= {"issues"}
    assert {len(row) for row in came.get("issues", ())} == {
        len(row) for row in mine.get("issues", ())
    } & {len(row) for row in gone.get("issues", ())}
    assert all(world.run not in row for row in came.get("issues", ()))


def test_a_logged_model_goes_with_its_rows(filled: Filled) -> None:
    """Its metrics, params, tags, inputs and associations go; its run stays."""
    world, mine = fill(filled)
    gone, came = remove(filled, world, TargetKind.LOGGED_MODEL)
    inputs = naming(mine, "inputs", world.model)
    marks = {str(value) for row in inputs.get("inputs", ()) for value in row[:1]}
    tags = {row for row in mine.get("input_tags", ()) if marks & set(row)}
    expected = only(mine, OF_A_MODEL) | naming(mine, "entity_associations", world.model) | inputs
    assert gone == (expected | {"input_tags": tags} if tags else expected)
    assert came == {}


def test_a_trace_goes_with_its_rows(filled: Filled) -> None:
    """Its spans, assessments and place in review queues go."""
    world, mine = fill(filled)
    gone, came = remove(filled, world, TargetKind.TRACE)
    assert gone == only(mine, OF_A_TRACE) | naming(mine, "entity_associations", world.trace)
    assert came == {}


def test_a_job_goes_with_its_rows(filled: Filled) -> None:
    """Its lock goes."""
    world, mine = fill(filled)
    gone, came = remove(filled, world, TargetKind.JOB)
    assert gone == only(mine, OF_A_JOB)
    assert came == {}


def test_an_experiment_goes_with_its_rows(filled: Filled) -> None:
    """Its datasets, scorers, rollups go; a gateway endpoint stays, and names it no more."""
    world, mine = fill(filled)
    rest = (TargetKind.RUN, TargetKind.LOGGED_MODEL, TargetKind.TRACE)
    remove(filled, world, *rest)
    gone, came = remove(filled, world, TargetKind.EXPERIMENT)
    associations = naming(mine, "entity_associations", str(world.experiment))
    issues = {"issues": gone["issues"]} if filled.has("issues") else {}
    endpoints = naming(mine, "endpoints", world.experiment)
    assert gone == only(mine, OF_AN_EXPERIMENT) | associations | issues | endpoints
    assert set(came) == set(endpoints)
    assert all(world.experiment not in row for row in came.get("endpoints", ()))


def test_all_at_once_leaves_what_belongs_to_others(filled: Filled) -> None:
    """In whatever order they are named, all go, and not a row of another world."""
    before = filled.content()
    world, mine = fill(filled)
    remove(filled, world, *TABLES)
    after = filled.content()
    assert difference(before, after) == {}
    left = difference(after, before)
    owned = (
        OF_A_RUN | OF_A_MODEL | OF_A_TRACE | OF_AN_EXPERIMENT | OF_A_JOB | {"entity_associations"}
    )
    assert set(left) & owned == set()
    assert set(left) - {"endpoints"} == set(mine) - owned - {"endpoints"}


def test_rows_that_dangled_before_are_left_alone(filled: Filled) -> None:
    """What a database without checked keys has lost is not ours, nor does it stand in the way."""
    if filled.database.is_on_server:
        pytest.skip("keys are always checked there")
    lost = filled.world(4, "deleted", without=GUARDS)
    filled.file.execute("DELETE FROM runs WHERE run_uuid = ?", lost.run)
    filled.file.execute("DELETE FROM experiments WHERE experiment_id = ?", lost.experiment)
    broken, before = filled.broken_keys(), filled.content()
    world, _ = fill(filled)
    outcomes = list(remove_rows(filled.database, filled.targets(world)))
    assert {outcome.result for outcome in outcomes} <= {Result.REMOVED, Result.ABSENT}
    assert broken
    assert filled.broken_keys() == broken
    assert difference(before, filled.content()) == {}


def only(rows: Rows, names: set[str]) -> Rows:
    """Keep some tables of some rows."""
    return {name: some for name, some in rows.items() if name in names}


def naming(rows: Rows, name: str, value: object) -> Rows:
    """Keep the rows of one table that have a value anywhere."""
    some: set[Row] = {row for row in rows.get(name, ()) if value in row}
    return {name: some} if some else {}
