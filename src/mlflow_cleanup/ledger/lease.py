"""Holding the lease is what permits acting: one process for each tracking database.

Two locks: one at the ledger's home, and one where the state directory lies by default, beside the
database's file, so that two ledgers do not make two holders. Where nothing may be written beside
the database the first must do. In a state directory they are the operating system's.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from filelock import FileLock, Timeout

from mlflow_cleanup.errors import DatabaseGone, LeaseHeld, LeaseLost, LedgerUnwritable
from mlflow_cleanup.ledger.fence import IDLE_S, Fence
from mlflow_cleanup.ledger.holder import HOLDER_FILE, MONITOR, UNKNOWN, WAIT_S, Holder
from mlflow_cleanup.ledger.opening import require_driver
from mlflow_cleanup.model.ledger_home import LedgerHome, LedgerServer

if TYPE_CHECKING:
    from mlflow_cleanup.ledger.session_lock import SessionLock

__all__ = ["HOLDER_FILE", "MONITOR", "Holder", "Lease", "current_holder", "read_holder"]

LOCK_FILE = "lease.lock"


class ServerLock(Protocol):
    """The lock that a database's server keeps for one connection, as long as that lives."""

    def acquire(self) -> None:
        """Take it; raises LeaseHeld, or what keeps the server from being asked."""
        ...

    def verify(self) -> None:
        """Raise LeaseLost where it is not held any more."""
        ...

    def expire_after(self, idle_s: float) -> None:
        """Have the server let go of it, where it can, when it is not asked for so long."""
        ...

    def release(self) -> None:
        """Give it back; harmless when it is not held."""
        ...


class Lease:
    """Locks that end with the process, however it ends.

    `places` are the ledger's home, which is locked in any case, and where the state directory lies
    by default. Of a database on a server no file says who else works there: `server` is its own
    lock. `wake` is called when somebody left a request in a ledger on a server.
    """

    def __init__(
        self,
        places: Sequence[LedgerHome],
        what: str,
        server: ServerLock | None = None,
        wake: Callable[[], None] | None = None,
    ) -> None:
        self._what, self._wake, self._places = what, wake, list(dict.fromkeys(places))
        self._held: list[_Lock | SessionLock] = []
        self._server, self._asking = server, threading.RLock()
        self.fence: Fence | None = None

    @property
    def is_held(self) -> bool:
        """Tell whether this object holds it."""
        return bool(self._held)

    def acquire(self, *, waits: bool = False) -> None:
        """Take the lease; raises LeaseHeld naming the holder.

        With `waits` a server that cannot be reached yet is no error: `renew` asks again.
        """
        try:
            # The one that others may wait for comes last.
            for place in sorted(self._places, key=lambda one: isinstance(one, LedgerServer)):
                if isinstance(place, LedgerServer):
                    self._take_session(place)
                elif place == self._places[0] or _can_be_locked(place):
                    self._held.append(_Lock(place, self._what))
            self._acquire_on_server(waits=waits)
        except BaseException:
            self.release()
            raise

    @property
    def is_lost(self) -> bool:
        """Tell, without asking, whether a lease on a server that was held is not any more."""
        return self.fence is not None and not self.fence.is_fresh

    def verify(self) -> None:
        """Raise LeaseLost when a lock is not ours any more: another file, or no connection."""
        for lock in self._held:
            lock.verify()
        if self._server is not None:
            with self._asking:
                self._server.verify()

    def renew(self) -> None:
        """Do the same, but take the server's lock again where it was lost with its connection.

        Raises LeaseHeld where somebody else has it by now. Not for the middle of any work.
        """
        try:
            self.verify()
        except LeaseLost as error:
            if not error.is_on_server or self._server is None:
                raise
            self._acquire_on_server(waits=False)

    def _acquire_on_server(self, *, waits: bool) -> None:
        if self._server is None:
            return
        try:
            with self._asking:
                self._server.acquire()
                if self.fence is not None:
                    self._server.expire_after(IDLE_S)
        except DatabaseGone:
            if not waits:
                raise

    def release(self) -> None:
        """Give it back; harmless when it is not held."""
        if self._server is not None:
            with self._asking:
                self._server.release()
        while self._held:
            self._held.pop().release()
        self.fence = None

    def abandon(self) -> None:
        """Have nobody wait any longer for the ledger's server; called from another thread."""
        for lock in self._held:
            lock.abandon()

    def _keep_other(self) -> None:
        """Let the tracking database's server see that we live; what it says is for `verify`."""
        if self._server is not None:
            with suppress(Exception), self._asking:
                self._server.verify()

    def _take_session(self, server: LedgerServer) -> None:
        require_driver(server)
        from mlflow_cleanup.ledger.session_lock import SessionLock  # noqa: PLC0415 - an extra

        lock = SessionLock(server, self._what, self._wake, self._keep_other)
        self._held.append(lock)
        self.fence = lock.fence

    def __enter__(self) -> Lease:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _can_be_locked(place: Path) -> bool:
    """Tell whether a lock can be made in a directory, or the directory itself."""
    return any(os.access(path, os.W_OK | os.X_OK) for path in (place, place.parent))


class _Lock:
    """One locked file, with a note of the holder beside it."""

    def __init__(self, place: Path, what: str) -> None:
        self._path, self._note = place / LOCK_FILE, place / HOLDER_FILE
        self._lock = FileLock(self._path, thread_local=False)
        try:
            place.mkdir(exist_ok=True)
            self._lock.acquire(timeout=WAIT_S, poll_interval=0.05)
        except Timeout as error:
            raise LeaseHeld(str(read_holder(place) or "unknown"), str(place)) from error
        except OSError as error:
            raise LedgerUnwritable(str(place), str(error)) from error
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "what": what,
        }
        try:
            self._file = os.stat(self._path)
            self._note.write_text(json.dumps(holder), encoding="utf-8")
        except OSError as error:
            self._lock.release()
            raise LedgerUnwritable(str(self._note), str(error)) from error

    def verify(self) -> None:
        try:
            is_same = os.path.samestat(os.stat(self._path), self._file)
        except OSError:
            is_same = False
        if not is_same:
            raise LeaseLost(str(self._path))

    def abandon(self) -> None:
        """Nothing waits for an answer here."""

    def release(self) -> None:
        self._note.unlink(missing_ok=True)
        self._lock.release()


def current_holder(home: LedgerHome) -> Holder | None:
    """Say who holds the lease now, None when it is free; a crashed holder's note does not count."""
    if isinstance(home, LedgerServer):
        require_driver(home)
        from mlflow_cleanup.ledger.session_lock import holder_on  # noqa: PLC0415 - an extra

        return holder_on(home)
    return _holder_in(home)


def _holder_in(state_dir: Path) -> Holder | None:
    if not (state_dir / LOCK_FILE).exists():
        return None
    probe = FileLock(state_dir / LOCK_FILE)
    # Without a note it may be another reader that looks just now: that one lets go of it soon.
    for wait_s in (0.0, WAIT_S):
        try:
            with probe.acquire(timeout=wait_s, poll_interval=0.05):
                return None
        except Timeout:
            if (holder := read_holder(state_dir)) is not None:
                return holder
        except OSError:
            return read_holder(state_dir)  # not ours to lock: the note is all there is to go by
    return UNKNOWN


def read_holder(state_dir: Path) -> Holder | None:
    """Read the note that a holder leaves beside the lock."""
    try:
        told = json.loads((state_dir / HOLDER_FILE).read_text(encoding="utf-8"))
        return Holder(told["pid"], told["host"], told["since"], told["what"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
