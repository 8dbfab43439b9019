from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from mlflow_cleanup.config import ledger_server_of
from mlflow_cleanup.errors import LeaseHeld, LeaseLost, LeaseTaken, LedgerLost, LedgerUnwritable
from mlflow_cleanup.ledger import fence as fences
from mlflow_cleanup.ledger import session_lock
from mlflow_cleanup.ledger.lease import Lease, current_holder
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.ledger_home import LedgerServer
from tests.kit.homes import new_schema
from tests.kit.programs import until
from tests.kit.servers import free_port
from tests.kit.servers.postgresql import PostgreSQL

FD_SETSIZE = 1024
"""What select() can name on most systems."""


@pytest.fixture
def server(postgresql: PostgreSQL) -> LedgerServer:
    """A schema that is not there yet."""
    return new_schema(postgresql)


@pytest.fixture
def first(server: LedgerServer) -> Iterator[Lease]:
    """A lease that is held."""
    with Lease([server], "first") as lease:
        yield lease


def end_lease(postgresql: PostgreSQL, server: LedgerServer) -> None:
    """Let the server end the connection that holds the lease, as if nothing were heard of it."""
    ended = postgresql.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        f"WHERE application_name = 'mlflow-cleanup lease {server.schema}'"
    )
    assert ended == [(True,)]


def test_only_one_holds_it(server: LedgerServer, first: Lease) -> None:
    """Whoever comes second is told who it is, and everybody may look."""
    with pytest.raises(LeaseHeld) as caught:
        Lease([server], "second").acquire()

    assert f"`first`, process {os.getpid()}" in caught.value.holder
    holder = current_holder(server)
    assert holder is not None
    assert (holder.what, holder.pid) == ("first", os.getpid())
    first.verify()


def test_many_open_files_take_no_lease_away(
    server: LedgerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection's descriptor may be any number: that of the thousandth file and later ones."""
    asked = threading.Event()
    monkeypatch.setattr(session_lock, "PING_S", 0.01)
    with ExitStack() as opened:
        while opened.enter_context(open(os.devnull, "rb")).fileno() < FD_SETSIZE:
            pass
        lock = session_lock.SessionLock(server, "first", None, asked.set)
        opened.callback(lock.release)
        asked.wait(5)
        assert not lock.fence.lost.is_set()
        assert asked.is_set()


def test_released_lease_is_free(server: LedgerServer) -> None:
    """After the holder let go, the next one takes it, with another number."""
    with Lease([server], "first") as lease:
        before = lease.fence
    assert current_holder(server) is None
    with Lease([server], "second") as lease:
        assert before is not None
        assert lease.fence is not None
        assert lease.fence.number > before.number


def test_looking_who_holds_it_makes_nothing(server: LedgerServer, postgresql: PostgreSQL) -> None:
    """Where nothing was watched yet nobody holds it."""
    assert current_holder(server) is None
    found = postgresql.execute(f"SELECT 1 FROM pg_namespace WHERE nspname = '{server.schema}'")
    assert found == []


def test_connection_that_ended_is_a_lease_that_is_lost(
    server: LedgerServer, first: Lease, postgresql: PostgreSQL
) -> None:
    """It is noticed without being asked, and for good."""
    end_lease(postgresql, server)
    until(lambda: first.is_lost, "the lease is lost")
    with pytest.raises(LeaseLost):
        first.verify()


def test_server_lets_go_of_who_says_nothing(first: Lease) -> None:
    """The connection is one that the server ends by itself when it is idle for ten seconds."""
    (lock,) = first._held
    told = lock._session.script("SHOW idle_session_timeout")  # type: ignore[union-attr]

    assert told is not None
    assert told[0] == "10s"
    assert fences.PING_S * 2 < fences.FRESH_S < fences.IDLE_S


def test_holder_that_heard_nothing_for_a_while_does_not_go_on(
    server: LedgerServer, first: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a pause of the whole process, its own clock tells: nobody has to be asked."""
    ledger = Ledger.open(server, first.fence)
    assert ledger.may_go_on()
    ledger.require_held()

    monkeypatch.setattr(fences, "FRESH_S", 0.0)
    assert not ledger.may_go_on()
    with pytest.raises(LeaseTaken):
        ledger.require_held()
    ledger.close()


def test_next_holder_ends_what_the_last_one_has_open(
    server: LedgerServer, first: Lease, postgresql: PostgreSQL
) -> None:
    """One that was paused in the middle of a transaction stands in nobody's way, and never did."""
    ledger = Ledger.open(server, first.fence)
    end_lease(postgresql, server)
    with pytest.raises(LedgerLost), ledger.transaction():  # noqa: PT012 - all of it is in it
        ledger.set_fact("telling", "first")
        with Lease([server], "second") as second:
            with closing(Ledger.open(server, second.fence)) as now:
                now.set_fact("telling", "second")
            ledger.set_fact("telling", "too late")
    with closing(Ledger.read(server)) as reader:
        assert reader.fact("telling") == "second"
    ledger.close()


def test_holder_of_before_writes_nothing(
    server: LedgerServer, first: Lease, postgresql: PostgreSQL
) -> None:
    """Also where its connection lives on: the number of its holding is not the last one."""
    ledger = Ledger.open(server, first.fence)
    ledger._file.connection.execute("SET application_name = 'not to be found'")
    end_lease(postgresql, server)
    with Lease([server], "second"):
        with pytest.raises(LeaseTaken):
            ledger.set_fact("telling", "too late")
        with pytest.raises(LeaseTaken):
            ledger.require_held()
    assert ledger.fact("telling") is None
    ledger.close()


def test_verbs_write_without_the_lease(server: LedgerServer, first: Lease) -> None:
    """Requests and answers come from whoever has something to ask."""
    with closing(Ledger.open(server)) as verb:
        number = verb.requests.post("restore", ["a"])
    with closing(Ledger.open(server, first.fence)) as ledger:
        assert [one.id for one in ledger.requests.waiting()] == [number]


def test_holder_is_woken_at_once(server: LedgerServer) -> None:
    """From wherever the request was left: the server tells."""
    woken = threading.Event()
    with Lease([server], "first", wake=woken.set), closing(Ledger.open(server)) as verb:
        verb.wake()
        assert woken.wait(10)


def test_lease_on_a_server_that_is_not_there_is_an_error_of_ours() -> None:
    """Said as what it is."""
    with pytest.raises(LedgerUnwritable):
        Lease([ledger_server_of(f"postgresql://127.0.0.1:{free_port()}/x")], "first").acquire()
