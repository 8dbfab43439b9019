from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from mlflow_cleanup.config import ledger_server_of
from mlflow_cleanup.errors import (
    BadUsage,
    LedgerDriverMissing,
    LedgerFull,
    LedgerLost,
    LedgerMissing,
    LedgerRefused,
    LedgerUnreachable,
    LedgerUnwritable,
)
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.ledger.postgresql import LedgerSchema
from mlflow_cleanup.ledger.tables import FORMAT
from mlflow_cleanup.model.ledger_home import LedgerServer
from tests.kit.homes import new_schema
from tests.kit.servers import free_port
from tests.kit.servers.postgresql import PASSWORD, PostgreSQL


@pytest.fixture
def server(postgresql: PostgreSQL) -> LedgerServer:
    """A schema that is not there yet."""
    return new_schema(postgresql)


@pytest.fixture
def schema(server: LedgerServer) -> Iterator[LedgerSchema]:
    """An empty ledger, open to write."""
    opened = LedgerSchema.open_to_write(server)
    yield opened
    opened.close()


def facts(schema: LedgerSchema) -> dict[str, str]:
    """Read the table of facts."""
    told = schema.connection.execute("SELECT name, value FROM facts WHERE name <> 'id'")
    return {row[0]: row["value"] for row in told}


def of_user(postgresql: PostgreSQL, user: str, schema: str = "mlflow_cleanup") -> LedgerServer:
    """Name a schema as another user reaches it."""
    return ledger_server_of(f"{postgresql.url(user=user)}?schema={schema}")


def test_commits_wait_for_the_disk_though_the_server_does_not_ask_for_it(
    postgresql: PostgreSQL,
) -> None:
    """What is written without waiting is so for its own transaction only."""
    hasty = "&options=-csynchronous_commit%3Doff"
    show = "SHOW synchronous_commit"
    with closing(LedgerSchema.open_to_write(new_schema(postgresql, hasty))) as schema:
        with schema.transaction() as connection:
            assert connection.execute(show).fetchall()[0][0] == "on"
        with schema.unsynced() as connection:
            assert connection.execute(show).fetchall()[0][0] == "off"

        assert schema.connection.execute(show).fetchall()[0][0] == "on"


def test_transaction_is_all_or_nothing(schema: LedgerSchema) -> None:
    """An error inside takes back everything that was entered with it."""
    with suppress(RuntimeError), schema.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('telling', '1')")
        raise RuntimeError

    assert facts(schema) == {"format": str(FORMAT)}


def test_inner_transaction_is_part_of_the_outer_one(schema: LedgerSchema) -> None:
    """What an inner one entered is gone with the outer one, and stays with it."""
    with suppress(RuntimeError), schema.transaction():
        with schema.transaction() as connection:
            connection.execute("INSERT INTO facts VALUES ('lost', '1')")
        raise RuntimeError
    with schema.transaction(), schema.unsynced() as connection:
        connection.execute("INSERT INTO facts VALUES ('kept', '1')")

    assert facts(schema) == {"format": str(FORMAT), "kept": "1"}


def test_statement_that_fails_leaves_the_way_free(schema: LedgerSchema) -> None:
    """Any error of the driver becomes ours, and the next transaction works."""
    with pytest.raises(LedgerUnwritable) as caught, schema.transaction() as connection:
        connection.execute("INSERT INTO nowhere VALUES (1)")
    assert schema.name in str(caught.value)
    with schema.transaction() as connection:
        connection.execute("INSERT INTO facts VALUES ('telling', '2')")

    assert facts(schema)["telling"] == "2"


def test_only_one_writes_at_a_time(schema: LedgerSchema, server: LedgerServer) -> None:
    """As with a file: who decides from what it has read finds it unchanged when it writes."""
    other = LedgerSchema.open_to_write(server)
    other.session.script("SET lock_timeout = 100")
    with closing(other), schema.transaction():
        with pytest.raises(LedgerUnwritable, match="lock timeout"), other.transaction():
            pass
        assert facts(other) == {"format": str(FORMAT)}


def test_connection_that_is_lost_in_the_middle_is_not_used_again(
    schema: LedgerSchema, server: LedgerServer, postgresql: PostgreSQL
) -> None:
    """Nothing of the transaction is there, and nobody goes on as if it were."""
    backend = schema.session.raw.info.backend_pid
    with pytest.raises(LedgerLost), schema.transaction() as connection:  # noqa: PT012 - at its end
        connection.execute("INSERT INTO facts VALUES ('telling', '1')")
        postgresql.execute(f"SELECT pg_terminate_backend({backend})")
    assert schema.is_lost
    with pytest.raises(LedgerLost), schema.transaction():
        pass
    with closing(LedgerSchema.open_to_read(server)) as reader:
        assert facts(reader) == {"format": str(FORMAT)}


def test_disk_of_the_server_that_is_full_is_said_so(schema: LedgerSchema) -> None:
    """So that a verb tries once more, as it does with a file."""
    with pytest.raises(LedgerFull), schema.transaction() as connection:
        connection.execute("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$")


def test_reader_cannot_write(schema: LedgerSchema, server: LedgerServer) -> None:
    """Whoever only reads has no way to change the ledger."""
    with (
        closing(LedgerSchema.open_to_read(server)) as reader,
        pytest.raises(LedgerUnwritable),
        reader.transaction() as connection,
    ):
        connection.execute("INSERT INTO facts VALUES ('telling', '1')")

    assert facts(schema) == {"format": str(FORMAT)}


