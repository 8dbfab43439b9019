"""What is a server's own in removing rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Connection, Select
from sqlalchemy.exc import DBAPIError


class Dialect(Protocol):
    """One kind of server; nothing that it sets outlasts the connection."""

    still_level: str
    """The isolation level of transactions in which `stand_still` is to work."""

    def prepare(self, connection: Connection, wait_s: float) -> None:
        """Set how long locks are waited for, and what else holds for the whole connection."""

    def refusal_to_write(self, connection: Connection) -> str | None:
        """Say why nobody may write here: a standby, or a server that was set so."""

    def is_busy(self, error: DBAPIError) -> bool:
        """Tell whether another's lock was in the way, so that trying again may help."""

    def is_refusal(self, error: DBAPIError) -> bool:
        """Tell whether this very change is refused: by a constraint, a trigger, a time-out."""

    def stand_still(self, connection: Connection, tables: Sequence[str]) -> None:
        """Keep others from writing to tables until the transaction ends, where there is a way."""

    def reading_still(self, query: Select[tuple[object]]) -> Select[tuple[object]]:
        """Have a query keep others from adding to what it finds, where there is a way."""

    def shrink(self, connection: Connection, table: str) -> None:
        """Make the space of removed rows free for others; the connection commits by itself."""

    def size_bytes(self, connection: Connection, tables: Sequence[str]) -> int:
        """Return how much room tables take, with their indexes."""
