"""Connecting to databases on servers, and saying in our words what goes wrong with them."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from mlflow_cleanup.backends.base import WAIT_S, Columns
from mlflow_cleanup.errors import (
    BadUsage,
    DatabaseBusy,
    DatabaseGone,
    DatabaseRefused,
    DriverMissing,
    TrackingUnreadable,
)
from mlflow_cleanup.model.database import MYSQL, POSTGRESQL, Database

CONNECT_S = 5.0
"""How long a server may take to let us in; in the cloud that can be a second or two."""

ANSWER_S = 300.0
"""How long one answer may take: a broken network must not hold a thread for ever."""


_SHORTEST_SECRET = 3


class _Driver(NamedTuple):
    module: str
    dialect: str
    extra: str


_DRIVERS = {
    POSTGRESQL: _Driver("psycopg", "postgresql+psycopg", "postgres"),
    MYSQL: _Driver("pymysql", "mysql+pymysql", "mysql"),
}

_MYSQL_TLS = {
    "ssl_ca": "MLFLOW_MYSQL_SSL_CA",
    "ssl_cert": "MLFLOW_MYSQL_SSL_CERT",
    "ssl_key": "MLFLOW_MYSQL_SSL_KEY",
}
"""The driver's arguments, and the variables that MLflow reads them from."""

_TLS_MODES: Mapping[str, Mapping[str, Any]] = {
    "REQUIRED": {"ssl": {"verify_mode": "none"}},
    "VERIFY_CA": {"ssl_verify_cert": True},
    "VERIFY_IDENTITY": {"ssl_verify_cert": True, "ssl_verify_identity": True},
}
"""What mysqlclient, which MLflow may use, calls how far TLS is wanted, as PyMySQL has it."""

_TLS_OF_SQLALCHEMY = frozenset(
    {"ssl_ca", "ssl_key", "ssl_cert", "ssl_capath", "ssl_cipher", "ssl_check_hostname"}
)

_POSTGRESQL_REFUSES = ("28", "3D", "42501")  # authorisation, no such database, no permission
_POSTGRESQL_BUSY = ("55P03", "40001", "40P01")  # locks, and conflicts with other transactions
_POSTGRESQL_GONE = ("08", "57P", "53300")  # connections, shutdowns, too many clients
_MYSQL_REFUSES = (1044, 1045, 1049, 1130, 1142, 1143, 1227, 1698)
_MYSQL_BUSY = (1205, 1213, 1412)  # locks, and tables altered in the middle
_MYSQL_GONE = (1040, 1053, 1077, 1079, 1152, 1927, 2002, 2003, 2006, 2013, 2014, 2055)


def engine_of(database: Database, environment: Mapping[str, str] = os.environ) -> Engine:
    """Return what connects to a database on a server; each connection is opened for one use.

    Takes the driver that is used here, whatever MLflow's URI names. Raises DriverMissing, BadUsage.
    """
    driver = _DRIVERS[database.kind]
    try:
        importlib.import_module(driver.module)
    except ImportError as error:
        raise DriverMissing(database.name, driver.module, driver.extra) from error
    url = _parsed(database).set(drivername=driver.dialect)
    if database.kind == POSTGRESQL:
        arguments = _of_postgresql(url)
    else:
        url, arguments = _of_mysql(url, environment)
    # What a statement was given can be a client's text, or secret: errors must not show it.
    try:
        return create_engine(url, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
    except ValueError:
        raise BadUsage(f"the URI of the tracking database {database} cannot be read") from None


def explained(
    database: Database, error: BaseException, wait_s: float = WAIT_S
) -> TrackingUnreadable:
    """Turn a driver's error into ours, which says what it means here; never with the password."""
    text = _without_secrets(database, _text_of(error))
    is_told = _postgresql_says if database.kind == POSTGRESQL else _mysql_says
    if is_told(error, "busy"):
        return DatabaseBusy(database.name, wait_s)
    if is_told(error, "refused"):
        return DatabaseRefused(database.name, text)
    if is_told(error, "gone"):
        return DatabaseGone(database.name, text)
    return TrackingUnreadable(
        f"the tracking database {database} cannot be read ({text}); nothing was touched"
    )


def words_of(database: Database, error: BaseException) -> str:
    """Return what a driver said, in one line and without secrets."""
    return _without_secrets(database, _text_of(_drivers_own(error)))


def explained_any(
    database: Database, error: BaseException, wait_s: float = WAIT_S
) -> TrackingUnreadable:
    """Do the same for an error that SQLAlchemy may have put around the driver's."""
    return explained(database, _drivers_own(error), wait_s)


def _drivers_own(error: BaseException) -> BaseException:
    """Take off what SQLAlchemy put around an error of the driver's."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


@contextmanager
def told(database: Database, wait_s: float) -> Iterator[None]:
    """Raise what goes wrong inside in our words."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise explained_any(database, error, wait_s) from error


def grouped(pairs: Iterable[Sequence[Any]], tables: Iterable[str] | None) -> Columns:
    """Make pairs of table and column into the columns of each table, of the wanted ones only."""
    wanted = None if tables is None else frozenset(tables)
    found: dict[str, set[str]] = {}
    for name, item in pairs:
        if wanted is None or name in wanted:
            found.setdefault(str(name), set()).add(str(item))
    return {name: frozenset(items) for name, items in found.items()}


def _parsed(database: Database) -> URL:
    try:
        database.url.encode()  # an argument that was no UTF-8 can be given to no server
        return make_url(database.url)
    except (ArgumentError, ValueError):
        # Without what the parser said: it may quote the URL.
        raise BadUsage(f"the URI of the tracking database {database} cannot be read") from None


def _of_postgresql(url: URL) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "connect_timeout": int(CONNECT_S),
        "application_name": "mlflow-cleanup",
        "keepalives_idle": 30,
        "tcp_user_timeout": int(CONNECT_S * 12 * 1000),
        "prepare_threshold": None,  # a pooler in between may give each transaction another backend
    }
    return {key: value for key, value in arguments.items() if key not in url.query}


