"""Which code reads which kind of database: a new kind gets its line here."""

from __future__ import annotations

import os

from mlflow_cleanup.backends.base import WAIT_S, Backend
from mlflow_cleanup.model.database import MYSQL, POSTGRESQL, SQLITE, Database


def open_backend(database: Database, wait_s: float = WAIT_S) -> Backend:
    """Return what reads a database, which is not connected to yet; raises DriverMissing."""
    if database.kind == SQLITE:
        from mlflow_cleanup.backends.sqlite import SQLite  # noqa: PLC0415 - see below

        return SQLite(database, wait_s)
    if database.kind == POSTGRESQL:
        from mlflow_cleanup.backends.postgresql import PostgreSQL  # noqa: PLC0415 - see below

        return PostgreSQL(database, wait_s)
    if database.kind == MYSQL:
        # Imported where it is used: nobody pays for the others.
        from mlflow_cleanup.backends.mysql import MySQL  # noqa: PLC0415

        return MySQL(database, wait_s)
    raise ValueError(f"no code reads databases of the kind {database.kind!r}")


def is_there(database: Database) -> bool:
    """Tell whether there can be a database: of a server, only connecting can tell."""
    return database.path is None or os.path.exists(database.path)
