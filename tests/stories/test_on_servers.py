"""The same stories with the tracking database on a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_cleanup.config import database_of
from mlflow_cleanup.errors import DatabaseRefused, LeaseLost, PlanRefused, RegistryNotGiven
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.item import ItemState
from tests.kit.programs import until
from tests.kit.servers.mariadb import MariaDB
from tests.kit.servers.postgresql import PostgreSQL
from tests.kit.tracking_server import Server, TrackingServer
from tests.kit.world import World


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each kind of server."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def world(tmp_path: Path, server: Server) -> Iterator[World]:
    """A world with its database on a server, seen once already."""
    made = World.make(tmp_path / "home", TrackingServer.on(server))
    made.cycle()
    yield made
    made.close()


def test_deleted_run_is_quarantined_and_comes_back_when_restored(world: World) -> None:
    """Delete and Restore in MLflow move the files out of sight and back, byte for byte."""
    run, other = world.run({"model": 1_000}), world.run()
    world.cycle()

    world.delete(run)
    world.cycle()
    assert world.bytes_at(run) == 0
    assert world.bytes_in_trash(run) == 1_000

    world.undelete(run)
    world.cycle()
    assert world.bytes_at(run) == 1_000
    assert world.states(run) == [ItemState.RESTORED]
    assert world.bytes_at(other) == 10


def test_what_was_held_long_enough_is_purged(world: World) -> None:
    """Retention and purge are the same as with a database in a file."""
    run = world.run()
    world.cycle()
    world.delete(run)
    world.cycle()

    world.advance(days=6)
    world.cycle()
    assert world.states(run) == [ItemState.QUARANTINED]
    world.advance(days=2)
    world.cycle()
    assert world.states(run) == [ItemState.PURGED]
    assert world.bytes_in_trash() == 0


def test_all_rows_vanishing_at_once_is_refused(world: World) -> None:
    """An emptied database is an accident until somebody says otherwise."""
    runs = [world.run() for _ in range(3)]
    world.cycle()
    world.hard_delete(*runs)

    with pytest.raises(PlanRefused, match="vanished"):
        world.cycle()
    assert all(world.bytes_at(run) == 10 for run in runs)


def test_a_lease_lost_in_the_middle_of_a_cycle_ends_it(world: World) -> None:
    """It is asked for right before a step: nothing is moved without it, and nothing is lost."""
    run = world.run()
    world.cycle()
    world.delete(run)

    def lost() -> None:
        raise LeaseLost(str(world.settings.database), is_on_server=True)

    world.workplace.still_ours = lost
    with pytest.raises(LeaseLost):
        world.cycle()
    assert world.bytes_at(run) == 10
    assert world.trash() == []

    world.workplace.still_ours = lambda: None
    world.cycle()
    assert world.bytes_in_trash(run) == 10


def test_a_server_that_is_read_only_is_only_watched(tmp_path: Path, mariadb: MariaDB) -> None:
    """A replica of MySQL's kind is known by that; when it may be written again, work goes on."""
    world = World.make(tmp_path / "home", TrackingServer.on(mariadb))
    run = world.run()
    world.cycle()
    world.delete(run)
    mariadb.execute("SET GLOBAL read_only = 1")
    try:
        with pytest.raises(PlanRefused, match="or read-only"):
            world.cycle()
        assert world.bytes_at(run) == 10
    finally:
        mariadb.execute("SET GLOBAL read_only = 0")
    world.cycle()
    assert world.bytes_at(run) == 0
    world.close()


def test_a_database_of_postgresql_that_is_read_only_is_only_watched(
    tmp_path: Path, postgresql: PostgreSQL
) -> None:
    """Whoever sets it so, as before a move to another server, means that it is over there now."""
    world = World.make(tmp_path / "home", TrackingServer.on(postgresql))
    run = world.run()
    world.cycle()
    world.delete(run)
    name = name_of(world)
    postgresql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        with pytest.raises(PlanRefused, match="or read-only"):
            world.cycle()
        assert world.bytes_at(run) == 10
    finally:
        postgresql.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    world.cycle()
    assert world.bytes_at(run) == 0
    world.close()


def test_a_registry_on_a_server_has_to_be_given_again(world: World, server: Server) -> None:
    """Its password is written down nowhere: without it nothing is judged, and it says so."""
    run = world.run()
    registry = TrackingServer.on(server)
    world.restart(registry=registry.database)
    world.cycle()
    world.restart(registry=None)
    world.delete(run)

    with pytest.raises(RegistryNotGiven, match="--registry-store-uri") as told:
        world.cycle()
    assert world.bytes_at(run) == 10
    assert "s3cr" not in str(told.value)
    world.restart(registry=world.settings.database)
    world.cycle()
    world.restart(registry=None)
    world.cycle()
    assert world.bytes_at(run) == 0


