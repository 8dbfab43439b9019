"""What every kind of tracking database has to keep, made with the tables of MLflow's migrations."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from mlflow_cleanup.backends import attention
from mlflow_cleanup.errors import DatabaseNotReady, TrackingUnreadable
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.entity import Entity, EntityKind
from mlflow_cleanup.model.location import Whereabouts
from mlflow_cleanup.model.snapshot import Heads, Snapshot
from mlflow_cleanup.observe import deleted as paging
from mlflow_cleanup.observe.deleted import Position
from mlflow_cleanup.observe.places import Places
from mlflow_cleanup.observe.tracking import TrackingDatabase
from tests.kit.servers.mariadb import MariaDB
from tests.kit.servers.postgresql import PostgreSQL
from tests.kit.tracking_db import NEWEST, TrackingFile, run_id
from tests.kit.tracking_server import TrackingServer

Make = Callable[[str], TrackingFile]
VERSIONS = ("1.27", "2.22", NEWEST)
ROOT = "/root"


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Give a maker of databases of one kind, by MLflow's version."""
    if request.param == "sqlite":
        return lambda version: TrackingFile.make(tmp_path / "mlflow.db", version)
    server = request.getfixturevalue(request.param)
    return lambda version: TrackingServer.on(server, version)


@pytest.fixture
def db(make: Make) -> TrackingFile:
    """A database of today."""
    return make(NEWEST)


def tracking_of(db: TrackingFile) -> TrackingDatabase:
    """Open what reads a database."""
    database = db.database if isinstance(db, TrackingServer) else Database.of_file(str(db.path))
    return TrackingDatabase(database)


def snapshot_of(
    db: TrackingFile, wanted: Callable[[Heads], Collection[str]] = lambda _: ()
) -> Snapshot:
    """Read everything."""
    places = Places((ROOT,), Whereabouts("/work", ROOT, windows=False))
    return tracking_of(db).snapshot(wanted, places, with_holdings=True)


class TestReading:
    """Runs are what their rows say, letter by letter."""

    @pytest.mark.parametrize("version", VERSIONS)
    def test_runs_of_each_release_are_read(self, make: Make, version: str) -> None:
        """Whatever columns there are."""
        db = make(version)
        db.run(run_id(1))
        db.run(run_id(2), stage="deleted")

        found = snapshot_of(db, lambda heads: heads.deleted)

        assert found.heads == Heads(frozenset({run_id(1)}), frozenset({run_id(2)}))
        assert found.problems == ()
        assert found.schema.is_known
        assert str(found.departed[run_id(2)].artifact_uri).endswith(f"{run_id(2)}/artifacts")
        assert [holding.entity.id for holding in found.holdings.departed] == [run_id(2)]
        assert found.holdings.unknown == ()

    @pytest.mark.parametrize("stage", ["Deleted", "deleted ", "délétéd", "", None, "other"])
    def test_only_what_is_called_deleted_is(self, db: TrackingFile, stage: str | None) -> None:
        """A collation that takes two spellings for one makes nothing deleted."""
        db.run(run_id(1), stage=stage)

        found = snapshot_of(db)

        assert found.heads == Heads(frozenset({run_id(1)}), frozenset())
        assert found.holdings.departed == ()
        with tracking_of(db).deleted(None) as reader:
            assert reader.runs_after()[0] == []
            assert reader.runs_named([run_id(1)]) == []

    def test_a_path_that_differs_in_case_is_another_one(self, db: TrackingFile) -> None:
        """A live run claims the very place its row names, not the one that MLflow would give it."""
        db.execute("UPDATE experiments SET artifact_location = ?", f"{ROOT}/Data")
        db.run(run_id(1), f"{ROOT}/data/{run_id(1)}/artifacts")
        db.run(run_id(2), f"{ROOT}/Data/{run_id(2)}/artifacts ")

        claims = snapshot_of(db).claims

        assert claims.on_place(f"{ROOT}/data/{run_id(1)}/artifacts") is not None
        assert claims.on_place(f"{ROOT}/Data/{run_id(2)}/artifacts ") is not None

    @pytest.mark.parametrize("value", ["true", "", "false ", "FALSÉ", None])
    def test_a_pin_holds_unless_it_is_false(self, db: TrackingFile, value: str | None) -> None:
        """Only the word "false" lets go."""
        db.run(run_id(1))
        db.tag(run_id(1), "mlflow-cleanup.keep", value or "")
        db.run(run_id(2))
        db.tag(run_id(2), "mlflow-cleanup.keep", "False")

        pinned = snapshot_of(db).claims.pinned

        assert pinned == {Entity(EntityKind.RUN, run_id(1))}

    def test_ids_that_no_row_can_have_are_not_there(self, db: TrackingFile) -> None:
        """What another system's ledger may hold is asked for without an error."""
        db.run(run_id(1))
        strange = ["nul\x00", "\udcff", "x" * 5_000, "%", "'", run_id(1)]

        rows = tracking_of(db).rows(strange)

        assert rows.keys() == {run_id(1)}

    def test_a_table_of_a_later_release_is_told(self, db: TrackingFile) -> None:
        """A column that may name places and that is not known here is named."""
        db.execute("CREATE TABLE later (id INTEGER, artifact_uri VARCHAR(100))")

        assert snapshot_of(db).holdings.unknown == ("later.artifact_uri",)

    def test_without_mlflows_tables_it_is_not_ready(self, make: Make) -> None:
        """An empty database is one that MLflow is about to fill."""
        db = make(NEWEST)
        db.execute("ALTER TABLE runs RENAME TO walks")

        with pytest.raises(DatabaseNotReady):
            tracking_of(db).heads()


