"""Everything that can go wrong on purpose: each error says what happened, what did not, what to do.

The facts of an error are attributes; the exit code it leads to stands in one table, `cli.exits`.
"""

from __future__ import annotations

from collections.abc import Sequence


class CleanupError(Exception):
    """The root of all errors that mlflow-cleanup raises by itself."""


class BadUsage(CleanupError):
    """An option, environment variable or configuration key that cannot be understood."""


class UnsupportedBackend(CleanupError):
    """The tracking database is of a kind that cannot be watched."""

    def __init__(self, uri: str, hint: str) -> None:
        self.uri = uri
        super().__init__(f"cannot watch the tracking store {uri!r}; nothing was touched. {hint}")


class TrackingUnreadable(CleanupError):
    """The tracking database could not be read: nothing is judged until it can be."""


class DatabaseMissing(TrackingUnreadable):
    """There is no tracking database where one was expected."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"there is no tracking database at {path}; nothing was touched. "
            "Give its place with --backend-store-uri sqlite:///PATH, or start in its directory."
        )


class NotATrackingDatabase(TrackingUnreadable):
    """The file is no SQLite database, or has no MLflow tables."""

    def __init__(self, path: str, detail: str) -> None:
        self.path, self.detail = path, detail
        super().__init__(
            f"{path} is not an MLflow tracking database ({detail}); nothing was touched. "
            "Check --backend-store-uri."
        )


class DatabaseNotReady(NotATrackingDatabase):
    """The database has no MLflow tables yet: as a rule, MLflow is about to make them."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "it has no MLflow tables, or not all of them yet")


class DatabaseBusy(TrackingUnreadable):
    """Another process holds a lock on the tracking database for longer than we wait."""

    def __init__(self, path: str, waited_s: float) -> None:
        self.path, self.waited_s = path, waited_s
        super().__init__(
            f"the tracking database {path} has been locked by another process for more than "
            f"{waited_s:g} s; nothing was touched, and the next attempt follows by itself"
        )


class DriverMissing(TrackingUnreadable):
    """The Python package that connects to a kind of database is not installed."""

    def __init__(self, database: str, module: str, extra: str) -> None:
        self.database, self.module, self.extra = database, module, extra
        super().__init__(
            f"the tracking database {database} cannot be read: the driver {module} is not "
            f"installed; nothing was touched. Install it with `pip install "
            f"'mlflow-cleanup[{extra}]'`."
        )


class DatabaseGone(TrackingUnreadable):
    """The server of a tracking database cannot be reached, or ended the connection."""

    def __init__(self, database: str, detail: str) -> None:
        self.database, self.detail = database, detail
        super().__init__(
            f"the tracking database {database} cannot be reached ({detail}); nothing was touched, "
            "and the next attempt follows by itself"
        )


class DatabaseRefused(TrackingUnreadable):
    """The server is there and lets us not in, or not at these tables."""

    def __init__(self, database: str, detail: str) -> None:
        self.database, self.detail = database, detail
        super().__init__(
            f"the server refuses the tracking database {database} ({detail}); nothing was touched. "
            "Check user, password and database name in --backend-store-uri: they are those of "
            "MLflow's server."
        )


class TrackingUnwritable(CleanupError):
    """The tracking database let no rows be removed."""

    def __init__(self, path: str, detail: str) -> None:
        self.path, self.detail = path, detail
        super().__init__(
            f"the tracking database {path} let no rows be removed ({detail}); what was told as "
            "removed is, no other row is gone, though its files may be. Repair that and start "
            "again: it goes on."
        )


class NoRoomToVacuum(TrackingUnwritable):
    """There is not enough free space to make a tracking database smaller."""

    def __init__(self, path: str, directory: str, needed_bytes: int, free_bytes: int) -> None:
        self.path, self.directory = path, directory
        self.needed_bytes, self.free_bytes = needed_bytes, free_bytes
        CleanupError.__init__(
            self,
            f"to give its free space back, the tracking database {path} needs {needed_bytes} bytes "
            f"in {directory} for a moment, and {free_bytes} are free there; it is as it was. Make "
            "room, or let SQLITE_TMPDIR name a directory on another disk.",
        )


class RegistryGone(TrackingUnreadable):
    """The model registry that was given before is not there, and nobody said that it is over."""

    def __init__(self, path: str, database: str) -> None:
        self.path = path
        super().__init__(
            f"the model registry {path}, given at an earlier start, is not there any more: what "
            "its versions claim cannot be read, and nothing was touched. Give its new place with "
            "--registry-store-uri. To forget it, as the registry is in the tracking database by "
            f"now, give that: --registry-store-uri sqlite:///{database}"
        )


class RegistryNotGiven(TrackingUnreadable):
    """The model registry that was given before is on a server, and was not given this time."""

    def __init__(self, database: str) -> None:
        self.database = database
        super().__init__(
            f"the model registry {database} was given at an earlier start and not now; its "
            "password is written down nowhere, so what its versions claim cannot be read, and "
            "nothing was touched. Give it again with --registry-store-uri. To forget it, as the "
            "registry is in the tracking database by now, give that one's URI there."
        )


