from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_cleanup.errors import TrackingUnreadable
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.entity import Entity, EntityKind, run
from mlflow_cleanup.model.location import Whereabouts
from mlflow_cleanup.model.snapshot import BackendIdentity, Heads, RunRow, Schema
from mlflow_cleanup.observe.places import Places
from mlflow_cleanup.observe.tracking import TrackingDatabase
from tests.kit.other_process import OtherProcess
from tests.kit.tracking_db import NEWEST, REVISIONS, TrackingFile, Value, run_id

VERSIONS = pytest.mark.parametrize("version", REVISIONS)

ACTIVE, DELETED, ABSENT = run_id(1), run_id(2), run_id(3)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Make places under one artifact root, which is the artifacts destination too."""
    root = tmp_path.resolve() / "art"
    root.mkdir()
    return Places([str(root)], Whereabouts(str(tmp_path.resolve()), str(root)))


def make(tmp_path: Path, version: str = NEWEST) -> tuple[TrackingFile, TrackingDatabase]:
    """Make a database with one active and one deleted run, and its reader."""
    db = TrackingFile.make(tmp_path / "mlflow.db", version)
    db.run(ACTIVE)
    db.run(DELETED, stage="deleted", status="KILLED")
    return db, TrackingDatabase(Database.of_file(str(db.path)))


@VERSIONS
def test_the_heads_of_every_release_are_read(tmp_path: Path, version: str) -> None:
    """Which runs are active and which are deleted is read from every schema alike."""
    _, tracking = make(tmp_path, version)

    assert tracking.heads() == Heads(frozenset({ACTIVE}), frozenset({DELETED}))


@VERSIONS
def test_the_rows_of_every_release_are_read(tmp_path: Path, version: str) -> None:
    """A row says what its release knows; the time of deletion is there since 1.28."""
    _, tracking = make(tmp_path, version)

    assert tracking.rows([ACTIVE, DELETED, ABSENT]) == {
        ACTIVE: RunRow(
            run_id=ACTIVE,
            experiment_id="0",
            artifact_uri=f"mlflow-artifacts:/0/{ACTIVE}/artifacts",
            lifecycle_stage="active",
            status="FINISHED",
            name="telling name",
        ),
        DELETED: RunRow(
            run_id=DELETED,
            experiment_id="0",
            artifact_uri=f"mlflow-artifacts:/0/{DELETED}/artifacts",
            lifecycle_stage="deleted",
            status="KILLED",
            name="telling name",
            deleted_ms=None if version == "1.27" else 2_000,
        ),
    }


@VERSIONS
def test_a_snapshot_of_every_release_holds_its_claims(
    tmp_path: Path, places: Places, version: str
) -> None:
    """Every kind of entity that a release has claims its place, all read in one transaction."""
    db, tracking = make(tmp_path, version)
    db.version("net", 1, "mlflow-artifacts:/versions/net")
    holders = {"0/claimed/x": run(ACTIVE), "versions/net": version_of("net", 1)}
    if db.columns("logged_models"):
        db.logged_model("m-1", "mlflow-artifacts:/0/models/m-1/artifacts")
        holders["0/models/m-1/artifacts"] = Entity(EntityKind.LOGGED_MODEL, "m-1")
    if db.columns("trace_tags"):
        db.trace("tr-1", "mlflow-artifacts:/0/traces/tr-1/artifacts")
        holders["0/traces/tr-1/artifacts"] = Entity(EntityKind.TRACE, "tr-1")
    db.execute(
        "UPDATE runs SET artifact_uri = 'mlflow-artifacts:/0/claimed/x' WHERE run_uuid = ?", ACTIVE
    )

    found = tracking.snapshot(lambda heads: heads.deleted, places)

    assert found.schema == Schema(REVISIONS[version], is_known=True)
    assert found.problems == ()
    assert found.heads == Heads(frozenset({ACTIVE}), frozenset({DELETED}))
    assert set(found.departed) == {DELETED}
    has_times = "creation_time" in db.columns("experiments")
    assert dict(found.identity.anchors) == {"0": 1_000 if has_times else None}
    for path, holder in holders.items():
        claim = found.claims.on_place(f"{tmp_path.resolve()}/art/{path}")
        assert claim is not None, path
        assert claim.holder == holder
    assert found.claims.on_place(f"{tmp_path.resolve()}/art/0/other") is None


def version_of(name: str, number: int) -> Entity:
    """Name a model version as claims do."""
    return Entity(EntityKind.MODEL_VERSION, f"{name} version {number}")


@pytest.mark.parametrize(
    ("stage", "is_active"),
    [("active", True), (None, True), ("archived", True), ("", True), ("DELETED", True)],
)
def test_whatever_is_not_called_deleted_is_active(
    tmp_path: Path, stage: Value, is_active: bool
) -> None:
    """A stage that no release had yet, or none at all, protects like an active one."""
    db, tracking = make(tmp_path)
    db.run(ABSENT, stage=stage)

    assert (ABSENT in tracking.heads().active) is is_active
    assert ABSENT not in tracking.heads().deleted
    assert not tracking.rows([ABSENT])[ABSENT].is_deleted


ODD: list[Value] = [
    None,
    b"\xff\xfe",
    b"\x00",
    b"plain bytes",
    "",
    "line\nbreak",
    "\x00",
    "é\u202e",
    7,
    -1,
    2**62,
]


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize(
    "column", ["artifact_uri", "status", "name", "deleted_time", "experiment_id"]
)
def test_a_row_with_anything_in_a_column_is_read(tmp_path: Path, column: str, value: Value) -> None:
    """What a client put into a column is no reason to miss the row, or any other."""
    db, tracking = make(tmp_path)
    db.run(ABSENT, **{column: value})

    rows = tracking.rows([ACTIVE, ABSENT])

    assert set(rows) == {ACTIVE, ABSENT}
    row = rows[ABSENT]
    assert row.artifact_uri is None or isinstance(row.artifact_uri, str)
    assert row.status is None or isinstance(row.status, str)
    assert row.name is None or isinstance(row.name, str)
    assert row.deleted_ms is None or isinstance(row.deleted_ms, int)
    assert isinstance(row.experiment_id, str)


def raw_text(db: TrackingFile, table: str, column: str, where: str, value: bytes) -> None:
    """Put bytes into a column that SQLite takes for text, as a client in another language may."""
    db.execute(f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE {where}", value)


def test_text_that_is_no_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    """A name or URI in another encoding is read so that its bytes can be written back."""
    db, tracking = make(tmp_path)
    raw_text(db, "runs", "name", f"run_uuid = '{ACTIVE}'", b"caf\xe9")
    raw_text(db, "runs", "artifact_uri", f"run_uuid = '{ACTIVE}'", b"/caf\xe9")

    row = tracking.rows([ACTIVE])[ACTIVE]

    assert (row.name, row.artifact_uri) == ("caf\udce9", "/caf\udce9")


@pytest.mark.parametrize("id_", [b"\xff\xfe", "new\nline", "é"])
def test_an_odd_run_id_is_printable_and_hides_no_other(tmp_path: Path, id_: str | bytes) -> None:
    """A run id of any bytes is counted under a name that can be printed."""
    db, tracking = make(tmp_path)
    if isinstance(id_, bytes):
        db.run(ABSENT)
        raw_text(db, "runs", "run_uuid", f"run_uuid = '{ABSENT}'", id_)
    else:
        db.run(id_)

    heads = tracking.heads()

    assert len(heads.active) == 2
    assert ACTIVE in heads.active
    for found in heads.active:
        found.encode("utf-8")
    assert ACTIVE in tracking.rows(heads.active)


CLAIMING = [
    ("runs", "artifact_uri"),
    ("runs", "lifecycle_stage"),
    ("experiments", "artifact_location"),
    ("experiments", "lifecycle_stage"),
    ("logged_models", "model_id"),
    ("logged_models", "artifact_location"),
    ("logged_models", "lifecycle_stage"),
    ("model_versions", "name"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("model_versions", "current_stage"),
    ("trace_tags", "request_id"),
    ("trace_tags", "value"),
    ("tags", "key"),
    ("tags", "value"),
    ("experiment_tags", "key"),
    ("experiment_tags", "value"),
    ("experiment_tags", "experiment_id"),
]


NO_UTF8 = [
    b"\xff",
    b"models:/\xff",
    b"models:/net\xff/1",
    b"runs:/\xff/x",
    b"file:///\xff",
    b"\x00",
]


@pytest.mark.parametrize(("table", "column"), CLAIMING)
def test_claims_are_read_whatever_bytes_a_column_holds(
    tmp_path: Path, places: Places, table: str, column: str
) -> None:
    """Text that is no UTF-8 in any claiming column neither stops the read nor hides a claim."""
    db, tracking = make(tmp_path)
    db.logged_model("m-1", "mlflow-artifacts:/0/models/m-1/artifacts")
    db.version("net", 1, "models:/m-1")
    db.trace("tr-1", "mlflow-artifacts:/0/traces/tr-1/artifacts")
    db.run(ABSENT, experiment_id=1)
    db.experiment("1", "mlflow-artifacts:/1")
    db.logged_model("m-odd", "mlflow-artifacts:/odd")
    db.version("odd", 1, "mlflow-artifacts:/odd")
    db.trace("tr-odd", "mlflow-artifacts:/odd")
    db.tag(ABSENT, "mlflow-cleanup.keep", "yes")
    db.tag_experiment(1, "mlflow-cleanup.keep", "yes")
    rows = {
        "runs": f"run_uuid = '{ABSENT}'",
        "experiments": "experiment_id = 1",
        "logged_models": "rowid = (SELECT max(rowid) FROM logged_models)",
        "model_versions": "rowid = (SELECT max(rowid) FROM model_versions)",
        "trace_tags": "rowid = (SELECT max(rowid) FROM trace_tags)",
    }

    for value in NO_UTF8:
        raw_text(db, table, column, rows.get(table, "1"), value)
        found = tracking.snapshot(lambda heads: heads.deleted, places)

        assert found.problems == (), value
        for path in ("models/m-1/artifacts", "traces/tr-1/artifacts", f"{ACTIVE}/artifacts"):
            place = f"{tmp_path.resolve()}/art/0/{path}"
            assert found.claims.on_place(place) is not None, value


def test_more_ids_than_a_query_takes_are_read_in_parts(tmp_path: Path) -> None:
    """Thousands of runs can be asked for at once."""
    db, tracking = make(tmp_path)
    ids = [run_id(number) for number in range(10, 1_511)]
    with db.connection() as connection:
        connection.executemany(
            "INSERT INTO runs (run_uuid, lifecycle_stage) VALUES (?, 'active')",
            [(id_,) for id_ in ids],
        )

    assert set(tracking.rows(ids)) == set(ids)
    assert tracking.rows([]) == {}


def test_a_snapshot_is_of_one_moment(tmp_path: Path, places: Places) -> None:
    """What is committed while a snapshot is read is not in it, in no part of it."""
    db, tracking = make(tmp_path)
    db.execute("PRAGMA journal_mode = WAL")
    with OtherProcess(db.path) as other:

        def wanted(heads: Heads) -> frozenset[str]:
            other.do(
                f"UPDATE runs SET lifecycle_stage = 'active' WHERE run_uuid = '{DELETED}'",
                "INSERT INTO experiments (experiment_id, name) VALUES (7, 'new')",
            )
            return heads.deleted

        during = tracking.snapshot(wanted, places)
        after = tracking.snapshot(lambda heads: heads.active, places)

    assert during.heads.deleted == {DELETED}
    assert during.departed[DELETED].is_deleted
    assert during.claims.on_id(DELETED) is None
    assert "7" not in during.identity.anchors
    assert after.heads.active == {ACTIVE, DELETED}
    assert after.claims.on_id(DELETED) is not None
    assert "7" in after.identity.anchors


def test_writers_need_not_wait_while_places_are_looked_up(
    tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where claims lead is found out on the disk, which may be slow: no lock is held by then."""
    db, tracking = make(tmp_path)
    written = []
    with OtherProcess(db.path) as other:
        real = Places.claimed

        def slow(self: Places, text: str) -> tuple[str, ...]:
            other.do(f"UPDATE runs SET name = 'written' WHERE run_uuid = '{ACTIVE}'")
            written.append(text)
            return real(self, text)

        monkeypatch.setattr(Places, "claimed", slow)
        found = tracking.snapshot(lambda _: (), places)

    assert written
    assert db.execute("SELECT name FROM runs WHERE run_uuid = ?", ACTIVE) == [("written",)]
    assert found.claims.on_id(ACTIVE) is not None


