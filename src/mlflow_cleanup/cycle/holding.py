"""The lease on a tracking database: locks of files and, where it is on a server, one of that."""

from __future__ import annotations

from collections.abc import Callable

from mlflow_cleanup.backends.opening import open_backend
from mlflow_cleanup.config import Settings
from mlflow_cleanup.ledger.lease import Lease


def lease_of(settings: Settings, what: str, wake: Callable[[], None] | None = None) -> Lease:
    """Return the lease, not taken yet; raises DriverMissing.

    `wake` is called when somebody left a request in a ledger on a server.
    """
    return Lease(settings.lease_places, what, open_backend(settings.database).lock(), wake)