def _of_mysql(url: URL, environment: Mapping[str, str]) -> tuple[URL, dict[str, Any]]:
    tls: dict[str, Any] = {
        key: environment[name] for key, name in _MYSQL_TLS.items() if environment.get(name)
    }
    if mode := str(url.query.get("ssl_mode", "")).upper():
        url = url.difference_update_query(["ssl_mode"])
        tls.update(_TLS_MODES.get(mode, {}))
    if unknown := sorted(key for key in url.query if key not in _known_to_pymysql()):
        raise BadUsage(
            f"the driver for MySQL that is used here, PyMySQL, does not know {', '.join(unknown)} "
            "in the URI of the tracking database; it may be written without for mlflow-cleanup"
        )
    arguments: dict[str, Any] = {
        "connect_timeout": int(CONNECT_S),
        "read_timeout": int(ANSWER_S),
        "write_timeout": int(ANSWER_S),
        "charset": "utf8mb4",
        **tls,
    }
    return url, {key: value for key, value in arguments.items() if key not in url.query}


def _known_to_pymysql() -> frozenset[str]:
    """Name what can stand in a URI's query: what SQLAlchemy takes, and what the driver takes."""
    from pymysql.connections import Connection  # noqa: PLC0415 - there only with the extra

    return frozenset(inspect.signature(Connection).parameters) | _TLS_OF_SQLALCHEMY


def _text_of(error: BaseException) -> str:
    """Return a driver's message in one line; PyMySQL's is the second of its arguments."""
    is_numbered = len(error.args) > 1 and isinstance(error.args[0], int)
    text = str(error.args[1] if is_numbered else error)
    return re.sub(r"\s+", " ", text).strip() or type(error).__name__


def _without_secrets(database: Database, text: str) -> str:
    url = _parsed(database)
    secrets = [url.password] if url.password else []
    secrets += [str(value) for key, value in url.query.items() if "pass" in key.lower()]
    for secret in filter(lambda secret: len(secret) >= _SHORTEST_SECRET, secrets):
        # What is shorter stands everywhere, and no driver shows a password anyway.
        for written in (secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]):
            text = text.replace(written, "***")
    return text


def _postgresql_says(error: BaseException, what: str) -> bool:
    state = getattr(error, "sqlstate", None)
    if state is None:
        # The server was not reached, or said so only in words: psycopg gives no state then.
        refused = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password")
        is_refused = any(words in str(error) for words in refused)
        kinds = {kind.__name__ for kind in type(error).__mro__}
        return bool(kinds & {"OperationalError", "InterfaceError"}) and what == (
            "refused" if is_refused else "gone"
        )
    starts = {"busy": _POSTGRESQL_BUSY, "refused": _POSTGRESQL_REFUSES, "gone": _POSTGRESQL_GONE}
    return str(state).startswith(starts[what])


def _mysql_says(error: BaseException, what: str) -> bool:
    number = error.args[0] if error.args else None
    if type(error).__name__ == "InterfaceError" and number == 0:
        return what == "gone"  # the connection was closed under us
    numbers = {"busy": _MYSQL_BUSY, "refused": _MYSQL_REFUSES, "gone": _MYSQL_GONE}
    return number in numbers[what]
