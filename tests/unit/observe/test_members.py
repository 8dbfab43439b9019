from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.verdict import Gone
from mlflow_cleanup.observe.members import Members
from mlflow_cleanup.observe.tracking import TrackingDatabase
from tests.kit.tracking_db import REVISIONS, TrackingFile, Value, run_id

RUN, OTHER = run_id(0xA), run_id(0xB)


@pytest.fixture
def db(tmp_path: Path) -> TrackingFile:
    """An empty database of the newest release, with a dead experiment 9 beside experiment 0."""
    made = TrackingFile.make(tmp_path / "mlflow.db")
    made.experiment("9", "mlflow-artifacts:/9", stage="deleted")
    return made


def read(db: TrackingFile, what: Callable[[Members], list[tuple[str, Gone | None]]]) -> object:
    """Ask in one transaction, as a full cycle does."""
    with TrackingDatabase(Database.of_file(str(db.path)))._read() as (connection, layout):
        return what(Members(connection, layout))


def models(db: TrackingFile) -> object:
    """Read every logged model, and how it left."""
    return read(db, lambda members: [(row.model_id, gone) for row, gone in members.models()])


def traces(db: TrackingFile) -> object:
    """Read every trace, and how it left."""
    return read(db, lambda members: [(row.request_id, gone) for row, gone in members.traces()])


def model(
    db: TrackingFile, *, source: Value = None, experiment: int = 0, stage: Value = "active"
) -> None:
    """Add the logged model m-1."""
    db.logged_model("m-1", "mlflow-artifacts:/0/models/m-1/artifacts")
    db.execute(
        "UPDATE logged_models SET source_run_id = ?, experiment_id = ?, lifecycle_stage = ?",
        source,
        experiment,
        stage,
    )


def use(db: TrackingFile, by: str, kind: str = "MODEL_INPUT") -> None:
    """Let a run have the model m-1 as its input."""
    db.insert(
        "inputs",
        input_uuid=f"{by} {kind}",
        source_type="RUN_INPUT",
        source_id=by,
        destination_type=kind,
        destination_id="m-1",
    )


@pytest.mark.parametrize(
    ("stage", "experiment", "run_stage", "gone"),
    [
        ("active", 0, "active", None),
        ("active", 0, "deleted", Gone.RUN_DELETED),
        ("active", 0, "missing", Gone.RUN_DELETED),
        ("active", 0, None, None),
        ("active", 9, "active", None),  # an active run inside a deleted experiment
        ("active", 9, "deleted", Gone.EXPERIMENT_DELETED),
        ("active", 9, "missing", Gone.EXPERIMENT_DELETED),
        ("active", 9, None, Gone.EXPERIMENT_DELETED),
        ("active", 77, "active", None),  # the experiment's row is gone: nobody deleted the model
        ("active", 77, None, None),
        ("active", 0, "odd", None),  # whatever is not called deleted is live
        ("active", 9, "odd", None),
        ("deleted", 0, "active", Gone.MODEL_DELETED),
        ("deleted", 0, "deleted", Gone.MODEL_DELETED),
        ("deleted", 9, None, Gone.MODEL_DELETED),
        ("odd", 0, "active", None),
        ("odd", 0, "deleted", Gone.RUN_DELETED),
    ],
)
def test_how_a_model_left(
    db: TrackingFile, stage: Value, experiment: int, run_stage: Value, gone: Gone | None
) -> None:
    """By its own deletion, with its experiment, or in the weaker sense with its run."""
    if run_stage not in (None, "missing"):
        db.run(RUN, stage=run_stage)
    model(db, source=None if run_stage is None else RUN, experiment=experiment, stage=stage)

    assert models(db) == [("m-1", gone)]


@pytest.mark.parametrize(
    ("user_stage", "kind", "is_live"),
    [
        ("active", "MODEL_INPUT", True),
        ("odd", "MODEL_INPUT", True),
        ("deleted", "MODEL_INPUT", False),
        ("active", "MODEL_OUTPUT", False),
        ("missing", "MODEL_INPUT", False),
    ],
)
@pytest.mark.parametrize("experiment", [0, 9])
def test_model_that_a_live_run_uses_is_live(
    db: TrackingFile, user_stage: str, kind: str, experiment: int, *, is_live: bool
) -> None:
    """As its input; that the run made it is no use, and a deleted run uses nothing."""
    db.run(RUN, stage="deleted")
    if user_stage != "missing":
        db.run(OTHER, stage=user_stage)
    model(db, source=RUN, experiment=experiment)
    use(db, OTHER, kind)

    gone = Gone.EXPERIMENT_DELETED if experiment == 9 else Gone.RUN_DELETED
    assert models(db) == [("m-1", None if is_live else gone)]


