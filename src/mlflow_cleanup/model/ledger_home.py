"""Where the ledger lives: in a state directory, or in a schema on a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mlflow_cleanup.model.database import Database

SCHEMA = "mlflow_cleanup"
"""The usual name of the schema."""


@dataclass(frozen=True, slots=True)
class LedgerServer:
    """A schema in a PostgreSQL database; shown by the database's name, without any secret."""

    database: Database
    schema: str = SCHEMA

    @property
    def name(self) -> str:
        """What is shown of it."""
        return f"{self.database.name} (schema {self.schema})"

    def __str__(self) -> str:
        return self.name


LedgerHome: TypeAlias = Path | LedgerServer
"""A state directory, or a server."""
