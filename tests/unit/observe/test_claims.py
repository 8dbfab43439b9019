from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlflow_cleanup.model.claim import Claim
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.entity import Entity, EntityKind, run
from mlflow_cleanup.model.location import Whereabouts
from mlflow_cleanup.model.snapshot import Snapshot
from mlflow_cleanup.observe.claims import KEEP_TAG
from mlflow_cleanup.observe.places import Places, fold_for
from mlflow_cleanup.observe.tracking import TrackingDatabase
from tests.kit.tracking_db import NEWEST, REVISIONS, TrackingFile, Value, run_id

ID, OTHER = run_id(0xA), run_id(0xB)
NET = Entity(EntityKind.MODEL_VERSION, "net version 1")


@dataclass
class Claims:
    """A database, and what is claimed under its artifact root."""

    db: TrackingFile
    root: Path

    def snapshot(self, fold: Callable[[str], str] = str) -> Snapshot:
        """Read everything."""
        where = Whereabouts(str(self.root.parent), str(self.root))
        tracking = TrackingDatabase(Database.of_file(str(self.db.path)))
        return tracking.snapshot(lambda _: (), Places([str(self.root)], where), fold=fold)

    def at(self, inside: str, fold: Callable[[str], str] = str) -> Claim | None:
        """Return who claims a place under the root."""
        return self.snapshot(fold).claims.on_place(f"{self.root}/{inside}")

    def holder_at(self, inside: str) -> Entity | None:
        """Name who claims a place under the root."""
        claim = self.at(inside)
        return claim.holder if claim else None


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    """Make an empty database of the newest release, and an artifact root."""
    return make(tmp_path.resolve(), NEWEST)


def make(home: Path, version: str) -> Claims:
    """Make a database of a release, and an artifact root."""
    (home / "art").mkdir()
    return Claims(TrackingFile.make(home / "mlflow.db", version), home / "art")


def test_an_empty_database_claims_only_its_experiments(claims: Claims) -> None:
    """The directory of a live experiment is claimed, what lies in it is not."""
    assert claims.holder_at("0") == Entity(EntityKind.EXPERIMENT, "0")
    assert claims.at(f"0/{ID}/artifacts") is None


def test_a_deleted_experiment_claims_nothing_but_its_live_runs_do(claims: Claims) -> None:
    """A run restored on its own keeps its place though its experiment is deleted."""
    claims.db.experiment("1", "mlflow-artifacts:/1", stage="deleted")
    assert claims.at("1") is None

    claims.db.run(ID, f"mlflow-artifacts:/1/{ID}/artifacts", experiment_id=1)
    assert claims.holder_at("1") == run(ID)
    assert claims.holder_at(f"1/{ID}/artifacts") == run(ID)


def test_an_experiment_inside_a_runs_directory_claims_it(claims: Claims) -> None:
    """The artifact location of an experiment is a user's text, and may lie anywhere."""
    claims.db.experiment("1", f"mlflow-artifacts:/0/{ID}/artifacts/nested")

    assert claims.holder_at(f"0/{ID}/artifacts") == Entity(EntityKind.EXPERIMENT, "1")


@pytest.mark.parametrize(("stage", "is_live"), [("active", True), (None, True), ("deleted", False)])
def test_live_runs_and_models_claim_and_deleted_ones_do_not(
    claims: Claims, stage: Value, is_live: bool
) -> None:
    """Everything that is not called deleted claims its place."""
    claims.db.run(ID, stage=stage)
    claims.db.logged_model("m-1", "mlflow-artifacts:/0/models/m-1/artifacts", stage=stage)

    assert (claims.holder_at(f"0/{ID}/artifacts") == run(ID)) is is_live
    model = Entity(EntityKind.LOGGED_MODEL, "m-1")
    assert (claims.holder_at("0/models/m-1/artifacts") == model) is is_live


def test_two_entities_may_share_a_place(claims: Claims) -> None:
    """A place is claimed as long as one of those who have it is live."""
    claims.db.run(ID, f"mlflow-artifacts:/0/{ID}/artifacts", stage="deleted")
    claims.db.run(OTHER, f"file://{claims.root}/0/{ID}/artifacts")

    assert claims.holder_at(f"0/{ID}/artifacts") == run(OTHER)


def test_a_trace_claims_its_artifacts_until_its_rows_are_gone(claims: Claims) -> None:
    """A trace has no stage: it is there, or it is gone."""
    claims.db.trace("tr-1", "mlflow-artifacts:/0/traces/tr-1/artifacts")
    assert claims.holder_at("0/traces/tr-1") == Entity(EntityKind.TRACE, "tr-1")

    claims.db.execute("DELETE FROM trace_tags")
    assert claims.at("0/traces/tr-1") is None


