"""Opening the ledger in its home, whichever that is."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mlflow_cleanup.errors import LedgerDriverMissing
from mlflow_cleanup.ledger.sqlite import LedgerFile
from mlflow_cleanup.model.ledger_home import LedgerHome, LedgerServer

if TYPE_CHECKING:
    from mlflow_cleanup.ledger.database import LedgerDatabase
    from mlflow_cleanup.ledger.fence import Fence


def open_to_write(home: LedgerHome, fence: Fence | None = None) -> LedgerDatabase:
    """Open or create the ledger; `fence` is that of the lease on a server that is held."""
    if isinstance(home, LedgerServer):
        require_driver(home)
        from mlflow_cleanup.ledger.postgresql import LedgerSchema  # noqa: PLC0415 - an extra

        return LedgerSchema.open_to_write(home, fence)
    return LedgerFile.open_to_write(home)


def open_to_read(home: LedgerHome) -> LedgerDatabase:
    """Open the ledger without ever writing; raises LedgerMissing."""
    if isinstance(home, LedgerServer):
        require_driver(home)
        from mlflow_cleanup.ledger.postgresql import LedgerSchema  # noqa: PLC0415 - an extra

        return LedgerSchema.open_to_read(home)
    return LedgerFile.open_to_read(home)


def require_driver(server: LedgerServer) -> None:
    """Raise LedgerDriverMissing where no server can be reached."""
    try:
        importlib.import_module("psycopg")
    except ImportError as error:
        raise LedgerDriverMissing(server.name) from error