def test_claims_from_elsewhere_are_among_the_snapshots(tmp_path: Path, places: Places) -> None:
    """A model registry in a database of its own protects places too."""
    _, tracking = make(tmp_path)
    registry = TrackingFile.make(tmp_path / "registry.db")
    registry.version("net", 1, f"mlflow-artifacts:/0/{DELETED}/artifacts/net")
    registry.run(run_id(9), "mlflow-artifacts:/0/of-the-registry")

    more = TrackingDatabase(Database.of_file(str(registry.path))).version_claims()
    found = tracking.snapshot(lambda _: (), places, more=more)

    claim = found.claims.on_place(f"{tmp_path.resolve()}/art/0/{DELETED}/artifacts")
    assert claim is not None
    assert claim.holder == version_of("net", 1)
    assert found.claims.on_place(f"{tmp_path.resolve()}/art/0/of-the-registry") is None


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("models:/m-1", "0/models/m-1/artifacts"),
        (f"runs:/{DELETED}/net", f"0/{DELETED}/artifacts/net"),
    ],
)
def test_claims_from_elsewhere_are_followed_to_this_databases_places(
    tmp_path: Path, places: Places, source: str, place: str
) -> None:
    """A registry apart names runs and models that only the tracking database can place."""
    db, tracking = make(tmp_path)
    db.logged_model("m-1", "mlflow-artifacts:/0/models/m-1/artifacts", stage="deleted")
    registry = TrackingFile.make(tmp_path / "registry.db")
    registry.version("net", 1, source)

    more = TrackingDatabase(Database.of_file(str(registry.path))).version_claims()
    found = tracking.snapshot(lambda _: (), places, more=more)

    claim = found.claims.on_place(f"{tmp_path.resolve()}/art/{place}")
    assert claim is not None
    assert claim.holder == version_of("net", 1)


