"""Reading PostgreSQL tracking databases."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from mlflow_cleanup.backends.attention import Attention
from mlflow_cleanup.backends.base import Columns, Probe, ServerLock, Traits
from mlflow_cleanup.backends.held import Held, HeldLock
from mlflow_cleanup.backends.servers import engine_of, grouped, told
from mlflow_cleanup.errors import DatabaseBusy
from mlflow_cleanup.model.database import Database

ANSWER_MS = 120_000
"""How long one query may run: reading every claim of a million runs takes a few seconds."""

_IDLE_MS = 600_000  # what we leave open by mistake must not keep the server from cleaning up

_BEGUN = text(
    "SELECT set_config('statement_timeout', :answer_ms, true), "
    "set_config('lock_timeout', :wait_ms, true), "
    "set_config('idle_in_transaction_session_timeout', :idle_ms, true), "
    "set_config('row_security', 'off', true)"
)
"""Without row security a table of which some rows are hidden from us is an error: a claim that is
not seen would be taken for none."""

_COLUMNS = text(
    "SELECT c.relname, a.attname FROM pg_catalog.pg_attribute a "
    "JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped "
    "AND n.nspname NOT IN ('pg_catalog', 'information_schema') "
    "AND pg_catalog.pg_table_is_visible(c.oid)"
)
"""What a name without a schema means here, whatever the search path is."""

_MADE_ANEW = text(
    "SELECT 1 FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation "
    "WHERE l.locktype = 'relation' AND l.pid = pg_catalog.pg_backend_pid() AND l.database = "
    "(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) "
    "AND (c.oid IS NULL OR (c.relkind = 'r' AND c.relfilenode <> 0 "
    "AND c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid))) LIMIT 1"
)
"""A table that was made or written anew (ALTER TABLE, TRUNCATE, a backup put back) after the moment
that is read looks empty in it. What was read is locked until the end; what is listed of it is of
that moment, what the function says of now."""

_TRAITS = text(
    # A role that may only read is nobody else's matter; a server or database that was set so is.
    "SELECT pg_is_in_recovery() OR (SELECT setting = 'on' AND source NOT IN "
    "('user', 'database user', 'client', 'session') FROM pg_settings "
    "WHERE name = 'default_transaction_read_only'), "
    "(SELECT oid::bigint FROM pg_database WHERE datname = current_database()), "
    "txid_snapshot_xmax(txid_current_snapshot()), "
    # Another number once the table was made anew, or emptied as a whole: a backup was put back.
    "pg_relation_filenode(to_regclass('runs'))::bigint, "
    "has_function_privilege('pg_control_system()', 'EXECUTE'), "
    "has_function_privilege('pg_control_checkpoint()', 'EXECUTE')"
)
_SYSTEM = text("SELECT system_identifier::text FROM pg_control_system()")
_TIMELINE = text("SELECT timeline_id::bigint FROM pg_control_checkpoint()")

# Every commit of anybody in the cluster takes a number out of the snapshot's list, or raises its
# end. `txid_…` is there in every release, `pg_snapshot_…` since 13.
_SEEN = (
    "SELECT txid_current_snapshot()::text, pg_postmaster_start_time()::text, "
    "pg_stat_get_tuples_inserted(runs.id), pg_stat_get_tuples_updated(runs.id), "
    "pg_stat_get_tuples_deleted(runs.id) FROM (SELECT to_regclass('runs')::oid AS id) AS runs"
)
_GATE = 2  # so many columns of that say whether anything was committed

_PLACE = (
    "coalesce((SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.oid = to_regclass('runs')), current_schema(), '')::text"
)
"""In which schema the runs are: two roles may find the same ones by different search paths."""

_OURS_HERE = (
    "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() "
    "AND classid = %(group)s::bigint::oid AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_HAS_LOCK = f"{_OURS_HERE} AND objid = (hashtext({_PLACE})::bigint & 4294967295)::oid"
_TRY_LOCK = (
    # A session that is new and has one already is another process's too: a pooler gave it to both.
    f"SELECT CASE WHEN ({_OURS_HERE}) THEN false "
    f"ELSE pg_try_advisory_lock(%(group)s::int, hashtext({_PLACE})) END"
)
_LOCK_GROUP = 1_835_822_183
"""Tells our lock from those of others in the same database; any number would do."""

_HOLDER = (
    "SELECT coalesce(a.client_addr::text, 'the server itself'), a.backend_start::timestamptz(0) "
    "FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' "
    "AND l.classid = %(group)s::bigint::oid AND l.granted "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)

_EXPIRE = (
    "SELECT set_config('idle_session_timeout', '{ms}', false) "
    "WHERE current_setting('server_version_num')::int >= 140000"
)
"""Earlier servers wait for an idle connection as long as it is there."""


class PostgreSQL:
    """A database on a PostgreSQL server, read only."""

    def __init__(self, database: Database, wait_s: float) -> None:
        self.database, self._wait_s = database, wait_s
        self._engine = engine_of(database).execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open, read one moment in one short transaction that changes nothing, and close."""
        limits = {"answer_ms": ANSWER_MS, "wait_ms": int(self._wait_s * 1000), "idle_ms": _IDLE_MS}
        with told(self.database, self._wait_s), self._engine.connect() as connection:
            connection.execute(_BEGUN, {name: str(value) for name, value in limits.items()})
            try:
                yield connection
                if connection.execute(_MADE_ANEW).first() is not None:
                    raise DatabaseBusy(self.database.name, self._wait_s)
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
        is_standby, number, count, made, *may_read = connection.execute(_TRAITS).one()
        system = str(connection.execute(_SYSTEM).scalar()) if may_read[0] else None
        timeline = connection.execute(_TIMELINE).scalar() if may_read[1] else None
        return Traits(
            change_count=int(count),
            file=None if system is None else f"{system}:{number}",
            schema_count=None if made is None else int(made),
            server=system,
            timeline=None if timeline is None else int(timeline),
            is_standby=bool(is_standby),
        )

    def probe(self) -> Probe:
        """Return what tells whether something changed."""
        return _Probe(self.database)

    def lock(self) -> ServerLock:
        """Return the lock that excludes whoever acts on the same database from elsewhere."""
        names = {"group": _LOCK_GROUP}
        return HeldLock(Held(self.database), (_TRY_LOCK, _HAS_LOCK, _HOLDER, _EXPIRE), names)


class _Probe:
    """One small connection without a transaction."""

    def __init__(self, database: Database) -> None:
        self._held, self._attention = Held(database), Attention()

    def changed(self) -> bool:
        row = self._held.ask(_SEEN)
        if row is None:
            return self._attention.is_called_for(None, None)
        return self._attention.is_called_for(tuple(row[:_GATE]), tuple(row[_GATE:]))

    def settle(self, sleep: Callable[[float], object] = time.sleep) -> None:
        """Nothing to wait for: what the snapshot says is what a query sees."""

    def version(self) -> Hashable | None:
        row = self._held.ask(_SEEN)
        return None if row is None else tuple(row[:_GATE])

    def close(self) -> None:
        self._held.close()