class StoreUnreachable(CleanupError):
    """An artifact root cannot be seen; nothing under it is judged clean, moved or removed."""

    def __init__(self, root: str, detail: str) -> None:
        self.root, self.detail = root, detail
        super().__init__(
            f"artifact root {root} is unreachable: {detail}; nothing there was touched"
        )


class NoRoot(StoreUnreachable):
    """A place lies under no artifact root that is configured."""

    def __init__(self, root: str) -> None:
        super().__init__(root, "it is no artifact root here; add it with --artifact-root")


class RootTwice(StoreUnreachable):
    """Two artifact roots are one place."""

    def __init__(self, root: str, other: str, *, hint: str = "") -> None:
        self.other = other
        super().__init__(
            root,
            f"it is the same place as the artifact root {other}, as by a bind mount, so that "
            "each place has two names and a claim only one of them. Configure one of the two"
            f"{hint}",
        )


class ForeignOwner(StoreUnreachable):
    """An artifact root carries the owner marker of another tracking database."""

    def __init__(self, root: str, owner: str) -> None:
        self.owner = owner
        super().__init__(
            root,
            f"its marker .mlflow-cleanup/owner.json belongs to another tracking database "
            f"({owner}). If it is meant to serve this one, run `mlflow-cleanup adopt {root}`",
        )


class UnsafePlace(CleanupError):
    """A path runs through a symbolic link, a mount point or something that is no directory."""

    def __init__(self, path: str, detail: str) -> None:
        self.path, self.detail = path, detail
        super().__init__(f"{path} was left alone: {detail}")


class QuarantineFailed(CleanupError):
    """A directory could not be moved into the trash; it is where it was."""

    def __init__(self, path: str, detail: str) -> None:
        self.path, self.detail = path, detail
        super().__init__(f"{path} could not be moved into the trash: {detail}; it is where it was")


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


class PlanRefused(CleanupError):
    """A safeguard stopped the whole plan."""

    def __init__(self, plan_id: str, reason: str) -> None:
        self.plan_id, self.reason = plan_id, reason
        super().__init__(
            f"refused plan {plan_id}: {reason}. Nothing was moved. "
            f"If it was meant: `mlflow-cleanup confirm {plan_id}`; if this is another database on "
            f"purpose: `mlflow-cleanup confirm {plan_id} --forget`, which leaves all files alone."
        )


class SweepRefused(PlanRefused):
    """A plan would take more at once than is believed without asking."""

    def __init__(self, plan_id: str, reason: str) -> None:
        self.plan_id, self.reason = plan_id, reason
        CleanupError.__init__(
            self,
            f"refused plan {plan_id}: {reason}. Nothing was moved. Look at `mlflow-cleanup plan`; "
            f"if it was meant: `mlflow-cleanup confirm {plan_id}`, and once more.",
        )


class PlanOutdated(CleanupError):
    """A saved plan that may not be carried out (any more)."""

    def __init__(self, plan_id: str, why: str) -> None:
        self.plan_id, self.why = plan_id, why
        super().__init__(
            f"plan {plan_id} was not carried out: {why}; nothing was moved. "
            "Make a new one with `mlflow-cleanup plan -o FILE`."
        )


class BadSelection(CleanupError):
    """Something was selected for removal that is not there, or may not be removed."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = problems
        super().__init__("nothing was removed: " + "; ".join(problems))


class PlanBrokenOff(CleanupError):
    """Something ended a plan in the middle."""

    def __init__(self, plan_id: str, done: int, steps: int, why: str) -> None:
        self.plan_id, self.done, self.steps, self.why = plan_id, done, steps, why
        super().__init__(
            f"plan {plan_id} was broken off after {done} of {steps} steps: {why}. What was in hand "
            "is finished or taken back by the next cycle; `mlflow-cleanup history` shows what was "
            "done. Carry the plan out again to go on."
        )


class UnknownItems(CleanupError):
    """Ids were named that the ledger has nothing in the trash for."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = tuple(ids)
        super().__init__(
            f"nothing in the trash for {', '.join(self.ids)}; nothing was changed. "
            "`mlflow-cleanup trash list` shows what is there."
        )


class ServerMissing(CleanupError):
    """MLflow itself is not installed beside us."""

    def __init__(self) -> None:
        super().__init__(
            "MLflow is not installed in this environment, so its UI cannot be started. "
            "Install it with `pip install 'mlflow-cleanup[mlflow]'`."
        )


class OutputLost(CleanupError):
    """What a verb has to say could not be written to standard output."""

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(
            f"the output could not be written ({detail}). Whatever was done is done: "
            "`mlflow-cleanup history` and `mlflow-cleanup status` show it."
        )


class NotAnswered(CleanupError):
    """The process that holds the lease did not take up a request in time."""


class FailedThere(CleanupError):
    """The process that holds the lease could not do what was asked."""
