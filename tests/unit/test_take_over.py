"""Two monitors with one ledger on a server: one works, the other stands by, whatever happens.

Each is a process of its own; the tracking database is on the same server, as in a cluster.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.ledger.lease import current_holder
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.item import ItemState
from mlflow_cleanup.model.ledger_home import LedgerServer
from tests.kit.homes import new_schema
from tests.kit.programs import until
from tests.kit.proxy import Proxy
from tests.kit.replica import Replica
from tests.kit.servers.postgresql import PostgreSQL
from tests.kit.tracking_db import run_id
from tests.kit.tracking_server import TrackingServer

pytestmark = pytest.mark.skipif(os.name == "nt", reason="processes are paused with signals")

AT_MOST_S = 10.0
"""In which the second one takes over from one that has ended; two where nothing else runs."""


@dataclass
class Cluster:
    """A server, an artifact root, and the replicas started on them."""

    server: PostgreSQL
    db: TrackingServer
    home: Path
    ledger: LedgerServer
    replicas: list[Replica] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The artifact root."""
        return self.home / "mlartifacts"

    def start(self, through: Proxy | None = None) -> Replica:
        """Start another replica, whose connections to the ledger may go through a proxy."""
        ledger = f"{self.ledger.database.url}?schema={self.ledger.schema}"
        if through is not None:
            ledger = ledger.replace(f":{self.server.port}/", f":{through.port}/")
        made = Replica.start(backend=self.db.uri, root=self.root, ledger=ledger, home=self.home)
        self.replicas.append(made)
        return made

    def start_two(self, through: Proxy | None = None) -> tuple[Replica, Replica]:
        """Start one, and when it works another one, which stands by."""
        first = self.start(through)
        first.says("started")
        self.await_known()
        second = self.start()
        second.says("this one stands by")
        return first, second

    def run(self, number: int) -> Path:
        """Add an active run with one file."""
        place = self.root / "0" / run_id(number) / "artifacts"
        place.mkdir(parents=True)
        (place / "model").write_bytes(b"x" * 10)
        self.db.run(run_id(number))
        return place

    def await_known(self) -> None:
        """Wait until the ledger knows that the first run is there: it has to be seen to leave."""
        until(lambda: self._state_of(1) is RunState.ACTIVE, "run 1 is known")

    def _state_of(self, number: int) -> RunState | None:
        ledger = Ledger.read(self.ledger)
        try:
            known = ledger.known.get(run_id(number))
            return None if known is None else known.state
        finally:
            ledger.close()

    def delete(self, number: int) -> None:
        """Delete a run as MLflow does."""
        self.db.set_stage(run_id(number), "deleted")

    def end_sessions(self, named: str) -> None:
        """Let the server end connections, by what they are called."""
        self.server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE application_name LIKE '{named}'"
        )

    def states(self) -> list[tuple[str, ItemState]]:
        """List the items that came to something, by their runs."""
        ledger = Ledger.read(self.ledger)
        try:
            every = ledger.items.in_state(*ItemState)
            return [(one.entity.id, one.state) for one in every if one.state.value != "abandoned"]
        finally:
            ledger.close()


@pytest.fixture
def cluster(tmp_path: Path, postgresql: PostgreSQL) -> Iterator[Cluster]:
    """A server with an empty tracking database, and an empty root."""
    made = Cluster(postgresql, TrackingServer.on(postgresql), tmp_path, new_schema(postgresql))
    made.root.mkdir()
    with ExitStack() as ends:
        yield made
        for replica in made.replicas:
            ends.callback(replica.end)


def held(number: int) -> tuple[str, ItemState]:
    """What the ledger says of a run whose files are in the trash."""
    return run_id(number), ItemState.QUARANTINED


def test_second_one_stands_by_and_takes_over_from_one_that_is_killed(cluster: Cluster) -> None:
    """While one works the other only waits; killed, it is followed within moments."""
    for number in (1, 2):
        cluster.run(number)
    first, second = cluster.start_two()
    cluster.delete(1)
    first.says("quarantined run " + run_id(1))

    first.kill()
    begun_s = time.monotonic()
    second.says("started")
    took_s = time.monotonic() - begun_s
    cluster.delete(2)
    second.says("quarantined run " + run_id(2))

    assert took_s < AT_MOST_S
    assert cluster.states() == [held(1), held(2)]
    holder = current_holder(cluster.ledger)
    assert holder is not None
    assert holder.pid == second.process.pid


def test_second_one_takes_over_from_one_that_ends_in_order(cluster: Cluster) -> None:
    """A container that is replaced gives the work on at once."""
    cluster.run(1)
    first, second = cluster.start_two()
    first.end()
    second.says("started")
    cluster.delete(1)

    second.says("quarantined run " + run_id(1))
    assert first.process.returncode == 0


def test_one_that_was_paused_is_followed_and_changes_nothing_when_it_goes_on(
    cluster: Cluster,
) -> None:
    """The server lets go of a holder that says nothing; back again, that one stands by."""
    for number in (1, 2):
        cluster.run(number)
    first, second = cluster.start_two()
    first.pause()
    second.says("started")
    cluster.delete(1)
    second.says("quarantined run " + run_id(1))

    first.go_on()
    first.says("was lost")
    first.says("this one stands by")
    cluster.delete(2)
    second.says("quarantined run " + run_id(2))

    assert cluster.states() == [held(1), held(2)]
    assert not [line for line in first.lines if line.startswith("quarantined")]


def test_one_that_is_cut_off_is_followed_and_stands_by(cluster: Cluster) -> None:
    """No packet comes through any more, and none says that the connection is over."""
    cluster.run(1)
    with Proxy.before(cluster.server.port) as wire:
        first, second = cluster.start_two(wire)
        wire.cut()
        second.says("started")
        cluster.delete(1)
        second.says("quarantined run " + run_id(1))
        first.says("was lost")
        wire.mend()
        first.says("this one stands by")

        assert cluster.states() == [held(1)]
        assert not [line for line in first.lines if line.startswith("quarantined")]
        first.kill()


@pytest.mark.parametrize("named", ["mlflow-cleanup lease %", "mlflow-cleanup ledger_%"])
def test_connection_that_is_ended_begins_everything_anew(cluster: Cluster, named: str) -> None:
    """Of the lease or of the ledger: alone, it takes the work up again by itself."""
    cluster.run(1)
    replica = cluster.start()
    replica.says("started")
    cluster.await_known()
    cluster.end_sessions(named)
    cluster.delete(1)  # an idle one may not ask the ledger for a while
    replica.says("started", times=2)
    replica.says("quarantined run " + run_id(1))

    assert cluster.states() == [held(1)]


def test_server_that_was_away_is_waited_for(tmp_path: Path) -> None:
    """Nothing moves without the ledger; when the server is back, work goes on."""
    with PostgreSQL.running() as server:
        cluster = Cluster(server, TrackingServer.on(server), tmp_path, new_schema(server))
        place = cluster.run(1)
        replica = cluster.start()
        replica.says("started")
        cluster.await_known()
        cluster.delete(1)
        replica.says("quarantined run " + run_id(1))
        server.stop(kills=True)
        replica.says("cannot be reached")
        server.start()
        replica.says("started", times=2)
        cluster.db.set_stage(run_id(1), "active")
        replica.says("restored run " + run_id(1))
        replica.end()

        assert (place / "model").read_bytes() == b"x" * 10
