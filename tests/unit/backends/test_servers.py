from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import psycopg
import pymysql
import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from mlflow_cleanup.backends.held import Held, HeldLock
from mlflow_cleanup.backends.mysql import _transactions_in
from mlflow_cleanup.backends.opening import open_backend
from mlflow_cleanup.backends.servers import engine_of, explained, told
from mlflow_cleanup.config import database_of
from mlflow_cleanup.errors import (
    BadUsage,
    DatabaseBusy,
    DatabaseGone,
    DatabaseRefused,
    DriverMissing,
    LeaseHeld,
    TrackingUnreadable,
)
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.observe.tracking import TrackingDatabase
from tests.kit.servers import free_port
from tests.kit.servers.mariadb import MariaDB
from tests.kit.servers.postgresql import PASSWORD, PostgreSQL

POSTGRESQL = database_of("postgresql://u:p%40ss@h/db", "/")
MYSQL = database_of("mysql://u:p%40ss@h/db", "/")


def arguments_of(uri: str, environment: Mapping[str, str] | None = None) -> dict[str, object]:
    """Return what the driver is called with."""
    engine = engine_of(database_of(uri, "/"), environment or {})
    made: dict[str, object] = {}

    def note(*given: Any) -> None:  # noqa: ANN401 - dialect, record, words and what is named
        made.update(given[3])
        raise InterruptedError

    event.listen(engine, "do_connect", note)
    with pytest.raises(InterruptedError):
        engine.connect()
    return made


class TestWords:
    """What a driver says is told in words that say what it means, and hold no secret."""

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (psycopg.errors.LockNotAvailable("x"), DatabaseBusy),
            (psycopg.errors.InvalidPassword("x"), DatabaseRefused),
            (psycopg.errors.InsufficientPrivilege("x"), DatabaseRefused),
            (psycopg.OperationalError('FATAL: database "db" does not exist'), DatabaseRefused),
            (psycopg.errors.AdminShutdown("x"), DatabaseGone),
            (psycopg.OperationalError("server closed the connection"), DatabaseGone),
            (psycopg.errors.ConnectionTimeout("connection timeout expired"), DatabaseGone),
            (psycopg.errors.TooManyConnections("x"), DatabaseGone),
            (psycopg.errors.QueryCanceled("x"), TrackingUnreadable),
            (psycopg.errors.UndefinedTable("x"), TrackingUnreadable),
        ],
    )
    def test_of_postgresql(self, error: Exception, kind: type[Exception]) -> None:
        """By its state, and by its text where there is none."""
        assert type(explained(POSTGRESQL, error)) is kind

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (pymysql.err.OperationalError(1205, "Lock wait timeout"), DatabaseBusy),
            (pymysql.err.OperationalError(1412, "Table definition has changed"), DatabaseBusy),
            (pymysql.err.OperationalError(1045, "Access denied"), DatabaseRefused),
            (pymysql.err.OperationalError(1049, "Unknown database"), DatabaseRefused),
            (pymysql.err.OperationalError(2003, "Can't connect"), DatabaseGone),
            (pymysql.err.OperationalError(2013, "Lost connection"), DatabaseGone),
            (pymysql.err.InterfaceError(0, ""), DatabaseGone),
            (pymysql.err.ProgrammingError(1146, "no such table"), TrackingUnreadable),
        ],
    )
    def test_of_mysql(self, error: Exception, kind: type[Exception]) -> None:
        """By its number."""
        assert type(explained(MYSQL, error)) is kind

    @pytest.mark.parametrize("written", ["p@ss", "p%40ss"])
    @pytest.mark.parametrize("database", [POSTGRESQL, MYSQL])
    def test_hold_no_password(self, database: Database, written: str) -> None:
        """However a driver may write it."""
        error = psycopg.OperationalError(f"cannot connect\nwith password={written}!")

        text = str(explained(database, error))

        assert "password=***!" in text
        assert written not in text
        assert "\n" not in text

    def test_stand_in_for_the_drivers_error(self) -> None:
        """What SQLAlchemy puts around it is taken off first."""
        inner = psycopg.errors.LockNotAvailable("x")
        with pytest.raises(DatabaseBusy), told(POSTGRESQL, 1.0):
            raise DBAPIError("SELECT", None, inner)


