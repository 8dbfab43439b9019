"""Every verb with the ledger on a server, beside a monitor and without one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlflow_cleanup import EventKind
from mlflow_cleanup.cli.exits import LEASE, NOT_CLEANED, USAGE
from mlflow_cleanup.config import ledger_server_of
from mlflow_cleanup.errors import BadUsage
from mlflow_cleanup.ledger.lease import Lease
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.ledger.session import connect
from mlflow_cleanup.model.ledger_home import LedgerServer
from tests.kit.children import as_nobody
from tests.kit.homes import new_schema
from tests.kit.servers import free_port
from tests.kit.servers.postgresql import PASSWORD, PostgreSQL
from tests.kit.site import Site
from tests.kit.tracking_db import run_id
from tests.kit.tracking_server import TrackingServer
from tests.unit.cli.conftest import Say

SayThere = Callable[..., str]


@pytest.fixture
def server(postgresql: PostgreSQL) -> LedgerServer:
    """A schema that is not there yet."""
    return new_schema(postgresql)


def url(server: LedgerServer) -> str:
    """Return it as an operator writes it."""
    return f"{server.database.url}?schema={server.schema}"


@pytest.fixture
def site(
    tmp_path: Path, postgresql: PostgreSQL, server: LedgerServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A site whose tracking database and ledger are on a server."""
    made = Site(tmp_path.resolve(), TrackingServer.on(postgresql))
    made.settings = replace(made.settings, ledger=server)
    monkeypatch.chdir(made.home)
    yield made
    for monitor in made.monitors:
        assert monitor.stop(60)


@pytest.fixture
def there(site: Site, server: LedgerServer, say: Say) -> SayThere:
    """Run a verb as from another machine, which has nothing of the monitor's but the URLs."""

    def run(*words: str) -> str:
        said = say(
            *words,
            *("--backend-store-uri", site.db.uri, "--ledger", url(server)),
            *("--artifacts-destination", str(site.root)),
        )
        assert said.exit_code == 0, said.output
        assert PASSWORD not in said.output
        return said.stdout

    return run


def test_verbs_beside_a_monitor_elsewhere(site: Site, there: SayThere) -> None:
    """Status, history and trash are read, restore and purge asked for: through the server alone."""
    places = {number: site.run(number) for number in (1, 2, 3)}
    site.start()
    for number in (1, 2):
        site.delete(number)
        site.wait(EventKind.QUARANTINED, number)

    assert "mlflow-cleanup monitor" in json.loads(there("status", "--json"))["running"]
    listed = json.loads(there("trash", "list", "--json"))
    assert {one["run_id"] for one in listed} == {run_id(1), run_id(2)}
    there("restore", run_id(1))
    assert (places[1] / "model").read_bytes() == b"x" * 10
    there("trash", "purge", run_id(2), "--yes")
    site.wait(EventKind.PURGED, 2)
    there("pin", run_id(3))
    site.delete(3)
    site.wait(EventKind.KEPT, 3)

    assert places[3].exists()
    assert "purged" in there("history")


def test_verbs_without_a_monitor(site: Site, there: SayThere) -> None:
    """They take the lease themselves, and leave it."""
    site.run(1)
    site.start()
    site.delete(1)
    site.wait(EventKind.QUARANTINED, 1)
    assert site.monitors.pop().stop(60)

    assert json.loads(there("status", "--json"))["running"] is None
    done = json.loads(there("trash", "purge", run_id(1), "--yes", "--json"))
    assert [item["state"] for item in done["items"]] == ["purged"]
    assert json.loads(there("doctor", "--json"))


def test_nothing_is_made_on_the_disk(site: Site, there: SayThere) -> None:
    """But under the artifact root: a container's file system may be read only."""
    site.run(1)
    monitor = site.start()
    site.delete(1)
    site.wait(EventKind.QUARANTINED, 1)
    there("trash", "purge", run_id(1), "--yes")
    assert monitor.stop(60)

    assert [path.name for path in site.home.iterdir()] == [site.root.name]


