"""Holding the lease is what permits acting: one process for each state directory."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from mlflow_cleanup.errors import LeaseHeld, LedgerUnwritable

LOCK_FILE = "lease.lock"
HOLDER_FILE = "lease.json"
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
        return f"`{self.what}`, process {self.pid} on {self.host}, since {self.since}"


class Lease:
    """The operating system's lock on `lease.lock`; it ends with the process, however that ends."""

    def __init__(self, state_dir: Path, what: str) -> None:
        self._state_dir, self._what = state_dir, what
        self._lock = FileLock(state_dir / LOCK_FILE, thread_local=False)

    @property
    def is_held(self) -> bool:
        """Tell whether this object holds it."""
        return self._lock.is_locked

    def acquire(self) -> None:
        """Take the lease; raises LeaseHeld naming the holder."""
        try:
            self._state_dir.mkdir(exist_ok=True)
            self._lock.acquire(timeout=WAIT_S, poll_interval=0.05)
        except Timeout as error:
            raise LeaseHeld(
                str(read_holder(self._state_dir) or "unknown"), str(self._state_dir)
            ) from error
        except OSError as error:
            raise LedgerUnwritable(str(self._state_dir), str(error)) from error
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "what": self._what,
        }
        try:
            (self._state_dir / HOLDER_FILE).write_text(json.dumps(holder), encoding="utf-8")
        except OSError as error:
            self._lock.release()
            raise LedgerUnwritable(str(self._state_dir / HOLDER_FILE), str(error)) from error

    def release(self) -> None:
        """Give it back; harmless when it is not held."""
        if self._lock.is_locked:
            (self._state_dir / HOLDER_FILE).unlink(missing_ok=True)
            self._lock.release()

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


def current_holder(state_dir: Path) -> Holder | None:
    """Say who holds the lease now, None when it is free; a crashed holder's note does not count."""
    if not (state_dir / LOCK_FILE).exists():
        return None
    probe = FileLock(state_dir / LOCK_FILE)
    try:
        with probe.acquire(timeout=0):
            return None
    except Timeout:
        return read_holder(state_dir)
    except OSError:
        return read_holder(state_dir)  # not ours to lock: the note is all there is to go by


def read_holder(state_dir: Path) -> Holder | None:
    """Read the note that a holder leaves beside the lock."""
    try:
        told = json.loads((state_dir / HOLDER_FILE).read_text(encoding="utf-8"))
        return Holder(told["pid"], told["host"], told["since"], told["what"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