class TestConnecting:
    """What stands in MLflow's URI is what the driver used here is given."""

    def test_a_missing_driver_is_named_with_what_installs_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The command is said, and the database without its password."""
        monkeypatch.setitem(sys.modules, "pymysql", None)

        with pytest.raises(DriverMissing, match=r"pip install 'mlflow-cleanup\[mysql\]'") as error:
            TrackingDatabase(MYSQL)

        assert "p@ss" not in str(error.value)

    @pytest.mark.parametrize("driver", ["", "+psycopg2", "+psycopg", "+asyncpg", "+pg8000"])
    def test_any_driver_of_postgresql_may_be_named(self, driver: str) -> None:
        """Which one MLflow uses is its own matter."""
        made = arguments_of(
            f"postgresql{driver}://u:p%40ss@h:1/db?sslmode=require&connect_timeout=9"
        )

        assert made["host"] == "h"
        assert made["password"] == "p@ss"
        assert made["sslmode"] == "require"
        assert made["connect_timeout"] == "9"

    @pytest.mark.parametrize("scheme", ["mysql", "mysql+mysqldb", "mariadb+pymysql"])
    def test_any_driver_of_mysql_may_be_named(self, scheme: str) -> None:
        """MLflow's own variables for TLS count as well."""
        uri = f"{scheme}://u:p%40ss@h/db?ssl_mode=REQUIRED&charset=utf8"
        made = arguments_of(uri, {"MLFLOW_MYSQL_SSL_CA": "/ca.pem"})

        assert made["password"] == "p@ss"
        assert made["ssl"] == {"verify_mode": "none"}
        assert made["ssl_ca"] == "/ca.pem"
        assert made["charset"] == "utf8"

    def test_what_the_driver_does_not_know_is_wrong_usage(self) -> None:
        """It is named, without its value."""
        with pytest.raises(BadUsage, match="odd") as error:
            arguments_of("mysql://u:p@h/db?odd=s3cret")

        assert "s3cret" not in str(error.value)


class TestServersThatLetNobodyIn:
    """A wrong password, an unknown database, nobody there: told apart, and without the secret."""

    @pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
    def test_are_told_apart(self, request: pytest.FixtureRequest, kind: str) -> None:
        """Neither the error nor its traceback has the password."""
        server: PostgreSQL | MariaDB = request.getfixturevalue(kind)
        name, wrong = server.new_database(), "wr0ng/s3cret"
        cases = [
            (server.url(name, password=wrong), DatabaseRefused),
            (server.url("absent"), DatabaseRefused),
            (server.url(name).replace(f":{server.port}/", f":{free_port()}/"), DatabaseGone),
        ]
        for uri, expected in cases:
            with pytest.raises(expected) as error:
                TrackingDatabase(database_of(uri, "/")).heads()
            shown = "".join(traceback.format_exception(error.value))
            for secret in (wrong, "wr0ng%2Fs3cret", PASSWORD, "s3cr%3At"):
                assert secret not in shown