def test_file_system_that_is_read_only_is_enough(
    postgresql: PostgreSQL, server: LedgerServer
) -> None:
    """As a user who may write nothing but the artifacts."""
    db = TrackingServer.on(postgresql)

    def body(top: Path) -> None:
        home = top / "home"
        home.mkdir()
        site = Site(home, db)
        site.settings = replace(site.settings, ledger=server)
        site.run(1)
        home.chmod(0o555)
        monitor = site.start()
        site.delete(1)
        site.wait(EventKind.QUARANTINED, 1)
        assert monitor.stop(60)
        home.chmod(0o755)

    as_nobody(body)


def test_the_variable_and_the_file_name_it_too(
    site: Site, server: LedgerServer, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flag wins over the variable, and that over the file."""
    Ledger.open(server).close()
    where = ("status", "--json", "--backend-store-uri", site.db.uri)
    (site.home / "mlflow-cleanup.toml").write_text(f'ledger = "{url(server)}"\n', encoding="utf-8")
    assert say(*where).exit_code == 0
    monkeypatch.setenv("MLFLOW_CLEANUP_LEDGER", url(server).replace(server.schema, "nowhere"))
    said = say(*where)
    assert (said.exit_code, "nowhere" in said.output) == (USAGE, True)
    assert say(*where, "--ledger", url(server)).exit_code == 0


def test_without_its_driver_it_says_what_to_install(
    site: Site, server: LedgerServer, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback, and the command."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    said = say("status", "--ledger", url(server), "--backend-store-uri", "sqlite:///mlflow.db")

    assert said.exit_code == USAGE
    assert "pip install 'mlflow-cleanup[postgres]'" in said.output
    assert not site.events


@pytest.mark.parametrize(
    "case",
    [
        (lambda there: there.replace(":s3cr", ":x3cr"), USAGE, "password authentication failed"),
        (lambda _: f"postgresql://u:s3cret@127.0.0.1:{free_port()}/x", NOT_CLEANED, "be reached"),
        (lambda _: "mysql://u:s3cret@host/x", USAGE, "only in PostgreSQL"),
        (lambda there: there + "_of_nobody", USAGE, "there is no ledger"),
    ],
    ids=["wrong password", "no server", "no PostgreSQL", "no schema"],
)
def test_what_is_wrong_with_it_is_said(
    site: Site, server: LedgerServer, say: Say, case: tuple[Callable[[str], str], int, str]
) -> None:
    """With an exit code of its own, and never with a password."""
    ledger, code, words = case
    given = ledger(url(server))
    said = say("status", "--backend-store-uri", site.db.uri, "--ledger", given)

    assert said.exit_code == code, said.output
    assert words in said.output
    for secret in ("s3cret", PASSWORD, "x3cr"):
        assert secret not in said.output


def test_it_lives_in_one_place(server: LedgerServer, say: Say) -> None:
    """A directory as well would be one that is never looked at."""
    said = say("status", "--ledger", url(server), "--state-dir", "here")

    assert said.exit_code == USAGE
    assert "--state-dir" in said.output


def test_lease_held_by_another_verb_is_told(site: Site, server: LedgerServer, say: Say) -> None:
    """As with a file, with exit code 5."""
    site.start()
    assert site.monitors.pop().stop(60)
    with Lease([server], "mlflow-cleanup telling"):
        said = say("sweep", "--apply", "--backend-store-uri", site.db.uri, "--ledger", url(server))

    assert said.exit_code == LEASE
    assert "`mlflow-cleanup telling`" in said.output


def test_a_uri_that_is_no_utf8_is_told_without_it() -> None:
    """It can be given to no server: a mistake in the command."""
    with pytest.raises(BadUsage, match="cannot be read") as told:
        connect(ledger_server_of("postgresql://u:hidden\udcff@h/db"), "test")
    assert "hidden" not in str(told.value)