@pytest.mark.parametrize("table", ["model_versions", "tags"])
def test_rows_that_are_hidden_from_us_are_not_taken_for_none(
    tmp_path: Path, postgresql: PostgreSQL, table: str
) -> None:
    """Row security leaves claims out without a word, so then nothing is read at all."""
    world = World.make(tmp_path / "home", TrackingServer.on(postgresql))
    name = name_of(world)
    postgresql.execute(f"CREATE ROLE reads_{name} LOGIN PASSWORD 'x1x'")
    try:
        postgresql.execute(
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO reads_{name}; "
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            name,
        )
        run, pinned = world.run(), world.run()
        world.cycle()
        world.register(str(run.place))
        world.tag(pinned, "mlflow-cleanup.keep", "yes")
        world.delete(run, pinned)
        url = postgresql.url(name, user=f"reads_{name}", password="x1x")
        world.restart(database=database_of(url, "/"))

        with pytest.raises(DatabaseRefused, match="row-level security"):
            world.cycle()
        assert (world.bytes_at(run), world.bytes_at(pinned)) == (10, 10)
    finally:
        world.close()
        postgresql.execute(f"DROP OWNED BY reads_{name}", name)
        postgresql.execute(f"DROP ROLE reads_{name}")


def test_an_older_backup_put_back_into_the_same_database_is_refused(
    tmp_path: Path, postgresql: PostgreSQL
) -> None:
    """That the tables were made anew tells, as the server's own count goes on."""
    world = World.make(tmp_path / "home", TrackingServer.on(postgresql))
    for _ in range(5):
        world.run()
    world.cycle()
    world.db.execute("CREATE TABLE backup AS SELECT * FROM runs")
    late = world.run()
    world.cycle()
    world.db.execute("TRUNCATE runs CASCADE")
    world.db.execute("INSERT INTO runs SELECT * FROM backup")

    with pytest.raises(PlanRefused, match="went back in time"):
        world.cycle()
    assert world.bytes_at(late) == 10
    world.close()


@pytest.mark.parametrize("who", ["version", "dataset"])
def test_a_reference_that_the_server_thinks_the_same_claims(
    tmp_path: Path, mariadb: MariaDB, who: str
) -> None:
    """MySQL finds a run by its id in capital letters, and so does MLflow on it."""
    world = World.make(tmp_path / "home", TrackingServer.on(mariadb))
    run, other = [world.run() for _ in range(12)][-2:]
    world.cycle()
    source = f"runs:/{run.id.upper()}/model"
    if who == "version":
        world.register(source)
    else:
        world.db.dataset("d", f'{{"uri": "{source}"}}', other.id)
    world.delete(run)
    world.cycle()
    assert world.bytes_at(run) == 10
    world.close()


class TestAnotherServer:
    """A fail-over, a backup or a replica is recognised, whatever name it has."""

    @pytest.fixture
    def primary(self) -> Iterator[PostgreSQL]:
        """A server of its own, as others may not be copied or stopped."""
        with PostgreSQL.running() as server:
            yield server

    @pytest.fixture
    def here(self, tmp_path: Path, primary: PostgreSQL) -> Iterator[World]:
        """A world on that server, in which one run is known and one was deleted since."""
        made = World.make(tmp_path / "home", TrackingServer.on(primary))
        made.cycle()
        yield made
        made.close()

    def test_a_standby_is_watched_and_nothing_is_taken(
        self, here: World, primary: PostgreSQL
    ) -> None:
        """It may be behind: what it calls deleted may have been restored on the primary."""
        run = here.run()
        here.cycle()
        here.delete(run)

        with primary.standby() as standby:
            here.restart(database=on(standby, here))
            with pytest.raises(PlanRefused, match="is a standby") as refused:
                here.cycle()
            assert here.bytes_at(run) == 10
            here.answer(refused.value)  # as it is no matter of opinion, this changes nothing
            with pytest.raises(PlanRefused, match="is a standby"):
                here.cycle()
            assert here.bytes_at(run) == 10

        here.restart(database=on(primary, here))
        here.cycle()
        assert here.bytes_at(run) == 0

    def test_a_standby_that_took_over_goes_on_where_the_primary_was(
        self, here: World, primary: PostgreSQL
    ) -> None:
        """Nothing was lost, so nothing is suspicious, and the root's marker is still ours."""
        run = here.run()
        here.cycle()

        with primary.standby() as standby:
            caught_up(primary, standby)
            primary.stop()
            standby.execute("SELECT pg_promote()")
            here.restart(database=on(standby, here))
            TrackingServer(Path("/nowhere"), standby, name_of(here)).set_stage(run.id, "deleted")
            here.cycle()

            assert here.bytes_at(run) == 0

    def test_a_standby_that_took_over_too_early_is_refused(
        self, here: World, primary: PostgreSQL
    ) -> None:
        """What it never heard of is not taken for gone: nothing is moved until confirmed."""
        here.run()
        here.cycle()
        with primary.standby() as standby:
            caught_up(primary, standby)
            standby.stop()
            late = here.run()
            here.cycle()
            primary.stop()
            standby.start()
            standby.execute("SELECT pg_promote()")
            here.restart(database=on(standby, here))

            with pytest.raises(PlanRefused, match="went back in time"):
                here.cycle()
            assert here.bytes_at(late) == 10


def on(server: PostgreSQL, world: World) -> Database:
    """Name a world's database on a server, or on a copy of it."""
    return database_of(server.url(name_of(world)), "/")


def name_of(world: World) -> str:
    """Return the name of a world's database on its server."""
    assert isinstance(world.db, TrackingServer)
    return world.db.name


def caught_up(primary: PostgreSQL, standby: PostgreSQL) -> None:
    """Wait until a standby has all that the primary wrote."""
    ((position,),) = primary.execute("SELECT pg_current_wal_flush_lsn()")
    replayed = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
    until(lambda: standby.execute(replayed) == [(True,)], "the standby has caught up")
