"""What is PostgreSQL's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select, text
from sqlalchemy.exc import DBAPIError

LONGEST_STATEMENT_S = 300
"""A run with millions of metrics goes in one statement; a broken one must not go on for ever."""

_IDLE_S = 60
"""If this process is stopped in the middle of a batch, its locks go before somebody asks why."""

_BUSY = frozenset({"55P03", "40001", "40P01"})  # lock time-out, serialisation, deadlock
_REFUSAL_CLASSES = ("23", "27", "57014", "P0", "21", "22", "2F", "38", "39")


class PostgreSQL:
    """Any PostgreSQL since 11."""

    still_level = "READ COMMITTED"

    def prepare(self, connection: Connection, wait_s: float) -> None:
        """Set time-outs for this connection only."""
        for name, value_s in (
            ("lock_timeout", wait_s),
            ("statement_timeout", LONGEST_STATEMENT_S),
            ("idle_in_transaction_session_timeout", _IDLE_S),
        ):
            connection.execute(select(func.set_config(name, f"{int(value_s * 1000)}ms", False)))
        # Rows that are hidden from us would hold what goes, and go with nothing: that is an error.
        connection.execute(select(func.set_config("row_security", "off", False)))

    def refusal_to_write(self, connection: Connection) -> str | None:
        """Tell a standby, and a role or database that was set to read only."""
        if connection.scalar(select(func.pg_is_in_recovery())):
            return "the server is a standby, which can only be read: name the primary server"
        if connection.scalar(text("SHOW transaction_read_only")) == "on":
            return "the server lets nothing be written: default_transaction_read_only is on"
        return None

    def is_busy(self, error: DBAPIError) -> bool:
        """Go by SQLSTATE."""
        return _state(error) in _BUSY

    def is_refusal(self, error: DBAPIError) -> bool:
        """Constraints, triggers that raise, and a statement that takes too long."""
        return _state(error).startswith(_REFUSAL_CLASSES)

    def stand_still(self, connection: Connection, tables: Sequence[str]) -> None:
        """Lock tables against all that write to them; reading goes on."""
        quoted = [connection.dialect.identifier_preparer.quote(name) for name in tables]
        if quoted:
            connection.exec_driver_sql(
                f"LOCK TABLE {', '.join(quoted)} IN SHARE ROW EXCLUSIVE MODE"
            )

    def reading_still(self, query: Select[Any]) -> Select[Any]:
        """The table is locked already."""
        return query

    def shrink(self, connection: Connection, table: str) -> None:
        """Have the room used again; what is free at a table's end goes back to the disk."""
        quoted = connection.dialect.identifier_preparer.quote(table)
        connection.exec_driver_sql(f"VACUUM {quoted}")

    def size_bytes(self, connection: Connection, tables: Sequence[str]) -> int:
        """Ask for tables with their indexes and long values."""
        quoted = [connection.dialect.identifier_preparer.quote(name) for name in tables]
        size = text(
            "SELECT coalesce(sum(pg_total_relation_size(CAST(one AS regclass))), 0) "
            "FROM unnest(CAST(:n AS text[])) AS one"
        )
        return int(connection.scalar(size.bindparams(bindparam("n", quoted))) or 0)


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")
