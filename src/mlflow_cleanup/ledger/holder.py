"""Who holds the lease, as it is told."""

from __future__ import annotations

from dataclasses import dataclass

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