def test_a_server_that_is_away_is_asked_ever_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two attempts to connect the pauses grow, and nothing is asked in between."""
    now = [1_000.0]
    monkeypatch.setattr("mlflow_cleanup.backends.held.time.monotonic", lambda: now[0])
    held = Held(database_of(f"postgresql://u:p@127.0.0.1:{free_port()}/db", "/"))
    tries: list[float] = []

    def refuse() -> None:
        tries.append(now[0])
        raise psycopg.OperationalError

    monkeypatch.setattr(held._engine, "connect", refuse)
    monkeypatch.setattr("mlflow_cleanup.backends.held.SQLAlchemyError", Exception)
    while now[0] < 1_200:
        assert held.ask("SELECT 1") is None
        now[0] += 0.25

    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 0.5
    assert pauses[-1] == 30


@pytest.mark.parametrize(
    ("position", "count"),
    [
        ("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5", 5),
        ("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:11-18,\nb-c:7", 14),
        ("0-1-270", 270),
        ("0-1-270,1-2-30", 300),
        ("", 0),
    ],
)
def test_transactions_of_a_position_are_counted(position: str, count: int) -> None:
    """As MySQL writes it, and as MariaDB does."""
    assert _transactions_in(position) == count


class TestPostgreSQLsMoment:
    """A table that was written anew looks empty in a moment before: it is not taken for that."""

    @pytest.mark.parametrize(
        "change",
        [
            "ALTER TABLE model_versions ALTER COLUMN creation_time TYPE numeric",
            "TRUNCATE model_versions CASCADE",
            "CREATE TABLE other (LIKE model_versions); DROP TABLE model_versions CASCADE; "
            "ALTER TABLE other RENAME TO model_versions",
        ],
    )
    def test_a_table_written_anew_meanwhile_ends_the_reading(
        self, postgresql: PostgreSQL, change: str
    ) -> None:
        """Its rows are not in what is read, and nobody may go on without them."""
        name = postgresql.new_database()
        backend = open_backend(database_of(postgresql.url(name), "/"))

        def read() -> None:
            with backend.reading() as connection:
                connection.exec_driver_sql("SELECT 1 FROM runs")
                postgresql.execute(change, name)
                assert not connection.exec_driver_sql("SELECT 1 FROM model_versions").all()

        with pytest.raises(DatabaseBusy):
            read()

    def test_what_is_not_read_may_be_written_anew(self, postgresql: PostgreSQL) -> None:
        """Others empty tables of theirs all day long."""
        name = postgresql.new_database()
        backend = open_backend(database_of(postgresql.url(name), "/"))
        with backend.reading() as connection:
            connection.exec_driver_sql("SELECT 1 FROM runs")
            postgresql.execute("TRUNCATE model_versions CASCADE", name)


class TestPostgreSQLsLock:
    """One lock for one set of tables, however they are reached."""

    def test_another_search_path_to_the_same_tables_is_no_way_around(
        self, postgresql: PostgreSQL
    ) -> None:
        """A role that has a schema of its own name sees that one first."""
        name = postgresql.new_database()
        postgresql.execute("CREATE SCHEMA first", name)
        url = postgresql.url(name)
        path = "?options=-c%20search_path%3Dfirst%2Cpublic"
        one, other = (open_backend(database_of(uri, "/")).lock() for uri in (url, url + path))
        assert one is not None
        assert other is not None
        one.acquire()
        one.verify()
        with pytest.raises(LeaseHeld):
            other.acquire()
        one.release()
        other.acquire()
        other.verify()
        other.release()

    def test_a_session_that_two_share_is_no_lock(self, postgresql: PostgreSQL) -> None:
        """A pooler may give both the same one, on which each would get the lock."""
        name = postgresql.new_database()
        database = database_of(postgresql.url(name), "/")
        one, other = (open_backend(database).lock() for _ in range(2))
        assert isinstance(one, HeldLock)
        assert isinstance(other, HeldLock)
        one.acquire()
        other._held = one._held
        with pytest.raises(LeaseHeld):
            other.acquire()
        one.release()


@pytest.mark.parametrize(
    "uri", ["mysql://u:hidden@h/db?connect_timeout=soon", "postgresql://u:hidden\udcff@h/db"]
)
def test_a_uri_that_the_driver_cannot_use_is_told_without_it(uri: str) -> None:
    """What cannot be a number, or is no UTF-8, is a mistake in the command."""
    with pytest.raises(BadUsage, match="cannot be read") as told:
        engine_of(database_of(uri, "/"), {})
    assert "hidden" not in str(told.value)