def test_an_archived_trace_claims_both_its_places(claims: Claims) -> None:
    """Where its artifacts were and where they were archived to, whichever of them is left."""
    claims.db.trace("tr-1", "mlflow-artifacts:/0/traces/tr-1/artifacts")
    claims.db.insert(
        "trace_tags",
        request_id="tr-1",
        key="mlflow.trace.archiveLocation",
        value="mlflow-artifacts:/archive/tr-1",
    )
    trace = Entity(EntityKind.TRACE, "tr-1")
    assert claims.holder_at("0/traces/tr-1/artifacts") == trace
    assert claims.holder_at("archive/tr-1/part") == trace

    claims.db.execute("DELETE FROM trace_tags WHERE key = 'mlflow.artifactLocation'")
    assert claims.holder_at("archive") == trace
    assert claims.at("0/traces/tr-1/artifacts") is None


def test_other_tags_of_a_trace_claim_nothing(claims: Claims) -> None:
    """Only the tag that says where a trace's artifacts are is a claim."""
    claims.db.trace("tr-1", "mlflow-artifacts:/0/traces/tr-1/artifacts")
    claims.db.insert(
        "trace_tags", request_id="tr-1", key="note", value="mlflow-artifacts:/0/elsewhere"
    )

    assert claims.at("0/elsewhere") is None


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("mlflow-artifacts:/0/net", "0/net"),
        ("mlflow-artifacts://host:5000/0/net", "0/net"),
        ("http://host/api/2.0/mlflow-artifacts/artifacts/0/net", "0/net"),
        ("mlflow-artifacts:/0/n%20t", "0/n t"),
        (f"runs:/{ID}/net", f"0/{ID}/artifacts/net"),
        (f"runs:/{ID}", f"0/{ID}/artifacts"),
        (f"runs:/{ID}/a/b/c", f"0/{ID}/artifacts/a/b/c"),
        ("models:/m-1", "0/models/m-1/artifacts"),
        ("models:/m-1/", "0/models/m-1/artifacts"),
        ("models:/base/3", "0/base"),
        ("models:/of/slashes/3", "0/slashes"),
    ],
)
@pytest.mark.parametrize("stage", ["active", "deleted"])
def test_a_version_claims_what_its_source_leads_to(
    claims: Claims, source: str, place: str, stage: str
) -> None:
    """A version's source is followed to the bytes, though the run or model behind it is deleted."""
    claims.db.run(ID, stage=stage)
    claims.db.logged_model("m-1", "mlflow-artifacts:/0/models/m-1/artifacts", stage=stage)
    claims.db.version("base", 3, "mlflow-artifacts:/0/base", current_stage="Deleted_Internal")
    claims.db.version("of/slashes", 3, "mlflow-artifacts:/0/slashes")
    claims.db.version("net", 1, source)

    found = claims.snapshot().claims.on_place(f"{claims.root}/{place}")

    assert found is not None
    if stage == "deleted" and "slashes" not in source:
        assert found.holder == NET


def test_a_version_claims_its_storage_location_too(claims: Claims) -> None:
    """Where the registry keeps a copy of its own, both places are claimed."""
    claims.db.version(
        "net", 1, "mlflow-artifacts:/0/source", storage_location="mlflow-artifacts:/0/stored"
    )

    assert claims.holder_at("0/source") == NET
    assert claims.holder_at("0/stored") == NET


@pytest.mark.parametrize("version", ["1.27", "2.0"])
def test_a_version_without_a_storage_location_claims_its_source(
    tmp_path: Path, version: str
) -> None:
    """Before 2.10 there is only the source."""
    claims = make(tmp_path.resolve(), version)
    claims.db.version("net", 1, "mlflow-artifacts:/0/source")

    assert claims.holder_at("0/source") == NET


def test_a_deleted_version_claims_nothing(claims: Claims) -> None:
    """MLflow keeps the row of a deleted version for ever, and says so in its stage."""
    claims.db.version(
        "net",
        1,
        "mlflow-artifacts:/0/source",
        storage_location="mlflow-artifacts:/0/stored",
        current_stage="Deleted_Internal",
    )

    assert claims.at("0/source") is None
    assert claims.at("0/stored") is None


