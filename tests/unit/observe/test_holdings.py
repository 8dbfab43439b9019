from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.entity import Entity, EntityKind, run
from mlflow_cleanup.model.holding import Holding, Holdings
from mlflow_cleanup.model.verdict import Gone
from mlflow_cleanup.observe.tracking import TrackingDatabase
from tests.kit.tracking_db import REVISIONS, TrackingFile, Value, run_id

RUN, OTHER = run_id(0xA), run_id(0xB)
MODEL = Entity(EntityKind.LOGGED_MODEL, "m-1")
TRACE = Entity(EntityKind.TRACE, "tr-1")


@pytest.fixture
def db(tmp_path: Path) -> TrackingFile:
    """An empty database of the newest release, with a dead experiment 9 beside experiment 0."""
    made = TrackingFile.make(tmp_path / "mlflow.db")
    made.experiment("9", "mlflow-artifacts:/9", stage="deleted")
    return made


def holdings(db: TrackingFile) -> Holdings:
    """Read what left, in one transaction."""
    tracking = TrackingDatabase(Database.of_file(str(db.path)))
    with tracking._read() as (connection, layout):
        return tracking._holdings(connection, layout)


def departed(db: TrackingFile) -> dict[Entity, Holding]:
    """Read what left, by entity."""
    return {holding.entity: holding for holding in holdings(db).departed}


def at(milliseconds: int) -> datetime:
    """Give a time as MLflow stores it."""
    return datetime.fromtimestamp(milliseconds / 1_000, timezone.utc)


def test_nothing_left_is_nothing(db: TrackingFile) -> None:
    """What is live, or deleted without bytes of its own, holds nothing."""
    db.run(RUN)
    db.run(OTHER, stage="odd")
    db.logged_model("m-1", "place")
    db.trace("tr-1", "place")
    db.version("net", 1, "place", storage_location="place")
    db.version("net", 2, "place", current_stage="Deleted_Internal", storage_location=None)
    db.version("net", 3, "place", current_stage="Deleted_Internal", storage_location="")
    db.version("net", 4, "place", current_stage="Archived", storage_location="place")

    assert holdings(db).departed == ()


def test_deleted_run_is_told_with_all_that_is_known_of_it(db: TrackingFile) -> None:
    """Its place, its name, its experiment, when it was deleted."""
    db.run(RUN, "telling place", stage="deleted", deleted_time=1_700_000_000_000)

    assert departed(db) == {
        run(RUN): Holding(
            run(RUN),
            "telling place",
            Gone.DELETED,
            name="telling name",
            experiment_id="0",
            deleted_at=at(1_700_000_000_000),
        )
    }


@pytest.mark.parametrize(
    ("deleted_ms", "deleted_at"),
    [
        (None, None),
        (0, at(0)),
        (10**30, None),
        (-(10**15), None),
        ("soon", None),
        (1_500, at(1_500)),
    ],
)
def test_time_that_is_none_says_nothing(
    db: TrackingFile, deleted_ms: Value, deleted_at: datetime | None
) -> None:
    """Deleted before MLflow 1.28, or by a script: the run left all the same."""
    db.run(RUN, stage="deleted")
    if deleted_ms == 10**30:
        db.execute("UPDATE runs SET deleted_time = 1e30")
    else:
        db.execute("UPDATE runs SET deleted_time = ?", deleted_ms)

    assert departed(db)[run(RUN)].deleted_at == deleted_at


def test_each_way_in_which_a_model_left_is_told(db: TrackingFile) -> None:
    """When the model itself was deleted is known; of its run or experiment it is not told."""
    db.run(RUN, stage="deleted")
    for name in ("m-1", "m-2", "m-3"):
        db.logged_model(name, f"place of {name}", stage="deleted" if name == "m-1" else "active")
    db.execute("UPDATE logged_models SET last_updated_timestamp_ms = 1500")
    db.execute("UPDATE logged_models SET source_run_id = ? WHERE model_id = 'm-2'", RUN)
    db.execute("UPDATE logged_models SET experiment_id = 9 WHERE model_id = 'm-3'")

    found = departed(db)

    assert found[MODEL] == Holding(
        MODEL, "place of m-1", Gone.MODEL_DELETED, "telling model", "0", at(1_500)
    )
    others = {entity.id: (one.gone, one.deleted_at, one.text) for entity, one in found.items()}
    assert others["m-2"] == (Gone.RUN_DELETED, None, "place of m-2")
    assert others["m-3"] == (Gone.EXPERIMENT_DELETED, None, "place of m-3")


def test_deleted_version_holds_its_storage_location(db: TrackingFile) -> None:
    """MLflow redacts its source, and leaves the other column as it was."""
    db.version(
        "net",
        3,
        "REDACTED-SOURCE-PATH",
        current_stage="Deleted_Internal",
        storage_location="telling place",
    )

    version = Entity(EntityKind.MODEL_VERSION, "net version 3")
    assert departed(db) == {version: Holding(version, "telling place", Gone.VERSION_DELETED)}


