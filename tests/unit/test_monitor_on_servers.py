"""The monitor with its database on a server, with real threads, clocks and breakdowns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pymysql
import pytest

from mlflow_cleanup import EventKind
from mlflow_cleanup.errors import LeaseHeld
from tests.kit.programs import until
from tests.kit.servers.mariadb import USER, MariaDB
from tests.kit.servers.postgresql import PASSWORD, PostgreSQL
from tests.kit.site import Site
from tests.kit.tracking_db import run_id
from tests.kit.tracking_server import TrackingServer

SiteOn = Callable[[PostgreSQL | MariaDB], Site]

BOTH = pytest.mark.parametrize("server", ["postgresql", "mariadb"], indirect=True)
OWN = pytest.mark.parametrize("own", [PostgreSQL, MariaDB], indirect=True)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> PostgreSQL | MariaDB:
    """A server that other tests use as well."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def own(request: pytest.FixtureRequest) -> Iterator[PostgreSQL | MariaDB]:
    """A server that may be stopped."""
    with request.param.running() as started:
        yield started


@pytest.fixture
def site_on(tmp_path: Path) -> Iterator[SiteOn]:
    """Make a site whose database is on a server, and stop what was started there."""
    made: list[Site] = []

    def make(server: PostgreSQL | MariaDB) -> Site:
        made.append(Site(tmp_path.resolve(), TrackingServer.on(server)))
        return made[0]

    yield make
    for site in made:
        for monitor in site.monitors:
            assert monitor.stop(60)


@BOTH
def test_a_deleted_run_leaves_and_comes_back(server: PostgreSQL | MariaDB, site_on: SiteOn) -> None:
    """Deleting a run takes its files out of sight by itself, restoring it puts them back."""
    site = site_on(server)
    place = site.run(1)
    site.start()

    site.delete(1)
    site.wait(EventKind.QUARANTINED, 1)
    assert not place.exists()

    site.db.set_stage(run_id(1), "active")
    site.wait(EventKind.RESTORED, 1)
    assert (place / "model").read_bytes() == b"x" * 10


@OWN
@pytest.mark.parametrize("kills", [False, True], ids=["stopped", "killed"])
def test_a_server_that_is_away_is_waited_for(
    own: PostgreSQL | MariaDB, site_on: SiteOn, *, kills: bool
) -> None:
    """That it cannot be reached is said once, nothing is moved, and then work goes on."""
    site = site_on(own)
    place, other = site.run(1), site.run(2)
    site.start()

    own.stop(kills=kills)
    waiting = site.wait(EventKind.WAITING)
    assert "cannot be reached" in waiting.detail
    own.start()
    site.delete(1)
    site.wait(EventKind.RESUMED)
    site.wait(EventKind.QUARANTINED, 1)

    assert not place.exists()
    assert (other / "model").exists()
    assert not site.told(EventKind.QUARANTINED, 2)
    assert len(site.told(EventKind.WAITING)) == 1
    assert not any(PASSWORD in event.detail for event in site.events)


@BOTH
def test_two_state_directories_of_one_database_exclude_each_other(
    server: PostgreSQL | MariaDB, site_on: SiteOn, tmp_path: Path
) -> None:
    """Where no file can tell, the server's own lock does; it is free again when the first ends."""
    site = site_on(server)
    first = site.start()
    second = site.monitor(state_dir=tmp_path / "elsewhere")

    with pytest.raises(LeaseHeld, match="another state directory"):
        second.start()

    assert first.stop(60)
    second.start()


@BOTH
def test_whoever_loses_the_servers_lock_stops_acting(
    server: PostgreSQL | MariaDB, site_on: SiteOn
) -> None:
    """The lock ends with its connection: while somebody else has it, nothing is moved."""
    site = site_on(server)
    place = site.run(1)
    site.start()

    with closing(server.connection(name_of(site))) as other, other.cursor() as cursor:
        waiting = threading.Thread(target=cursor.execute, args=(LOCK[type(server)],))
        waiting.start()  # it is next in turn, before the monitor can ask again
        until(lambda: is_waited_for(server), "it waits for the lock")
        end_connections(server, site)
        waiting.join(60)
        site.delete(1)
        assert "another state directory" in site.wait(EventKind.WAITING).detail
        assert (place / "model").exists()

    site.wait(EventKind.QUARANTINED, 1)


LOCK: dict[type, str] = {
    PostgreSQL: "SELECT pg_advisory_lock(1835822183, hashtext(current_schema()))",
    MariaDB: "SELECT get_lock(concat('mlflow-cleanup.', md5(database())), 60)",
}


def is_waited_for(server: PostgreSQL | MariaDB) -> bool:
    """Tell whether a connection waits for a lock of this kind."""
    waiting = {
        PostgreSQL: "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted",
        MariaDB: "SELECT 1 FROM information_schema.processlist WHERE state = 'User lock'",
    }
    return bool(server.execute(waiting[type(server)]))


def name_of(site: Site) -> str:
    """Return the name of a site's database."""
    assert isinstance(site.db, TrackingServer)
    return site.db.name


def end_connections(server: PostgreSQL | MariaDB, site: Site) -> None:
    """End every connection of ours to one database, as an operator or a network can."""
    if isinstance(server, PostgreSQL):
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name_of(site)}' AND application_name = 'mlflow-cleanup'"
        )
        return
    ids = server.execute(
        "SELECT id FROM information_schema.processlist "
        f"WHERE db = '{name_of(site)}' AND user = '{USER}'"
    )
    for (id_,) in ids:
        with suppress(pymysql.err.OperationalError):  # it may have ended by itself
            server.execute(f"KILL {id_}")
