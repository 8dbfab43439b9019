"""A server that lets nothing be written is left alone, and that is said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlflow_cleanup.act.metadata import TargetKind, foresee, remove_rows, vacuum
from mlflow_cleanup.errors import TrackingUnwritable
from mlflow_cleanup.model.database import POSTGRESQL, Database
from tests.kit.served import Served
from tests.kit.servers.mariadb import MariaDB
from tests.kit.servers.postgresql import PostgreSQL

RUN = TargetKind.RUN


@pytest.fixture
def on_mariadb(mariadb: MariaDB) -> Iterator[Served]:
    """A database on MariaDB, which may be written to again afterwards."""
    made = Served(mariadb)
    yield made
    mariadb.execute("SET GLOBAL read_only = 0")
    made.release()


def test_a_standby_is_refused(postgresql: PostgreSQL) -> None:
    """It can be asked what would stay; nothing is removed there, nor told as removed."""
    served = Served(postgresql)
    target = served.target(RUN, served.world(2, "deleted"))
    served.served.execute("UPDATE logged_models SET lifecycle_stage = 'active'")
    with postgresql.standby() as standby:
        url = standby.url(served.served.name)
        database = Database(f"postgresql://standby/{served.served.name}", POSTGRESQL, url)
        for ask in (lambda: list(remove_rows(database, [target])), lambda: vacuum(database)):
            with pytest.raises(TrackingUnwritable, match="standby") as raised:
                ask()
            assert "s3cr" not in str(raised.value)
        assert list(foresee(database, [target], keep_going=lambda: True)) == [target]
    served.release()


def test_a_server_that_is_set_to_read_only_is_refused(on_mariadb: Served) -> None:
    """Also where we would have the right to write: it may be a replica."""
    target = on_mariadb.target(RUN, on_mariadb.world(2, "deleted"))
    before = on_mariadb.content()
    on_mariadb.served.server.execute("SET GLOBAL read_only = 1")
    with pytest.raises(TrackingUnwritable, match="read only"):
        list(remove_rows(on_mariadb.database, [target]))
    assert on_mariadb.content() == before


def test_a_user_who_may_not_remove_is_told_so(postgresql: PostgreSQL) -> None:
    """Nothing is told as removed."""
    served = Served(postgresql)
    target = served.target(RUN, served.world(2, "deleted"))
    before, name = served.content(), served.served.name
    postgresql.execute("DROP ROLE IF EXISTS reader")
    postgresql.execute("CREATE ROLE reader LOGIN PASSWORD 'x'")
    postgresql.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", name)
    url = postgresql.url(name, user="reader", password="x")
    with pytest.raises(TrackingUnwritable, match="permission denied"):
        list(remove_rows(Database("d", POSTGRESQL, url), [target]))
    assert served.content() == before
    postgresql.execute("DROP OWNED BY reader", name)
    served.release()


@pytest.mark.parametrize("server", ["postgresql", "mariadb"])
def test_vacuum_loses_nothing(server: str, request: pytest.FixtureRequest) -> None:
    """Every row is there afterwards, and how large it was and is can be told."""
    served = Served(request.getfixturevalue(server))
    served.world(2, "deleted")
    before = served.content()
    done = vacuum(served.database)
    assert served.content() == before
    assert 0 < done.after_bytes <= done.before_bytes * 2
    served.release()
