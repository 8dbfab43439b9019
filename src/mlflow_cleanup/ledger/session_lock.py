"""The lease on a server: a lock that belongs to a connection, and ends with it.

A thread of its own asks every two seconds whether it is still held. The server waits ten seconds
for that before it ends the connection, and lets the next one in; whoever was paused, or cut off,
knows by its own clock before that, and by the number of its holding ever after.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone

from mlflow_cleanup.errors import CleanupError, LeaseHeld, LeaseTaken, LedgerUnwritable
from mlflow_cleanup.ledger.fence import IDLE_S, PING_S, Fence
from mlflow_cleanup.ledger.holder import UNKNOWN, WAIT_S, Holder
from mlflow_cleanup.ledger.postgresql import channel_of, is_made, prepare, sessions_of
from mlflow_cleanup.ledger.session import Session, connect
from mlflow_cleanup.model.ledger_home import LedgerServer

_STEPS = 1 << 32

_IDLE_SINCE = 140_000
"""The version of the server from which it ends connections that say nothing."""

_HELD = (
    "FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND classid = {high} AND objid = {low}"
)


class SessionLock:
    """One lock, held by a connection of its own, with a row that says by whom."""

    def __init__(
        self,
        server: LedgerServer,
        what: str,
        wake: Callable[[], None] | None,
        beside: Callable[[], None],
    ) -> None:
        self._beside = beside
        self._key = _key_of(server)
        self._session = connect(server, f"mlflow-cleanup lease {server.schema}")
        self._is_over = threading.Event()
        try:
            prepare(self._session)
            self._acquire()
            self.fence = self._enter(what)
            self._listen(wake)
        except BaseException:
            self._session.close()
            raise
        self._keeper = threading.Thread(target=self._keep, name="mlflow-cleanup-lease", daemon=True)
        self._keeper.start()

    def verify(self) -> None:
        """Ask the server; raises LeaseLost when it is not held any more."""
        if self.fence.lost.is_set():
            raise self.fence.error()
        asked_s = time.monotonic()
        try:
            row = self._session.script(
                f"SELECT 1 {_HELD.format_map(self._key)} AND pid = pg_backend_pid()"
            )
        except CleanupError as error:
            self.fence.lose(getattr(error, "detail", str(error)))
            raise self.fence.error() from error
        if row is None:
            self.fence.lose("its lock is gone")
            raise self.fence.error()
        self.fence.heard(asked_s)

    def abandon(self) -> None:
        """Break the connection, and with it the lock."""
        self.fence.lose("its connection was broken off")
        self._session.abandon()

    def release(self) -> None:
        """Give it back."""
        self._is_over.set()
        if self.fence.is_fresh:
            self.fence.lose("it was given back")
        else:
            self._session.abandon()  # nobody may answer there any more
        self._session.close()
        if threading.current_thread() is not self._keeper:
            self._keeper.join(PING_S * 2)

    def _acquire(self) -> None:
        ends = time.monotonic() + WAIT_S
        # The server may not have noticed yet that the one before has ended.
        while not self._try():
            if time.monotonic() > ends:
                server = self._session.server
                raise LeaseHeld(str(_noted(self._session, self._key) or UNKNOWN), server.name)
            time.sleep(0.05)

    def _try(self) -> bool:
        row = self._session.script(f"SELECT pg_try_advisory_lock({self._key['whole']})")
        return row is not None and bool(row[0])

    def _enter(self, what: str) -> Fence:
        """Take the next number, and keep those before from writing anything any more."""
        session, asked_s = self._session, time.monotonic()
        row = session.script("SELECT number FROM holder")
        before = Fence(session.server.name, int(row[0]) if row else 0, asked_s)
        # One that was paused in the middle of a transaction would have everybody wait for it.
        with suppress(LedgerUnwritable):
            session.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = ?",
                (sessions_of(session.server, before),),
            )
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        # By a step that nobody makes twice: a server that forgot the last one must not repeat it.
        entered = session.execute(
            "UPDATE holder SET number = number + ?, backend = pg_backend_pid(), "
            "pid = ?, host = ?, since = ?, what = ? RETURNING number",
            (secrets.randbelow(_STEPS) + 1, os.getpid(), socket.gethostname(), since, what),
        ).fetchall()
        return Fence(session.server.name, entered[0][0], asked_s)

    def _listen(self, wake: Callable[[], None] | None) -> None:
        session = self._session
        if session.raw.info.server_version >= _IDLE_SINCE:
            session.script(f"SET idle_session_timeout = {int(IDLE_S * 1000)}")
        if wake is not None:
            session.raw.add_notify_handler(lambda _: wake())
            session.script(f"LISTEN {channel_of(session.server)}")

    def _wait(self) -> None:
        """Wait for what the server says by itself, for a while."""
        # Not select(), which takes no descriptor over 1,023.
        with selectors.DefaultSelector() as selector:
            selector.register(self._session.raw.fileno(), selectors.EVENT_READ)
            selector.select(PING_S)

    def _keep(self) -> None:
        """Ask again and again, at once when the server says something by itself."""
        while not self._is_over.is_set():
            try:
                self._wait()
                if not self._is_over.is_set():
                    self.verify()
                    self._beside()
            except LeaseTaken:
                return
            except Exception as error:  # noqa: BLE001 - whatever it was: it cannot be kept
                self.fence.lose(str(error))
                return


def holder_on(server: LedgerServer) -> Holder | None:
    """Say who holds the lease now, None when it is free."""
    session = connect(server, f"mlflow-cleanup {server.schema}")
    try:
        if not is_made(session):
            return None
        key = _key_of(server)
        held = session.script(f"SELECT pid {_HELD.format_map(key)}")
        return None if held is None else _noted(session, key) or UNKNOWN
    finally:
        session.close()


def _noted(session: Session, key: dict[str, int]) -> Holder | None:
    """Read who took it down that it holds the lease, once it has."""
    held = f"SELECT pid {_HELD.format_map(key)}"
    noted = f"SELECT holder.pid, host, since, what FROM holder WHERE backend IN ({held})"  # noqa: S608
    for _ in range(2):
        row = session.script(noted)
        if row is not None:
            return Holder(*row)
        time.sleep(0.2)
    return None


def _key_of(server: LedgerServer) -> dict[str, int]:
    """Return the number of the lock, whole and in two parts as the server lists it."""
    digest = hashlib.sha256(f"mlflow-cleanup {server.schema}".encode()).digest()
    whole = int.from_bytes(digest[:8], "big", signed=True)
    unsigned = whole % (1 << 64)
    return {"whole": whole, "high": unsigned >> 32, "low": unsigned & 0xFFFFFFFF}
