"""What is MySQL's and MariaDB's own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import BindParameter, Connection, Select, bindparam, text
from sqlalchemy.exc import DBAPIError

_LONGEST_STATEMENT_S = 300
_IDLE_S = 60
"""If this process is stopped in the middle of a batch, its locks go before somebody asks why."""

# Lock time-out, deadlock, a lock that was not waited for, changed since it was read (MariaDB).
_BUSY = frozenset({1205, 1213, 3572, 1020})
_REFUSALS = frozenset(
    {
        *(1216, 1217, 1451, 1452, 1834, 3008),  # foreign keys
        *(1048, 1062, 1364, 3819, 4025),  # other constraints
        *(1644, 1172, 1242, 1264, 1292, 1406),  # triggers
        *(1969, 3024),  # took too long
    }
)


class MySQL:
    """MySQL since 5.7, and MariaDB since 10.3, with InnoDB."""

    still_level = "REPEATABLE READ"

    def prepare(self, connection: Connection, wait_s: float) -> None:
        """Set time-outs for this connection only."""
        connection.exec_driver_sql(
            f"SET SESSION innodb_lock_wait_timeout = {max(int(wait_s), 1)}, "
            f"lock_wait_timeout = {max(int(wait_s), 1)}"
        )
        for setting in (
            f"max_statement_time = {_LONGEST_STATEMENT_S}",
            f"idle_write_transaction_timeout = {_IDLE_S}",
        ):
            with suppress(DBAPIError):  # MariaDB has these; MySQL nothing like them
                connection.exec_driver_sql(f"SET SESSION {setting}")

    def refusal_to_write(self, connection: Connection) -> str | None:
        """Tell a server that was set to read only, which a replica is; administrators may write."""
        if connection.exec_driver_sql("SELECT @@GLOBAL.read_only").scalar() not in (0, "OFF"):
            return "the server is set to read only, as replicas are: name the primary server"
        return None

    def is_busy(self, error: DBAPIError) -> bool:
        """Go by the error's number."""
        return _number(error) in _BUSY

    def is_refusal(self, error: DBAPIError) -> bool:
        """Constraints, triggers that signal, and a statement that takes too long."""
        return _number(error) in _REFUSALS

    def stand_still(self, connection: Connection, tables: Sequence[str]) -> None:
        """LOCK TABLES would end the transaction; `reading_still` does it."""

    def reading_still(self, query: Select[Any]) -> Select[Any]:
        """Lock what is found and the gaps beside it, which REPEATABLE READ does with an index."""
        return query.with_for_update(read=True)

    def shrink(self, connection: Connection, table: str) -> None:
        """Have InnoDB write the table anew, which others hardly notice."""
        quoted = connection.dialect.identifier_preparer.quote(table)
        connection.exec_driver_sql(f"OPTIMIZE TABLE {quoted}").close()

    def size_bytes(self, connection: Connection, tables: Sequence[str]) -> int:
        """Ask for tables with their indexes and the room that is free in them."""
        size = text(
            "SELECT coalesce(sum(data_length + index_length + data_free), 0) "
            "FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN :n"
        )
        wanted: BindParameter[Any] = bindparam("n", list(tables), expanding=True)
        return int(connection.scalar(size.bindparams(wanted)) or 0)


def _number(error: DBAPIError) -> int:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0
