from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.entity import EntityKind
from mlflow_cleanup.model.usage import Owner, Owners
from mlflow_cleanup.observe.tracking import TrackingDatabase
from tests.kit.tracking_db import REVISIONS, TrackingFile, run_id

MODEL, TRACE = "m-" + "a" * 32, "tr-" + "b" * 32


def owners(db: TrackingFile, **wanted: set[str]) -> Owners:
    """Read whose the wanted runs, models and traces are."""
    asked: Mapping[EntityKind, set[str]] = {
        **{kind: set() for kind in EntityKind},
        EntityKind.RUN: wanted.get("runs", set()),
        EntityKind.LOGGED_MODEL: wanted.get("models", set()),
        EntityKind.TRACE: wanted.get("traces", set()),
    }
    return TrackingDatabase(Database.of_file(str(db.path))).owners(asked)


@pytest.fixture
def db(tmp_path: Path) -> TrackingFile:
    """Make a database with a second experiment."""
    made = TrackingFile.make(tmp_path / "mlflow.db")
    made.experiment("7", "mlflow-artifacts:/7")
    return made


@pytest.mark.parametrize("version", REVISIONS)
def test_runs_of_every_release_have_experiment_and_user(tmp_path: Path, version: str) -> None:
    """The tag is what MLflow shows; where there is none, the column."""
    db = TrackingFile.make(tmp_path / "mlflow.db", version)
    for number, column, tag in (
        (1, "column", None),
        (2, "column", "tag"),
        (3, "", ""),
        (4, "", "tag"),
    ):
        db.run(run_id(number), user_id=column, stage="deleted" if number == 4 else "active")
        if tag is not None:
            db.tag(run_id(number), "mlflow.user", tag)

    found = owners(
        db, runs={run_id(number) for number in range(1, 6)}, models={MODEL}, traces={TRACE}
    )

    assert found.of == {
        run_id(1): Owner("0", run_id(1), "column"),
        run_id(2): Owner("0", run_id(2), "tag"),
        run_id(3): Owner("0", run_id(3), None),
        run_id(4): Owner("0", run_id(4), "tag"),
    }
    assert found.experiments == {"0": "experiment 0"}


def test_only_what_was_asked_for_is_kept(db: TrackingFile) -> None:
    """Memory grows with what has files, not with the database."""
    db.run(run_id(1), user_id="a")
    db.run(run_id(2), user_id="b")

    assert set(owners(db, runs={run_id(2)}).of) == {run_id(2)}


def test_models_belong_to_the_user_of_their_run(db: TrackingFile) -> None:
    """Unless they say otherwise themselves; the run need not have been asked for."""
    own = "m-" + "c" * 32
    db.run(run_id(1), experiment_id=7, user_id="ada")
    for id_ in (MODEL, own):
        db.logged_model(id_, "x")
        db.execute(
            "UPDATE logged_models SET source_run_id = ?, experiment_id = 7 WHERE model_id = ?",
            run_id(1),
            id_,
        )
    db.insert(
        "logged_model_tags", model_id=own, experiment_id=7, tag_key="mlflow.user", tag_value="bob"
    )
    lonely = "m-" + "d" * 32
    db.logged_model(lonely, "x")

    found = owners(db, models={MODEL, own, lonely}).of

    assert found[MODEL] == Owner("7", run_id(1), "ada")
    assert found[own] == Owner("7", run_id(1), "bob")
    assert found[lonely] == Owner("0", None, None)


def test_traces_belong_to_their_run_where_they_name_one(db: TrackingFile) -> None:
    """A trace's notes name the run, and the user where there was none."""
    other = "tr-" + "c" * 32
    db.run(run_id(1), user_id="ada")
    db.trace(TRACE, "x")
    db.trace(other, "y")
    notes = "trace_request_metadata"
    db.insert(notes, request_id=TRACE, key="mlflow.sourceRun", value=run_id(1))
    db.insert(notes, request_id=other, key="mlflow.user", value="bob")

    found = owners(db, traces={TRACE, other}).of

    assert found[TRACE] == Owner("0", run_id(1), "ada")
    assert found[other] == Owner("0", None, "bob")


def test_odd_values_say_nothing(db: TrackingFile) -> None:
    """Bytes where a name should be stop nothing, and text that is no UTF-8 comes through."""
    for number in (1, 2):
        db.run(run_id(number), user_id=b"\xff\xfe")
    db.tag(run_id(1), "mlflow.user", b"\x00")
    db.execute(
        "UPDATE runs SET user_id = CAST(? AS TEXT) WHERE run_uuid = ?", b"caf\xe9", run_id(2)
    )
    db.execute("UPDATE experiments SET name = ? WHERE experiment_id = 7", b"\xff")

    found = owners(db, runs={run_id(1), run_id(2)})

    assert found.of == {
        run_id(1): Owner("0", run_id(1), None),
        run_id(2): Owner("0", run_id(2), "caf\udce9"),
    }
    assert set(found.experiments) == {"0"}
