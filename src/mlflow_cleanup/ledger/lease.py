"""Holding the lease is what permits acting: one process for each tracking database.

Two locks: one in the state directory, and one where the state directory lies by default, beside the
database, so that two state directories do not make two holders. Where nothing may be written beside
the database the first must do.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Protocol

from filelock import FileLock, Timeout

from mlflow_cleanup.errors import DatabaseGone, LeaseHeld, LeaseLost, LedgerUnwritable

LOCK_FILE = "lease.lock"
HOLDER_FILE = "lease.json"
MONITOR = "mlflow-cleanup monitor"
"""What a monitor says it is: of all holders only it answers requests."""

WAIT_S = 1.0
"""Long enough for a reader that only looks whether the lease is free to let go of it again."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lease."""

    pid: int
    host: str
    since: str
    what: str

    def __str__(self) -> str:
        if self == UNKNOWN:
            return f"a process whose note {HOLDER_FILE} cannot be read"
        return f"`{self.what}`, process {self.pid} on {self.host}, since {self.since}"


UNKNOWN = Holder(0, "", "", "")
"""Somebody holds the lease, but the note that says who is gone, or was written over."""


class ServerLock(Protocol):
    """The lock that a database's server keeps for one connection, as long as that lives."""

    def acquire(self) -> None:
        """Take it; raises LeaseHeld, or what keeps the server from being asked."""
        ...

    def verify(self) -> None:
        """Raise LeaseLost where it is not held any more."""
        ...

    def release(self) -> None:
        """Give it back; harmless when it is not held."""
        ...


class Lease:
    """The operating system's locks on `lease.lock`; they end with the process, however it ends.

    `places` are the state directory and, where that is another, the database's default one. Of a
    database on a server no file says who else works there: `server` is its own lock.
    """

    def __init__(self, places: Sequence[Path], what: str, server: ServerLock | None = None) -> None:
        self._what, self._places = what, list(dict.fromkeys(places))
        self._held: list[_Lock] = []
        self._server = server

    @property
    def is_held(self) -> bool:
        """Tell whether this object holds it."""
        return bool(self._held)

    def acquire(self, *, waits: bool = False) -> None:
        """Take the lease; raises LeaseHeld naming the holder.

        With `waits` a server that cannot be reached yet is no error: `renew` asks again.
        """
        try:
            for place in self._places:
                if place == self._places[0] or _can_be_locked(place):
                    self._held.append(_Lock(place, self._what))
            self._acquire_on_server(waits=waits)
        except BaseException:
            self.release()
            raise

    def verify(self) -> None:
        """Raise LeaseLost when a lock is not ours any more: another file, or no connection."""
        for lock in self._held:
            lock.verify()
        if self._server is not None:
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
            self._server.acquire()

    def _acquire_on_server(self, *, waits: bool) -> None:
        if self._server is None:
            return
        try:
            self._server.acquire()
        except DatabaseGone:
            if not waits:
                raise

    def release(self) -> None:
        """Give it back; harmless when it is not held."""
        if self._server is not None:
            self._server.release()
        while self._held:
            self._held.pop().release()

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

    def release(self) -> None:
        self._note.unlink(missing_ok=True)
        self._lock.release()


def current_holder(state_dir: Path) -> Holder | None:
    """Say who holds the lease now, None when it is free; a crashed holder's note does not count."""
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
