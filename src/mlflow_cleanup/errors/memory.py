"""What can go wrong with the ledger and the lease."""

from __future__ import annotations

from mlflow_cleanup.errors.base import CleanupError


class LeaseHeld(CleanupError):
    """Another process holds the lease on this state directory."""

    def __init__(self, holder: str, state_dir: str) -> None:
        self.holder, self.state_dir = holder, state_dir
        super().__init__(
            f"another mlflow-cleanup works on this tracking database: {holder}; nothing was "
            "started. Stop it first, or use `mlflow-cleanup status` to look at it."
        )


class LeaseLost(CleanupError):
    """The lock file was taken away while the lease was held: another process may have one too."""

    def __init__(self, path: str, *, is_on_server: bool = False) -> None:
        self.path, self.is_on_server = path, is_on_server
        if is_on_server:
            super().__init__(
                f"the connection that holds our lock on the tracking database {path} was lost, so "
                "another process may work there by now; nothing was moved or removed since, and "
                "the lock is taken again as soon as it is free"
            )
            return
        super().__init__(
            f"the lock file {path} was removed or replaced while it was held, so another process "
            "may work here too; nothing was moved or removed since. Start this one again."
        )


class LeaseTaken(LeaseLost):
    """The lease on a ledger's server is held no more, or nothing was heard of it for too long."""

    def __init__(self, name: str, detail: str) -> None:
        # It is not taken up again in the middle: everything begins anew then.
        self.path, self.detail, self.is_on_server = name, detail, False
        CleanupError.__init__(
            self,
            f"the lease on the ledger {name} is not held any more ({detail}), so another process "
            "may work here too; nothing was moved or removed since. A monitor takes it up again by "
            "itself when it is free; anything else has to be started again.",
        )


class LedgerMissing(CleanupError):
    """A reading command found no ledger."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"there is no ledger at {path}: nothing has been watched from here yet. "
            "Run this in the directory of mlflow.db, or give --backend-store-uri or --state-dir."
        )


class LedgerUnwritable(CleanupError):
    """The ledger could not record an intent; without one nothing is moved or removed."""

    def __init__(self, path: str, detail: str) -> None:
        self.path, self.detail = path, detail
        super().__init__(
            f"the ledger {path} cannot be written ({detail}); nothing was moved or removed. "
            "Free space or repair permissions there; work resumes by itself."
        )


class LedgerFull(LedgerUnwritable):
    """The disk is full; the ledger gave up its reserve, so that trying again can succeed."""


class OutcomeUntold(LedgerUnwritable):
    """What became of a request could not be left for whoever waits for it; it is kept meanwhile."""

    def __init__(self, path: str, detail: str) -> None:
        self.path, self.detail = path, detail
        CleanupError.__init__(
            self,
            f"what became of a request cannot be written to the ledger {path} ({detail}): what was "
            "done is done and stands in `mlflow-cleanup history`, and whoever waits for it is told "
            "as soon as there is room",
        )


class LedgerUnreachable(LedgerUnwritable):
    """The server with the ledger cannot be reached."""

    def __init__(self, name: str, detail: str) -> None:
        self.path, self.detail = name, detail
        CleanupError.__init__(
            self,
            f"the ledger {name} cannot be reached ({detail}); nothing was moved or removed",
        )


class LedgerLost(LedgerUnreachable):
    """The connection to the ledger broke: whether its last entry was made is not known."""

    def __init__(self, name: str, detail: str) -> None:
        self.path, self.detail = name, detail
        CleanupError.__init__(
            self,
            f"the connection to the ledger {name} broke ({detail}); nothing was moved or removed "
            "since, and the next start finishes or reverts what was in hand",
        )


class LedgerRefused(LedgerUnwritable):
    """The server with the ledger lets us not in, or not make or change its tables."""

    def __init__(self, name: str, detail: str) -> None:
        self.path, self.detail = name, detail
        CleanupError.__init__(
            self,
            f"the server refuses the ledger {name} ({detail}); nothing was started. Check user, "
            "password, database and permissions of --ledger.",
        )


class LedgerDriverMissing(LedgerUnwritable):
    """The Python package that connects to PostgreSQL is not installed."""

    def __init__(self, name: str) -> None:
        self.path, self.detail = name, "the driver psycopg is not installed"
        CleanupError.__init__(
            self,
            f"the ledger {name} cannot be opened, as the driver psycopg is not installed; nothing "
            "was started. Install it with `pip install 'mlflow-cleanup[postgres]'`.",
        )


class LedgerReplaced(LedgerUnwritable):
    """The ledger's file was removed or replaced while it was open."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "its file was removed or replaced while it was open: start again")
