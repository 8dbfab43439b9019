"""What can go wrong with a tracking database, or a model registry."""

from __future__ import annotations

from mlflow_cleanup.errors.base import CleanupError


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