class TestOneMoment:
    """A read sees one moment, changes nothing and leaves nothing behind."""

    def test_what_is_committed_in_the_middle_is_not_seen(self, db: TrackingFile) -> None:
        """Heads, rows and claims are of one transaction."""
        if not isinstance(db, TrackingServer):
            pytest.skip("a writer waits for the reader of a file")
        db.run(run_id(1))

        def meanwhile(heads: Heads) -> Collection[str]:
            db.set_stage(run_id(1), "deleted")
            db.run(run_id(2), f"{ROOT}/elsewhere/{run_id(2)}/artifacts")
            return heads.active

        found = snapshot_of(db, meanwhile)

        assert found.heads.active == {run_id(1)}
        assert found.departed[run_id(1)].lifecycle_stage == "active"
        assert found.claims.on_place(f"{ROOT}/elsewhere/{run_id(2)}/artifacts") is None
        assert tracking_of(db).heads() == Heads(frozenset({run_id(2)}), frozenset({run_id(1)}))

    def test_nothing_can_be_written(self, db: TrackingFile) -> None:
        """The database itself refuses what a mistake of ours would write."""
        db.run(run_id(1))

        with pytest.raises((TrackingUnreadable, DBAPIError)):  # noqa: SIM117 - one error, two ways
            with tracking_of(db)._read() as (connection, _):
                connection.exec_driver_sql("DELETE FROM runs")

        assert tracking_of(db).heads().active == {run_id(1)}

    def test_no_connection_is_left(self, db: TrackingFile) -> None:
        """What was opened for a read is closed after it."""
        if not isinstance(db, TrackingServer):
            pytest.skip("files are looked at elsewhere")
        tracking = tracking_of(db)
        tracking.heads()
        with pytest.raises(ZeroDivisionError), tracking._read():
            raise ZeroDivisionError

        assert connections_to(db) == []


