"""What would stay is said beforehand, with the reason that the removal itself would give."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from mlflow_cleanup.act.metadata import Result, Target, TargetKind, foresee, remove_rows
from tests.kit.rows import Filled, World

GUARDS = ("guardrails", "guardrail_configs")
RUN, MODEL, EXPERIMENT = TargetKind.RUN, TargetKind.LOGGED_MODEL, TargetKind.EXPERIMENT
TRACE = TargetKind.TRACE

Change = Callable[[Filled, World, World], object]


def foreseen(filled: Filled, targets: Iterable[Target]) -> dict[str, str]:
    """Say which would stay, by kind and id."""
    found = foresee(filled.database, targets, keep_going=lambda: True)
    return {str(target): why for target, why in found.items()}


def kept(filled: Filled, targets: Iterable[Target]) -> dict[str, str]:
    """Remove them, and say which stayed."""
    outcomes = remove_rows(filled.database, targets)
    return {str(one.target): one.reason for one in outcomes if one.result is Result.KEPT}


def execute(*statements: str) -> Change:
    """Return what changes the database; `:run` and the like are those of the deleted world."""

    def change(filled: Filled, world: World, other: World) -> None:
        values = {
            "run": world.run,
            "model": world.model,
            "trace": world.trace,
            "experiment": world.experiment,
            "other_run": other.run,
            "other_model": other.model,
        }
        filled.file.define(*(one for one in statements if one.startswith("CREATE")))
        with filled.file.connection() as connection:
            for statement in statements:
                if not statement.startswith("CREATE"):
                    connection.execute(statement, values)

    return change


def plug_in(kind: str, table: str, key: str, action: str = "") -> Change:
    """Return what adds a table of somebody else's with one row."""
    type_ = "INTEGER" if kind == "experiment" else "VARCHAR(50)"
    return execute(
        f"CREATE TABLE plug_in (id INTEGER PRIMARY KEY, it {type_}, "
        f"FOREIGN KEY (it) REFERENCES {table} ({key}) {action})",
        f"INSERT INTO plug_in VALUES (1, :{kind})",
    )


def twice(other: str, type_: str, values: str) -> Change:
    """Return what adds a table whose row hangs on a run and refers to something."""
    return execute(
        f"CREATE TABLE plug_in (run VARCHAR(32), other {type_}, "
        "FOREIGN KEY (run) REFERENCES runs (run_uuid) ON DELETE CASCADE, "
        f"FOREIGN KEY (other) REFERENCES {other})",
        f"INSERT INTO plug_in VALUES ({values})",
    )


CHANGES: dict[str, Change] = {
    "nothing": lambda *_: None,
    "metrics of a model that stays": execute(
        "UPDATE logged_model_metrics SET run_id = :run WHERE model_id = :other_model"
    ),
    "dataset that a run elsewhere uses": execute(
        "UPDATE inputs SET destination_id = :other_run "
        "WHERE destination_type = 'RUN' AND destination_id = :run AND source_type = 'DATASET'"
    ),
    "refers to the experiment": plug_in("experiment", "experiments", "experiment_id"),
    "refers to the run": plug_in("run", "runs", "run_uuid"),
    "refers to the model": plug_in("model", "logged_models", "model_id", "ON DELETE RESTRICT"),
    "refers to the trace": plug_in("trace", "trace_info", "request_id"),
    "hangs on the run": plug_in("run", "runs", "run_uuid", "ON DELETE CASCADE"),
    "clears the run": plug_in("run", "runs", "run_uuid", "ON DELETE SET NULL"),
    "refers to the experiment, hangs on the run": twice(
        "experiments (experiment_id)", "INTEGER", ":run, :experiment"
    ),
    "refers to the model, hangs on the run": twice(
        "logged_models (model_id)", "VARCHAR(36)", ":run, :model"
    ),
    "refers to the run, hangs on the run": twice("runs (run_uuid)", "VARCHAR(32)", ":run, :run"),
    "refers to the run, hangs on one that stays": twice(
        "runs (run_uuid)", "VARCHAR(32)", ":other_run, :run"
    ),
    "refers without a number": execute(
        "CREATE TABLE plug_in (run VARCHAR PRIMARY KEY REFERENCES runs) WITHOUT ROWID",
        "INSERT INTO plug_in VALUES (:run)",
    ),
    "cannot be followed": execute(
        "CREATE TABLE plug_in (id PRIMARY KEY, r REFERENCES runs) WITHOUT ROWID"
    ),
    "run of it that is no target": execute(
        "UPDATE runs SET experiment_id = :experiment WHERE run_uuid = :other_run"
    ),
    "model of it that is no target": execute(
        "UPDATE logged_models SET experiment_id = :experiment WHERE model_id = :other_model"
    ),
}