@pytest.mark.parametrize("stage", [None, "Production", "Archived", b"\xff"])
def test_every_other_stage_of_a_version_is_live(claims: Claims, stage: Value) -> None:
    """Archived versions, and those of no stage, can still be loaded."""
    claims.db.version("net", 1, "mlflow-artifacts:/0/net", current_stage=stage)

    assert claims.holder_at("0/net") == NET


def test_a_copied_version_is_followed_through_copies_of_copies(claims: Claims) -> None:
    """A chain of copies leads to the first one's bytes, though all before it were deleted."""
    claims.db.version("a", 1, "mlflow-artifacts:/0/first", current_stage="Deleted_Internal")
    claims.db.version("b", 1, "models:/a/1", current_stage="Deleted_Internal")
    claims.db.version("c", 1, "models:/b/1", current_stage="Deleted_Internal")
    claims.db.version("net", 1, "models:/c/1")

    assert claims.holder_at("0/first") == NET


def test_versions_that_are_copies_of_each_other_end_somewhere(claims: Claims) -> None:
    """A circle of sources is followed for a while, not for ever."""
    claims.db.version("a", 1, "models:/b/1")
    claims.db.version("b", 1, "models:/a/1", storage_location="mlflow-artifacts:/0/b")

    assert claims.at("0/b") is not None


@pytest.mark.parametrize("source", ["models:/", "models:/none/9", "models:/m-none", "runs:/", "x"])
def test_a_source_that_leads_nowhere_hides_no_other_claim(claims: Claims, source: str) -> None:
    """A version whose source is broken claims nothing, and the next one is read."""
    claims.db.version("broken", 1, source)
    claims.db.version("net", 1, "mlflow-artifacts:/0/net")

    assert claims.holder_at("0/net") == NET
    assert claims.snapshot().problems == ()


def test_versions_of_two_workspaces_do_not_hide_each_other(claims: Claims) -> None:
    """Since 3.10 two workspaces may have a model of one name: both sources are claimed."""
    claims.db.version("a", 1, "mlflow-artifacts:/0/one", current_stage="Deleted_Internal")
    claims.db.version(
        "a",
        1,
        "mlflow-artifacts:/0/two",
        current_stage="Deleted_Internal",
        workspace="team",
    )
    claims.db.version("net", 1, "models:/a/1")
    claims.db.version("net", 1, "models:/a/1", workspace="team")

    assert claims.holder_at("0/one") == NET
    assert claims.holder_at("0/two") == NET


def test_a_source_in_an_object_store_claims_the_run_that_it_names(claims: Claims) -> None:
    """Where the bytes cannot be placed, the run id in the text protects the run."""
    claims.db.version("net", 1, f"s3://bucket/0/{ID}/artifacts/net")

    claim = claims.snapshot().claims.on_id(ID)
    assert claim is not None
    assert claim.holder == NET


@pytest.mark.parametrize(
    ("value", "is_pinned"),
    [
        ("true", True),
        ("", True),
        ("no", True),
        ("0", True),
        (None, True),
        (b"\xff", True),
        ("false", False),
        ("False", False),
        ("FALSE", False),
    ],
)
def test_a_tag_pins_a_run_unless_it_says_false(
    claims: Claims, value: Value, is_pinned: bool
) -> None:
    """Any value of the tag keeps, as nobody sets it to have files removed."""
    claims.db.run(ID, stage="deleted")
    claims.db.tag(ID, KEEP_TAG, value)

    assert claims.snapshot().claims.pinned == (frozenset({run(ID)}) if is_pinned else frozenset())


def test_a_tag_on_an_experiment_pins_its_runs(claims: Claims) -> None:
    """The experiment and its runs are pinned, those of others are not."""
    claims.db.experiment("1", "mlflow-artifacts:/1", stage="deleted")
    claims.db.run(ID, experiment_id=1, stage="deleted")
    claims.db.run(OTHER)
    claims.db.tag_experiment(1, KEEP_TAG, "yes")

    experiment = Entity(EntityKind.EXPERIMENT, "1")
    assert claims.snapshot().claims.pinned == {run(ID), experiment}

    claims.db.execute("UPDATE experiment_tags SET value = 'false'")
    assert claims.snapshot().claims.pinned == frozenset()


def test_the_place_of_what_is_pinned_is_claimed(claims: Claims) -> None:
    """A deleted run or experiment that is pinned keeps all that lies at its place."""
    claims.db.experiment("1", "mlflow-artifacts:/elsewhere", stage="deleted")
    claims.db.run(ID, "mlflow-artifacts:/theirs/deep", stage="deleted")
    assert claims.at("theirs") is None
    assert claims.at("elsewhere/model") is None

    claims.db.tag(ID, KEEP_TAG, "yes")
    claims.db.tag_experiment(1, KEEP_TAG, "yes")

    assert claims.holder_at("theirs") == run(ID)
    assert claims.holder_at("theirs/deep/model") == run(ID)
    assert claims.holder_at("elsewhere/model") == Entity(EntityKind.EXPERIMENT, "1")