def test_trace_of_a_deleted_experiment_holds_its_places(db: TrackingFile) -> None:
    """Each of them; one without a place holds nothing."""
    db.trace("tr-1", "telling place")
    db.insert("trace_tags", request_id="tr-1", key="mlflow.trace.archiveLocation", value="archive")
    db.insert("trace_info", request_id="tr-2", experiment_id=9, timestamp_ms=1, status="OK")
    db.execute("UPDATE trace_info SET experiment_id = 9")

    found = holdings(db).departed

    assert {(one.entity, one.text, one.gone, one.experiment_id) for one in found} == {
        (TRACE, "telling place", Gone.EXPERIMENT_DELETED, "9"),
        (TRACE, "archive", Gone.EXPERIMENT_DELETED, "9"),
    }


def test_every_experiment_tells_where_it_lies(db: TrackingFile) -> None:
    """Dead ones too: what lies there is recognised. One without a place has none."""
    db.experiment("1", "s3://bucket/1")
    db.experiment("2", None, stage="deleted")
    db.experiment("3", b"\xff\xfe")
    db.experiment("4", "")

    assert sorted(holdings(db).experiments) == [
        "mlflow-artifacts:/0",
        "mlflow-artifacts:/9",
        "s3://bucket/1",
    ]


@pytest.mark.parametrize("value", [b"\xff\x00", 7, None, "", "x" * 100_000, "new\nline \x1b"])
def test_place_is_any_clients_text(db: TrackingFile, value: Value) -> None:
    """What is no text is no place; whatever is text is passed on as it is."""
    db.run(RUN, stage="deleted")
    db.execute("UPDATE runs SET artifact_uri = ?", value)
    db.logged_model("m-1", "x", stage="deleted")
    if value is not None:
        db.execute("UPDATE logged_models SET artifact_location = ?", value)

    found = departed(db)

    expected = value if isinstance(value, str) else None
    assert found[run(RUN)].text == ("7" if value == 7 else expected)  # the column makes it text
    if value is not None:
        assert found[MODEL].text == ("7" if value == 7 else expected)


def test_ids_that_are_no_text_are_printable(db: TrackingFile) -> None:
    """They fit no place; nothing stumbles over them."""
    db.execute(
        "INSERT INTO runs (run_uuid, experiment_id, artifact_uri, lifecycle_stage) "
        "VALUES (x'FF00', 0, 'x', 'deleted'), (CAST(x'FFFE' AS TEXT), 0, 'y', 'deleted')"
    )

    assert all(entity.id.isprintable() for entity in departed(db))
    assert len(departed(db)) == 2


@pytest.mark.parametrize("version", REVISIONS)
def test_every_release_is_read_as_it_is(tmp_path: Path, version: str) -> None:
    """As far as its tables go, and with no column that could hide a place."""
    db = TrackingFile.make(tmp_path / "mlflow.db", version)
    db.run(RUN, stage="deleted")
    db.version("net", 1, "x", current_stage="Deleted_Internal", storage_location="place")
    if db.columns("logged_models"):
        db.logged_model("m-1", "place", stage="deleted")

    found = holdings(db)

    kinds = {one.entity.kind for one in found.departed}
    assert (EntityKind.MODEL_VERSION in kinds) is (
        "storage_location" in db.columns("model_versions")
    )
    assert (EntityKind.LOGGED_MODEL in kinds) is bool(db.columns("logged_models"))
    (deleted,) = (one for one in found.departed if one.entity == run(RUN))
    assert (deleted.deleted_at is not None) is ("deleted_time" in db.columns("runs"))
    assert found.experiments == ("mlflow-artifacts:/0",)
    assert found.unknown == ()


@pytest.mark.parametrize(
    "name",
    [
        "artifact_path",
        "artifact_root",
        "archive_uri",
        "archived_location",
        "storage_uri",
        "storage_path",
        "Archive_URI",
        "model_uri",
        "uri",
        "trace_archival_location",
        "old_artifact_location_2",
        "artifactlocation",
    ],
)
@pytest.mark.parametrize("place", ["runs", "made_later"])
def test_column_that_may_hold_places_is_noticed(db: TrackingFile, name: str, place: str) -> None:
    """A later MLflow may claim places there: in a known table as in a new one."""
    db.execute("CREATE TABLE made_later (id INTEGER)")
    db.execute(f'ALTER TABLE {place} ADD COLUMN "{name}" TEXT')

    assert holdings(db).unknown == (f"{place}.{name}",)


@pytest.mark.parametrize(
    "name", ["artifact_count", "location", "path", "uric_acid", "curie", "root"]
)
def test_column_of_another_name_is_not(db: TrackingFile, name: str) -> None:
    """Not everything makes a whole root report-only."""
    db.execute(f'ALTER TABLE runs ADD COLUMN "{name}" TEXT')

    assert holdings(db).unknown == ()


def test_known_column_in_another_table_is_an_unknown_one(db: TrackingFile) -> None:
    """What it means there is not known."""
    db.execute("ALTER TABLE metrics ADD COLUMN artifact_uri TEXT")
    db.execute("ALTER TABLE runs ADD COLUMN artifact_location TEXT")

    assert holdings(db).unknown == ("metrics.artifact_uri", "runs.artifact_location")