OF_SQLITE = {"refers without a number", "cannot be followed"}
IN_WHOLE = {
    "nothing",
    "hangs on the run",
    "clears the run",
    "refers to the experiment, hangs on the run",
    "refers to the run, hangs on the run",
}
"""With these changes everything goes."""


def deleted_world(filled: Filled) -> tuple[World, World, list[Target]]:
    """Fill a deleted world, whose model is active, beside another one; returns the targets."""
    other = filled.world(1, "active")
    world = filled.world(2, "deleted", without=GUARDS)
    filled.file.execute("UPDATE logged_models SET lifecycle_stage = 'active'")
    return world, other, [one for one in filled.targets(world) if one.kind is not TargetKind.JOB]


@pytest.mark.parametrize("how", CHANGES)
def test_foreseen_as_it_comes(filled: Filled, how: str) -> None:
    """Each kind of thing that can keep an entity; what goes itself holds nothing."""
    if how in OF_SQLITE and filled.database.is_on_server:
        pytest.skip("there are no such tables")
    world, other, targets = deleted_world(filled)
    CHANGES[how](filled, world, other)
    before = filled.content()

    said = foreseen(filled, targets)

    assert filled.content() == before
    done = kept(filled, targets)
    assert bool(done) is (how not in IN_WHOLE)
    # What stays as another one does is found when that is no target any more.
    assert said.items() <= done.items()
    assert bool(said) is bool(done)


def test_many_at_once(filled: Filled) -> None:
    """Of many worlds, only what is held in one is named."""
    worlds = [filled.world(number, "deleted", without=GUARDS) for number in range(2, 12)]
    filled.file.execute(
        "UPDATE logged_models SET lifecycle_stage = 'active' WHERE model_id = ?", worlds[3].model
    )
    targets = [filled.target(RUN, world) for world in worlds]
    assert foreseen(filled, targets) == {
        str(targets[3]): "metrics of a logged model that is not deleted name it"
    }
    assert foreseen(filled, [*targets, filled.target(MODEL, worlds[3])]) == {}


def test_guardrail_in_use(filled: Filled) -> None:
    """An endpoint would lose what guards it."""
    world = filled.world(2, "deleted")
    targets = [one for one in filled.targets(world) if one.kind is not TargetKind.JOB]
    assert foreseen(filled, targets) == {
        str(filled.target(EXPERIMENT, world)): "a gateway endpoint is guarded by a scorer of it"
    }


def test_nothing_is_asked_of_nothing(filled: Filled) -> None:
    """No targets, or such as cannot be."""
    assert foreseen(filled, []) == {}
    assert foreseen(filled, [Target(EXPERIMENT, "007"), Target(TRACE, "none")]) == {}


def test_told_to_stop_it_says_nothing(filled: Filled) -> None:
    """Whoever asked looks whether to go on."""
    world, _, targets = deleted_world(filled)
    filled.file.execute("UPDATE logged_model_metrics SET run_id = ?", world.run)
    assert foresee(filled.database, targets, keep_going=lambda: False) == {}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may all")
def test_database_that_may_only_be_read(in_sqlite: Filled, tmp_path: Path) -> None:
    """Looking needs no more than that."""
    filled = in_sqlite
    _, _, targets = deleted_world(filled)
    os.chmod(filled.path, stat.S_IRUSR)
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert foreseen(filled, targets) == {}
    finally:
        tmp_path.chmod(stat.S_IRWXU)