def test_use_of_a_deleted_model_does_not_bring_it_back(db: TrackingFile) -> None:
    """Somebody deleted the model itself: only a registered version would keep it."""
    db.run(OTHER)
    model(db, stage="deleted")
    use(db, OTHER)

    assert models(db) == [("m-1", Gone.MODEL_DELETED)]


def trace(db: TrackingFile, *, experiment: int = 0, source: Value = None) -> None:
    """Add the trace tr-1."""
    db.trace("tr-1", "mlflow-artifacts:/0/traces/tr-1/artifacts")
    db.execute("UPDATE trace_info SET experiment_id = ?", experiment)
    if source is not None:
        db.insert("trace_request_metadata", request_id="tr-1", key="mlflow.sourceRun", value=source)


@pytest.mark.parametrize(
    ("experiment", "run_stage", "gone"),
    [
        (0, None, None),
        (0, "active", None),
        (0, "deleted", None),  # traces of a deleted run can still be seen in MLflow
        (0, "missing", None),
        (9, None, Gone.EXPERIMENT_DELETED),
        (9, "active", None),
        (9, "odd", None),
        (9, "deleted", Gone.EXPERIMENT_DELETED),
        (9, "missing", Gone.EXPERIMENT_DELETED),
        (77, None, None),
    ],
)
def test_how_a_trace_left(
    db: TrackingFile, experiment: int, run_stage: str | None, gone: Gone | None
) -> None:
    """With its experiment, unless its run is active: any other way its row is gone."""
    if run_stage not in (None, "missing"):
        db.run(RUN, stage=run_stage)
    trace(db, experiment=experiment, source=None if run_stage is None else RUN)

    assert traces(db) == [("tr-1", gone)]


def test_trace_is_read_with_each_of_its_places(db: TrackingFile) -> None:
    """Where its artifacts are, where they were archived, or neither; other tags are no places."""
    trace(db)
    for key, value in (("mlflow.trace.archiveLocation", "archive"), ("note", "nowhere")):
        db.insert("trace_tags", request_id="tr-1", key=key, value=value)
    db.insert("trace_info", request_id="tr-2", experiment_id=0, timestamp_ms=1, status="OK")

    def read_places(members: Members) -> list[tuple[str, Gone | None]]:
        return [(row.request_id, row.place) for row, _ in members.traces()]

    assert sorted(read(db, read_places), key=str) == [  # type: ignore[call-overload]
        ("tr-1", "archive"),
        ("tr-1", "mlflow-artifacts:/0/traces/tr-1/artifacts"),
        ("tr-2", None),
    ]


def test_models_are_read_once_in_a_transaction(db: TrackingFile) -> None:
    """They are asked for twice, for what they claim and for what left."""
    model(db)

    def twice(members: Members) -> list[tuple[str, Gone | None]]:
        assert members.models() is members.models()
        return []

    read(db, twice)


@pytest.mark.parametrize("version", REVISIONS)
def test_every_release_is_read_as_far_as_it_has_tables(tmp_path: Path, version: str) -> None:
    """Before models, traces or inputs there are none, and that is no error."""
    db = TrackingFile.make(tmp_path / "mlflow.db", version)
    has_models, has_traces = bool(db.columns("logged_models")), bool(db.columns("trace_info"))
    if has_models:
        model(db)
    if has_traces:
        trace(db)

    assert models(db) == ([("m-1", None)] if has_models else [])
    assert traces(db) == ([("tr-1", None)] if has_traces else [])


def test_trace_without_a_table_of_tags_is_read_without_a_place(tmp_path: Path) -> None:
    """What is missing is not guessed; that claims may be missed is told elsewhere."""
    db = TrackingFile.make(tmp_path / "mlflow.db")
    trace(db)
    db.execute("ALTER TABLE trace_tags RENAME TO away")

    def read_places(members: Members) -> list[tuple[str, Gone | None]]:
        return [(row.request_id, row.place) for row, _ in members.traces()]

    assert read(db, read_places) == [("tr-1", None)]
