"""Reading MySQL and MariaDB tracking databases."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from mlflow_cleanup.backends.attention import Attention
from mlflow_cleanup.backends.base import Columns, Probe, ServerLock, Traits
from mlflow_cleanup.backends.held import Held, HeldLock
from mlflow_cleanup.backends.servers import engine_of, grouped, told
from mlflow_cleanup.model.database import Database

ANSWER_S = 120
"""How long one query may run: reading every claim of a million runs takes a few seconds."""

_COLUMNS = text(
    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = database()"
)
_MADE = text(
    "SELECT unix_timestamp(min(create_time)) FROM information_schema.tables "
    "WHERE table_schema = database() AND table_name IN ('runs', 'experiments')"
)
_READ_ONLY = ("@@GLOBAL.read_only", "@@GLOBAL.super_read_only")
_SERVER_IDS = ("@@server_uuid", "@@server_uid")
_POSITIONS = ("@@GLOBAL.gtid_executed", "@@GLOBAL.gtid_binlog_pos")
_OFF = ("0", "off", "")

# The place in InnoDB's log moves with every write, whoever commits it; reads leave it alone.
_SEEN = (
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_lsn_current', "
    "'Innodb_redo_log_current_lsn', 'Innodb_os_log_written')"
)

_WRITTEN = (
    "SELECT /*+ SET_VAR(information_schema_stats_expiry = 0) */ update_time "
    "FROM information_schema.tables WHERE table_schema = database() AND table_name = 'runs'"
)
"""MySQL would answer from a cache that is a day old; for MariaDB that is a comment."""

_TRY_LOCK = "SELECT get_lock(concat('mlflow-cleanup.', md5(database())), 0)"
_HAS_LOCK = "SELECT is_used_lock(concat('mlflow-cleanup.', md5(database()))) = connection_id()"
_HOLDER = (
    "SELECT substring_index(host, ':', 1), now() - INTERVAL time SECOND "
    "FROM information_schema.processlist "
    "WHERE id = is_used_lock(concat('mlflow-cleanup.', md5(database())))"
)


class MySQL:
    """A database on a MySQL or MariaDB server, read only."""

    def __init__(self, database: Database, wait_s: float) -> None:
        self.database, self._wait_s = database, wait_s
        self._engine = engine_of(database)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open, read one moment in one short transaction that changes nothing, and close."""
        with told(self.database, self._wait_s), self._engine.connect() as connection:
            self._begin(connection)
            try:
                yield connection
            finally:
                connection.rollback()

    def shape(self, connection: Connection) -> Hashable | None:  # noqa: ARG002 - the protocol's
        """Return None: only looking at the tables tells what they are."""
        return None

    def columns(self, connection: Connection, tables: Iterable[str] | None = None) -> Columns:
        """Look at the tables and columns that are there."""
        return grouped(connection.execute(_COLUMNS), tables)

    def traits(self, connection: Connection) -> Traits:
        """Read by what this database is recognised."""
        made = connection.execute(_MADE).scalar()
        server = _variable(connection, _SERVER_IDS)
        position = _variable(connection, _POSITIONS)
        return Traits(
            change_count=_transactions_in(position) if position else None,
            schema_count=None if made is None else int(made),
            server=server,
            is_standby=any(_is_on(connection, name) for name in _READ_ONLY),
        )

    def probe(self) -> Probe:
        """Return what tells whether something changed."""
        return _Probe(self.database)

    def lock(self) -> ServerLock:
        """Return the lock that excludes whoever acts on the same database from elsewhere."""
        return HeldLock(Held(self.database), (_TRY_LOCK, _HAS_LOCK, _HOLDER), {})

    def _begin(self, connection: Connection) -> None:
        is_mariadb = connection.dialect.is_mariadb  # type: ignore[attr-defined]
        limit = (
            f"max_statement_time = {ANSWER_S}"
            if is_mariadb
            else f"max_execution_time = {ANSWER_S * 1000}"
        )
        for statement in (
            f"SET SESSION {limit}, SESSION lock_wait_timeout = {max(int(self._wait_s), 1)}",
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        ):
            connection.exec_driver_sql(statement)


class _Probe:
    """One small connection without a transaction; any write to the server is a change.

    The log moves a moment before what is written can be seen, so after each change it says once
    more that there was one.
    """

    def __init__(self, database: Database) -> None:
        self._held, self._attention = Held(database), Attention()
        self._is_unsettled = True

    def changed(self) -> bool:
        is_new = self._attention.is_called_for(self._look(), self._held.ask(_WRITTEN))
        is_changed = is_new or self._is_unsettled
        self._is_unsettled = is_new
        return is_changed

    def settle(self, sleep: Callable[[float], object] = time.sleep) -> None:
        """Nothing to wait for here: see above."""

    def version(self) -> Hashable | None:
        """Return None: the log does not say when a commit became visible."""
        return None

    def close(self) -> None:
        self._held.close()

    def _look(self) -> Hashable | None:
        rows = self._held.ask_all(_SEEN)
        if rows is None:
            return None
        # Where it does not say anything, everything may have happened.
        return tuple(sorted(map(tuple, rows))) or time.monotonic()


def _variable(connection: Connection, names: Iterable[str]) -> str | None:
    """Return the first of these variables that this server has, None where it is empty."""
    for name in names:
        try:
            value: Any = connection.exec_driver_sql(f"SELECT {name}").scalar()
        except DBAPIError:
            continue  # MariaDB's and MySQL's names differ; the transaction goes on
        return None if value in (None, "") else str(value)
    return None


def _is_on(connection: Connection, name: str) -> bool:
    return str(_variable(connection, (name,)) or "").lower() not in _OFF


def _transactions_in(position: str) -> int:
    """Count the transactions of a GTID position, MySQL's `uuid:1-5:7` or MariaDB's `0-1-5`."""
    total = 0
    for part in re.split(r"[,\s]+", position.strip()):
        mariadb = re.fullmatch(r"\d+-\d+-(\d+)", part)
        if mariadb:
            total += int(mariadb[1])
            continue
        for interval in part.split(":")[1:]:
            first, _, last = interval.partition("-")
            if first.isdecimal():
                total += int(last or first) - int(first) + 1
    return total
