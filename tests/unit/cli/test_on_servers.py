"""Every verb with the tracking database on a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from mlflow_cleanup.model.item import ItemState
from tests.kit.servers import free_port
from tests.kit.servers.mariadb import MariaDB
from tests.kit.servers.postgresql import PASSWORD, PostgreSQL
from tests.kit.tracking_server import TrackingServer
from tests.kit.world import World

Say = Callable[..., Result]


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> PostgreSQL | MariaDB:
    """Each kind of server."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def world(
    server: PostgreSQL | MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A world of today in the working directory, whose URI is in MLflow's own variable."""
    db = TrackingServer.on(server)
    made = World.make(tmp_path / "home", db)
    made.clock.wall_s = time.time()  # the verbs read the real clock
    made.run({"large": 10_000})
    made.cycle()
    monkeypatch.chdir(made.home)
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", db.uri)
    yield made
    made.close()


def test_verbs_read_and_act(world: World, say: Say) -> None:
    """What is deleted is planned, taken, kept or given back as with a database in a file."""
    pinned, run = world.run({"a": 100}), world.run({"a": 100})
    world.cycle()
    world.workplace.close()
    assert say("adopt", "mlartifacts").exit_code == 0
    assert say("pin", str(pinned.place)).exit_code == 0
    world.delete(pinned, run)

    assert "1 place, 100 B" in say("plan", "-o", "p.json").output
    assert say("apply", "p.json").exit_code == 0
    assert world.bytes_at(run) == 0
    assert world.bytes_at(pinned) == 100
    assert run.id in say("trash", "list").output
    assert say("restore", run.id).exit_code == 0
    assert world.bytes_at(run) == 100
    assert say("sweep", "--apply").exit_code == 0
    for verb in ("doctor", "usage", "status", "history"):
        told = say(verb)
        assert told.exit_code == 0
        assert PASSWORD not in told.output
    world.restart()
    assert world.states(run) == [ItemState.RESTORED]


@pytest.mark.usefixtures("world")
def test_gc_wants_to_know_where_proxied_artifacts_are(say: Say) -> None:
    """No file says where MLflow's server works: rows would go, were files looked for elsewhere."""
    told = say("gc", "--yes")

    assert told.exit_code == 2
    assert "--artifacts-destination" in told.output
    assert say("gc", "--dry-run", "--artifacts-destination", "mlartifacts").exit_code == 0


def test_gc_takes_no_file_where_it_may_remove_no_row(
    server: PostgreSQL | MariaDB, world: World, say: Say
) -> None:
    """A user who may only read will do for everything else."""
    run = world.run()
    world.delete(run)
    world.close()
    assert isinstance(world.db, TrackingServer)
    name, user = world.db.name, f"reads_{world.db.name}"
    if isinstance(server, PostgreSQL):
        server.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'x1x'")
        server.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}", name)
    else:
        server.execute(
            f"CREATE USER {user} IDENTIFIED BY 'x1x'; GRANT SELECT ON {name}.* TO {user}"
        )
    url = server.url(name, user=user, password="x1x")
    words = ("gc", "--yes", "--artifacts-destination", "mlartifacts", "--run-ids", run.id)

    told = say(*words, "--backend-store-uri", url)
    assert told.exit_code == 3
    assert "denied" in told.output
    assert "x1x" not in told.output
    assert world.bytes_at(run) == 10

    assert say(*words, "--artifacts-only", "--backend-store-uri", url).exit_code == 0
    assert world.bytes_at(run) == 0
    if isinstance(server, PostgreSQL):
        server.execute(f"DROP OWNED BY {user}", name)
        server.execute(f"DROP ROLE {user}")
    else:
        server.execute(f"DROP USER {user}")


def test_a_database_without_mlflows_tables_is_told(
    server: PostgreSQL | MariaDB, world: World, say: Say
) -> None:
    """As a rule MLflow is about to make them."""
    empty = server.url(server.new_database(None))

    told = say("watch", "--backend-store-uri", empty)

    assert told.exit_code == 2
    assert "no MLflow tables" in told.output
    assert world.workplace.settings.state_dir.exists()


@pytest.mark.parametrize("verb", ["plan", "watch", "sweep"])
def test_a_server_that_cannot_be_reached_is_told(
    server: PostgreSQL | MariaDB, world: World, say: Say, verb: str
) -> None:
    """Nothing is judged without it, and it is not taken for an empty database."""
    uri = world.db.uri.replace(f":{server.port}/", f":{free_port()}/")

    told = say(verb, "--backend-store-uri", uri)

    assert told.exit_code == 3
    assert "cannot be reached" in told.output
    assert "s3cr" not in told.output