def test_a_registry_that_cannot_be_understood_is_unreadable(tmp_path: Path) -> None:
    """A registry whose claims would be missed is an error, not an empty list."""
    registry = TrackingFile.make(tmp_path / "registry.db")
    registry.execute("ALTER TABLE model_versions RENAME COLUMN source TO renamed")

    with pytest.raises(TrackingUnreadable, match=r"registry\.db.*model_versions"):
        TrackingDatabase(Database.of_file(str(registry.path))).version_claims()


def test_the_identity_is_that_of_the_oldest_experiments(tmp_path: Path) -> None:
    """The sixteen lowest ids tell one database from another; a counter says how far it is."""
    db, tracking = make(tmp_path)
    for number in range(1, 40):
        db.experiment(str(number), None, created_ms=number)

    identity = tracking.identity()

    assert dict(identity.anchors) == {"0": 1_000, **{str(n): n for n in range(1, 16)}}
    assert identity.change_count is not None
    db.experiment("40", None)
    assert identity.is_same_as(tracking.identity())
    assert (tracking.identity().change_count or 0) > identity.change_count


def test_a_time_that_is_no_number_tells_nothing(tmp_path: Path) -> None:
    """A creation time of another type is like none."""
    db, tracking = make(tmp_path)
    db.execute("UPDATE experiments SET creation_time = 'yesterday'")

    assert tracking.identity().anchors == {"0": None}
    assert tracking.identity().is_same_as(BackendIdentity({"0": 1}))


def test_a_database_that_was_replaced_is_read_with_its_own_schema(
    tmp_path: Path, places: Places
) -> None:
    """Another release's database under the same name is looked at anew."""
    db, tracking = make(tmp_path, "2.22")
    assert tracking.snapshot(lambda heads: heads.deleted, places).problems == ()
    newer = TrackingFile.make(tmp_path / "newer.db", "3.17")
    newer.logged_model("m-1", "mlflow-artifacts:/0/models/m-1/artifacts")

    newer.path.replace(db.path)
    found = tracking.snapshot(lambda heads: heads.deleted, places)

    assert found.schema.revision == REVISIONS["3.17"]
    assert found.claims.on_place(f"{tmp_path.resolve()}/art/0/models/m-1/artifacts") is not None


def test_an_error_in_the_middle_is_ours(tmp_path: Path, places: Places) -> None:
    """A database that breaks while it is read raises what says that nothing was touched."""
    db, tracking = make(tmp_path)
    tracking.heads()
    content = bytearray(db.path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    db.path.write_bytes(content)

    with pytest.raises(TrackingUnreadable, match="nothing was touched"):
        tracking.snapshot(lambda heads: heads.deleted, places)
