from __future__ import annotations

import re
from pathlib import Path

import pytest

from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.snapshot import NO_REVISION, Schema
from mlflow_cleanup.observe.schema import _REVISIONS, KNOWN_REVISIONS
from mlflow_cleanup.observe.tracking import TrackingDatabase
from tests.kit.make_schemas import migrations
from tests.kit.tracking_db import REVISIONS, SCHEMAS, TrackingFile

VERSIONS = pytest.mark.parametrize("version", REVISIONS)
REVISION = re.compile(r'^revision = "(\w+)"', re.MULTILINE)
BEFORE = re.compile(r'^down_revision = (?:"(\w+)"|None)', re.MULTILINE)
CLAIMING = {"runs", "tags", "experiments", "experiment_tags", "model_versions"}
TRACES = ("trace_info", "trace_tags", "trace_request_metadata")
MODELS = ("logged_models", "logged_model_tags", "logged_model_metrics")
SINCE = {
    "1.27": CLAIMING,
    "2.10": CLAIMING | {"datasets", "inputs"},
    "2.14": CLAIMING | {"datasets", "inputs", *TRACES},
    "3.0": CLAIMING | {"datasets", "inputs", *TRACES, *MODELS},
    "3.5": CLAIMING | {"datasets", "inputs", *TRACES, *MODELS, "jobs"},
    "3.10": CLAIMING | {"datasets", "inputs", *TRACES, *MODELS, "jobs", "workspaces"},
}


def number(version: str) -> tuple[int, ...]:
    """Make versions comparable."""
    return tuple(map(int, version.split(".")))


@VERSIONS
def test_the_tables_of_every_release_are_found(tmp_path: Path, version: str) -> None:
    """A release's tables that matter here are seen with their columns, its revision is known."""
    db = TrackingFile.make(tmp_path / "mlflow.db", version)

    layout = TrackingDatabase(Database.of_file(str(db.path))).layout()

    expected = [tables for since, tables in SINCE.items() if number(since) <= number(version)][-1]
    assert layout.is_tracking_database
    assert layout.schema == Schema(REVISIONS[version], is_known=True)
    assert set(layout.columns) - {"alembic_version"} == expected
    assert all(set(db.columns(name)) == layout.columns[name] for name in expected)


def test_a_table_has_its_columns_and_no_others(tmp_path: Path) -> None:
    """Asking for a table and columns answers for all of them together."""
    db = TrackingFile.make(tmp_path / "mlflow.db", "1.27")
    layout = TrackingDatabase(Database.of_file(str(db.path))).layout()

    assert layout.has("runs")
    assert layout.has("runs", "run_uuid", "artifact_uri")
    assert not layout.has("runs", "run_uuid", "deleted_time")
    assert not layout.has("logged_models")


@pytest.mark.parametrize("revision", ["feedfacecafe", "", "dc11669786a5 ", "DC11669786A5"])
def test_a_revision_that_is_not_known_is_told(tmp_path: Path, revision: str) -> None:
    """A newer release's revision is not taken for one that is known."""
    db = TrackingFile.make(tmp_path / "mlflow.db")
    db.execute("UPDATE alembic_version SET version_num = ?", revision)

    assert TrackingDatabase(Database.of_file(str(db.path))).layout().schema == Schema(
        revision, is_known=False
    )


@pytest.mark.parametrize("change", ["DELETE FROM alembic_version", "DROP TABLE alembic_version"])
def test_a_database_without_a_revision_is_of_no_known_one(tmp_path: Path, change: str) -> None:
    """MLflow writes the revision last: until then nothing is known of what the tables mean."""
    db = TrackingFile.make(tmp_path / "mlflow.db")
    db.execute(change)

    assert TrackingDatabase(Database.of_file(str(db.path))).layout().schema == Schema(
        NO_REVISION, is_known=False
    )


def test_an_upgrade_is_noticed_though_its_last_step_changes_no_table(tmp_path: Path) -> None:
    """MLflow writes the revision after the tables; what was read in between is read anew."""
    db = TrackingFile.make(tmp_path / "mlflow.db", "2.22")
    tracking = TrackingDatabase(Database.of_file(str(db.path)))
    db.execute("CREATE TABLE news (id INTEGER)")
    assert tracking.layout().schema.revision == REVISIONS["2.22"]

    db.execute("UPDATE alembic_version SET version_num = 'feedfacecafe'")

    assert tracking.layout().schema == Schema("feedfacecafe", is_known=False)


def test_new_columns_are_noticed(tmp_path: Path) -> None:
    """A migration under a watched database is seen with the next read."""
    db = TrackingFile.make(tmp_path / "mlflow.db", "1.27")
    tracking = TrackingDatabase(Database.of_file(str(db.path)))
    assert not tracking.layout().has("runs", "deleted_time")

    db.execute("ALTER TABLE runs ADD COLUMN deleted_time BIGINT")

    assert tracking.layout().has("runs", "deleted_time")


def test_every_revision_of_the_installed_mlflow_is_known() -> None:
    """A new MLflow comes with an entry here; without one, nothing would be moved under it."""
    scripts = list((migrations() / "versions").glob("*.py"))
    found = {
        match.group(1)
        for script in scripts
        if (match := re.search(r'^revision = "(\w+)"', script.read_text("utf-8"), re.MULTILINE))
    }

    assert len(found) > 50
    assert found <= KNOWN_REVISIONS


def test_revisions_stand_in_the_order_in_which_they_follow_each_other() -> None:
    """Which tables a revision has is told by its place among them."""
    texts = [path.read_text("utf-8") for path in (migrations() / "versions").glob("*.py")]
    found = [(REVISION.search(text), BEFORE.search(text)) for text in texts]
    before = {own[1]: earlier[1] for own, earlier in found if own and earlier}
    steps = [(before[revision], revision) for revision in _REVISIONS if revision in before]

    assert len(before) > 50
    assert steps[0][0] is None
    assert [earlier for earlier, _ in steps[1:]] == [revision for _, revision in steps[:-1]]


def test_each_release_of_the_kit_is_a_known_revision() -> None:
    """The databases that tests are made of are of the revisions they are named after."""
    assert set(REVISIONS.values()) <= KNOWN_REVISIONS
    assert {path.stem for path in SCHEMAS.glob("*.sql")} == set(REVISIONS.values())
