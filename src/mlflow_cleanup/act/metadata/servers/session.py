"""The one connection that changes MLflow's rows on a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from mlflow_cleanup.act.metadata.pacing import Pace
from mlflow_cleanup.act.metadata.servers.dialect import Dialect
from mlflow_cleanup.act.metadata.servers.mysql import MySQL
from mlflow_cleanup.act.metadata.servers.postgresql import PostgreSQL
from mlflow_cleanup.backends.servers import engine_of, explained_any, words_of
from mlflow_cleanup.errors import CleanupError, DatabaseBusy, TrackingUnwritable
from mlflow_cleanup.model.database import MYSQL, POSTGRESQL, Database

_LEVEL = "READ COMMITTED"
"""Each statement sees what others committed by then; what must not change meanwhile is locked."""

_DIALECTS: Mapping[str, Callable[[], Dialect]] = {POSTGRESQL: PostgreSQL, MYSQL: MySQL}


@contextmanager
def opened(database: Database, pace: Pace, *, only_reads: bool = False) -> Iterator[Session]:
    """Connect to a server; `only_reads`: one that lets nothing be written will do.

    Raises TrackingUnwritable, or what keeps the server from being reached.
    """
    engine = engine_of(database)
    try:
        with _connected(database, engine) as connection:
            session = Session(database, connection, pace)
            with session.explaining():
                session.prepare(only_reads=only_reads)
            yield session
    finally:
        engine.dispose()


@contextmanager
def _connected(database: Database, engine: Engine) -> Iterator[Connection]:
    try:
        connection = engine.connect()
    except (DBAPIError, OSError) as error:
        raise explained_any(database, error) from error
    try:
        yield connection
    finally:
        connection.close()


class Session:
    """A connection to a server's tracking database."""

    def __init__(self, database: Database, connection: Connection, pace: Pace) -> None:
        self.database, self.pace = database, pace
        self.connection = connection.execution_options(isolation_level=_LEVEL)
        self.dialect = _DIALECTS[database.kind]()

    def prepare(self, *, only_reads: bool) -> None:
        """Make the connection ready; raises TrackingUnwritable."""
        with self.connection.begin():
            self.dialect.prepare(self.connection, self.pace.wait_s)
            why = None if only_reads else self.dialect.refusal_to_write(self.connection)
        if why is not None:
            raise TrackingUnwritable(self.database.name, why)

    def stand_still(self, tables: Sequence[str]) -> None:
        """From the next batch on, be able to keep others from writing to tables."""
        level = self.dialect.still_level if tables else _LEVEL
        self.connection.execution_options(isolation_level=level)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Keep all that is done inside, or nothing; raises DatabaseBusy, TrackingUnwritable."""
        with self.explaining(), self.connection.begin():
            yield

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Within a batch: take back what is done inside, and only that, if it fails."""
        self._run("SAVEPOINT attempt")
        try:
            yield
        except DBAPIError as error:
            # A deadlock has ended the whole transaction, and with it the savepoint.
            if not error.connection_invalidated and not self.dialect.is_busy(error):
                self._take_back()
            raise
        except Exception:
            self._take_back()
            raise
        self._run("RELEASE SAVEPOINT attempt")

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn an error of the driver into ours."""
        try:
            yield
        except DBAPIError as error:
            raise self._explained(error) from error

    def _explained(self, error: DBAPIError) -> CleanupError:
        if self.dialect.is_busy(error):
            return DatabaseBusy(self.database.name, self.pace.wait_s)
        return TrackingUnwritable(self.database.name, self.words_of(error))

    def words_of(self, error: DBAPIError) -> str:
        """Return what the server said, in one line."""
        return words_of(self.database, error)

    def _take_back(self) -> None:
        self._run("ROLLBACK TO SAVEPOINT attempt")
        self._run("RELEASE SAVEPOINT attempt")

    def _run(self, statement: str) -> None:
        self.connection.exec_driver_sql(statement)