def test_a_pinned_run_keeps_its_models(claims: Claims) -> None:
    """What a pinned run logged is pinned with it, deleted or not; another run's is not."""
    for model, source in (("m-1", ID), ("m-2", OTHER)):
        claims.db.logged_model(model, "s3://bucket", stage="deleted")
        claims.db.execute(
            "UPDATE logged_models SET source_run_id = ? WHERE model_id = ?", source, model
        )
    claims.db.run(ID, stage="deleted")
    claims.db.tag(ID, KEEP_TAG, "yes")

    assert claims.snapshot().claims.pinned == {run(ID), Entity(EntityKind.LOGGED_MODEL, "m-1")}


def test_other_tags_pin_nothing(claims: Claims) -> None:
    """Tags of any other key are not ours."""
    claims.db.run(ID, stage="deleted")
    claims.db.tag(ID, "keep", "true")
    claims.db.tag(ID, KEEP_TAG.upper(), "true")

    assert claims.snapshot().claims.pinned == frozenset()


def test_claims_are_folded_as_the_system_does(claims: Claims) -> None:
    """On macOS and Windows another spelling of a claimed place is claimed too."""
    claims.db.logged_model("m-1", "mlflow-artifacts:/0/Models/É")

    assert claims.at("0/models/e\u0301", fold_for("Darwin")) is not None
    assert claims.at("0/models/é", fold_for("Windows")) is not None
    assert claims.at("0/models/é", fold_for("Linux")) is None


NEEDED = {
    "runs": ("run_uuid", "artifact_uri", "lifecycle_stage"),
    "experiments": ("experiment_id", "artifact_location", "lifecycle_stage"),
    "model_versions": ("name", "version", "source", "current_stage"),
    "logged_models": ("model_id", "artifact_location", "lifecycle_stage"),
    "trace_tags": ("request_id", "key", "value"),
    "tags": ("run_uuid", "key", "value"),
    "experiment_tags": ("experiment_id", "key", "value"),
}


@pytest.mark.parametrize(
    ("table", "column"),
    [(table, name) for table, names in NEEDED.items() if table != "runs" for name in names],
)
def test_a_claiming_table_that_lost_a_column_is_a_problem(
    claims: Claims, table: str, column: str
) -> None:
    """A schema in which claims cannot be read as usual says so: then nothing is garbage."""
    with claims.db.connection() as connection:
        connection.execute("PRAGMA legacy_alter_table = ON")
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO renamed")

    assert any(table in problem for problem in claims.snapshot().problems)


TABLES = {
    "1.27": ("experiments", "model_versions", "tags", "experiment_tags"),
    "2.10": ("datasets", "inputs"),
    "2.14": ("trace_info", "trace_tags", "trace_request_metadata"),
    "3.0": ("logged_models",),
}
LATER = {"1.27": "2.10", "2.10": "2.14", "2.14": "3.0", "3.0": NEWEST}


@pytest.mark.parametrize(
    ("version", "table"),
    [
        (later, table)
        for version, tables in TABLES.items()
        for table in tables
        for later in (version, LATER[version], NEWEST)
    ],
)
def test_a_claiming_table_that_the_revision_has_is_missed(
    tmp_path: Path, version: str, table: str
) -> None:
    """A table of claims that is gone, as in the middle of a migration, is no absence of claims."""
    claims = make(tmp_path.resolve(), version)
    with claims.db.connection() as connection:
        connection.execute("PRAGMA legacy_alter_table = ON")
        connection.execute(f"ALTER TABLE {table} RENAME TO _alembic_tmp_{table}")

    assert claims.snapshot().problems == (f"table {table} is missing",)


def test_column_that_is_not_shown_is_no_column_that_claims_nothing(claims: Claims) -> None:
    """MySQL hides those that may not be read; this revision has them."""
    claims.db.execute("ALTER TABLE model_versions DROP COLUMN storage_location")

    problem = "column model_versions.storage_location is missing"
    assert claims.snapshot().problems == (problem,)


@pytest.mark.parametrize("version", REVISIONS)
def test_releases_as_they_are_have_no_problems(tmp_path: Path, version: str) -> None:
    """Tables that a release did not have yet are not missed."""
    assert make(tmp_path.resolve(), version).snapshot().problems == ()