class TestChanges:
    """The probe tells every commit once, and costs no reading."""

    @pytest.fixture(autouse=True)
    def nothing_is_put_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What may be of others is looked at at once, as on a server where little happens."""
        monkeypatch.setattr(attention, "DOUBT_S", 0.0)

    def test_a_commit_is_a_change(self, db: TrackingFile) -> None:
        """The first look is one, then silence, then each commit."""
        probe = tracking_of(db).probe()
        assert probe.changed()
        settled(probe.changed)

        db.run(run_id(1))

        assert probe.changed()
        settled(probe.changed)
        assert not probe.changed()
        probe.close()

    def test_a_commit_that_began_before_another_is_one_too(self, db: TrackingFile) -> None:
        """A transaction that was overtaken is not missed when it ends."""
        if not isinstance(db, TrackingServer):
            pytest.skip("writers of a file come one after another")
        probe = tracking_of(db).probe()
        with db.connection() as slow:
            slow.execute("DELETE FROM tags")
            slow.execute("UPDATE experiments SET name = 'slow'")
            db.run(run_id(1))
            assert probe.changed()
            settled(probe.changed)
        assert probe.changed()
        probe.close()

    def test_what_is_read_between_two_equal_versions_still_holds(self, db: TrackingFile) -> None:
        """A version differs after every commit; where that cannot be promised there is none."""
        probe = tracking_of(db).probe()
        before = probe.version()
        db.run(run_id(1))
        after = probe.version()

        assert before is None or before != after
        assert after == probe.version()
        probe.close()

    def test_a_probe_that_is_idle_holds_no_transaction_open(self, db: TrackingFile) -> None:
        """An open transaction would keep the server from cleaning up behind writers."""
        if not isinstance(db, TrackingServer):
            pytest.skip("files are looked at elsewhere")
        probe = tracking_of(db).probe()
        probe.changed()

        assert connections_to(db) in (["idle"], ["Sleep"])
        probe.close()
        assert connections_to(db) == []


class TestRecognising:
    """By what a database is known again."""

    def test_it_is_itself(self, db: TrackingFile) -> None:
        """Writing to it changes nothing of that."""
        before = tracking_of(db).identity()
        db.run(run_id(1))
        after = tracking_of(db).identity()

        assert before.may_become(after)
        assert not before.was_written_over(after)
        assert not after.is_standby

    def test_another_database_is_another_one(self, db: TrackingFile) -> None:
        """On the same server, too."""
        before = tracking_of(db).identity()
        db.execute("UPDATE experiments SET creation_time = 77")

        assert not before.is_same_as(tracking_of(db).identity())


def test_pages_of_deleted_runs_hold_each_once(
    db: TrackingFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page, each in a transaction of its own, whatever the order of ids."""
    monkeypatch.setattr(paging, "PAGE", 3)
    every = {run_id(number) for number in (5, 1, 9, 3, 7, 2, 8)}
    for id_ in every:
        db.run(id_, stage="deleted")
    db.run(run_id(4))
    found: list[str] = []
    last: Position = None
    while True:
        with tracking_of(db).deleted(None) as reader:
            rows, last = reader.runs_after(last)
        if not rows:
            break
        assert len(rows) <= 3
        found += [row.target.id for row in rows]

    assert sorted(found) == sorted(every)


def test_a_workspace_is_named_exactly(db: TrackingFile) -> None:
    """What is deleted in "Team" is not what is deleted in "team"."""
    db.execute("UPDATE experiments SET workspace = ?", "Team")
    db.run(run_id(1), stage="deleted")

    with tracking_of(db).deleted("team") as reader:
        assert reader.runs_after()[0] == []
    with tracking_of(db).deleted("Team") as reader:
        assert len(reader.runs_after()[0]) == 1


def settled(changed: Callable[[], bool]) -> None:
    """Look until nothing is new: a server writes a little after each commit by itself."""
    while changed():
        pass


def connections_to(db: TrackingServer) -> list[str]:
    """Say what the connections of ours do that a database has."""
    server = db.server
    if isinstance(server, PostgreSQL):
        query = (
            "SELECT state FROM pg_stat_activity "
            f"WHERE datname = '{db.name}' AND application_name = 'mlflow-cleanup'"
        )
    else:
        assert isinstance(server, MariaDB)
        query = f"SELECT command FROM information_schema.processlist WHERE db = '{db.name}'"
    return [str(row[0]) for row in server.execute(query)]