def test_reading_what_is_not_there_makes_nothing(
    server: LedgerServer, postgresql: PostgreSQL
) -> None:
    """A reader finds no ledger, says so, and leaves no schema behind."""
    with pytest.raises(LedgerMissing):
        LedgerSchema.open_to_read(server)

    found = postgresql.execute(f"SELECT 1 FROM pg_namespace WHERE nspname = '{server.schema}'")
    assert found == []


def test_ledgers_in_two_schemas_know_nothing_of_each_other(postgresql: PostgreSQL) -> None:
    """One server keeps those of many tracking databases."""
    first, second = (Ledger.open(new_schema(postgresql)) for _ in range(2))
    first.set_fact("telling", "1")

    assert second.fact("telling") is None
    assert first.id != second.id
    for ledger in (first, second):
        ledger.close()


@pytest.mark.parametrize("mode", [LedgerSchema.open_to_write, LedgerSchema.open_to_read])
def test_ledger_of_a_later_format_is_not_touched(
    schema: LedgerSchema, server: LedgerServer, mode: type
) -> None:
    """What a later version wrote is left to it."""
    with schema.transaction() as connection:
        connection.execute("UPDATE facts SET value = '99' WHERE name = 'format'")

    with pytest.raises(LedgerUnwritable, match="format 99 is of a later"):
        mode(server)


def test_wrong_password_is_said_without_it(postgresql: PostgreSQL) -> None:
    """What the server says, and what to check."""
    server = ledger_server_of(postgresql.url(password="wr0ng:secret"))
    with pytest.raises(LedgerRefused, match="password authentication failed") as caught:
        LedgerSchema.open_to_write(server)

    assert "wr0ng" not in str(caught.value)
    assert "wr0ng" not in repr(server)


def test_database_that_is_not_there_is_said(postgresql: PostgreSQL) -> None:
    """It is not made."""
    with pytest.raises(LedgerRefused, match="does not exist"):
        LedgerSchema.open_to_write(ledger_server_of(postgresql.url("nowhere")))


def test_server_that_is_not_there_is_said() -> None:
    """Nothing listens at that port."""
    server = ledger_server_of(f"postgresql://telling:s3cret@127.0.0.1:{free_port()}/x")
    with pytest.raises(LedgerUnreachable) as caught:
        LedgerSchema.open_to_write(server)

    assert "s3cret" not in str(caught.value)


def test_mlflows_own_schema_is_no_place_for_a_ledger(postgresql: PostgreSQL) -> None:
    """Its migrations know nothing of our tables, nor do we of those that it will make."""
    name = postgresql.new_database()
    server = ledger_server_of(f"{postgresql.url(name)}?schema=public")

    with pytest.raises(LedgerRefused, match="that of MLflow's tables"):
        LedgerSchema.open_to_write(server)
    assert postgresql.execute("SELECT to_regclass('public.facts')", name) == [(None,)]


def test_who_may_not_make_the_schema_is_told_who_can(postgresql: PostgreSQL) -> None:
    """Made by an administrator, it is used as it is."""
    user = "limited"
    postgresql.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'")
    server = of_user(postgresql, user, "made_for_it")
    try:
        with pytest.raises(LedgerRefused, match=f"CREATE SCHEMA made_for_it AUTHORIZATION {user}"):
            LedgerSchema.open_to_write(server)
        postgresql.execute(f"CREATE SCHEMA made_for_it AUTHORIZATION {user}")
        with closing(LedgerSchema.open_to_write(server)) as opened:
            assert facts(opened) == {"format": str(FORMAT)}
    finally:
        postgresql.execute("DROP SCHEMA IF EXISTS made_for_it CASCADE")
        postgresql.execute(f"DROP ROLE {user}")


def test_driver_that_is_missing_is_named(
    server: LedgerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerDriverMissing, match="mlflow-cleanup\\[postgres\\]"):
        Ledger.open(server)


@pytest.mark.parametrize(
    "uri",
    [
        "mysql://telling:s3cret@host/x",
        "sqlite:///ledger.db",
        "somewhere",
        "postgresql://telling:s3cret@host:port/x",
        "postgresql://telling:s3cret@host/x?schema=No Name",
        'postgresql://telling:s3cret@host/x?schema=a"b',
        f"postgresql://telling:s3cret@host/x?schema={'a' * 41}",
    ],
)
def test_what_is_no_home_for_a_ledger_is_refused(uri: str) -> None:
    """Before anything is connected to, and without the password."""
    with pytest.raises(BadUsage) as caught:
        ledger_server_of(uri)

    assert "s3cret" not in str(caught.value)


def test_the_schema_is_taken_out_of_the_url() -> None:
    """The rest is the driver's."""
    server = ledger_server_of("postgresql+psycopg://u:p@Host/x?sslmode=require&schema=mine")

    assert server.schema == "mine"
    assert server.database.url == "postgresql+psycopg://u:p@Host/x?sslmode=require"
    assert str(server) == "postgresql://host/x (schema mine)"


def test_those_that_make_it_at_the_same_moment_make_one(server: LedgerServer) -> None:
    """Replicas that start together: each finds all tables, and one row of the holder's."""
    together = threading.Barrier(4)

    def make(_: int) -> list[int]:
        together.wait(30)
        with closing(LedgerSchema.open_to_write(server)) as made:
            rows = made.connection.execute("SELECT number FROM holder").fetchall()
            return [row[0] for row in rows]

    with ThreadPoolExecutor(4) as starting:
        assert list(starting.map(make, range(4))) == [[0]] * 4


def test_nothing_is_written_beside(server: LedgerServer, tmp_path: Path) -> None:
    """Requests wake the monitor through the server; there is no file of ours."""
    ledger = Ledger.open(server)
    ledger.keep_reserve()
    ledger.wake()
    ledger.close()

    assert list(tmp_path.iterdir()) == []
