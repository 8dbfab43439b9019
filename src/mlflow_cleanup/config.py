"""What an operator can set, as one frozen value; flags win over environment, file and defaults."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from mlflow_cleanup.errors import BadUsage, UnsupportedBackend
from mlflow_cleanup.model.database import MYSQL, POSTGRESQL, Database
from mlflow_cleanup.model.ledger_home import SCHEMA, LedgerHome, LedgerServer
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.model.plan import Terms

FILE = "mlflow-cleanup.toml"
DEFAULT_BACKEND = "sqlite:///mlflow.db"
_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SHORTEST_SCHEDULE = timedelta(minutes=1)
_KINDS = {"postgresql": POSTGRESQL, "postgres": POSTGRESQL, "mysql": MYSQL, "mariadb": MYSQL}
_USUAL_PORTS = {POSTGRESQL: 5432, MYSQL: 3306}
_SERVER_URI = re.compile(
    r"[\w+]+://"
    r"(?:[^:/]*(?::[^@]*)?@)?"  # as SQLAlchemy reads it, which MLflow does with it
    r"(?:(?P<host>\[[^/?]+\]|[^/:?@]+)?(?::(?P<port>[^/?@]*))?)?"
    r"(?:/(?P<database>[^?@]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_PART = re.compile(r"(\d+\.?\d*|\.\d+)([wdhms])")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the monitor needs to know.

    `database` is the tracking database; `roots` are artifact roots: absolute paths, or places in
    object stores such as `s3://bucket/prefix`; `artifacts_destination` is where proxied artifacts
    lie, None when that is neither; `working_directory` is what relative artifact URIs are relative
    to. `registry` is the database of the model registry, whose versions claim places too:
    `database` itself where it is not kept apart, None where none was given, so that the one given
    last counts. `full_cycle` is the time from one of the monitor's full cycles to the next; None:
    it makes none by itself. `purge_metadata`: the monitor removes rows, too, whose files it purged.
    `purge_versions`: what a bucket keeps as versions is purged as well. `ledger` is the server on
    which the ledger lives; None: it lives in `state_dir`, which is not used otherwise.
    """

    database: Database
    roots: tuple[str, ...]
    artifacts_destination: str | None
    working_directory: str
    state_dir: Path
    retention: timedelta = timedelta(days=7)
    poll_interval_s: float = 2.0
    include_backlog: bool = False
    vanished_share: float = 0.5
    vanished_minimum: int = 10
    allow_unknown_schema: bool = False
    use_file_events: bool = True
    registry: Database | None = None
    terms: Terms = field(default_factory=Terms)
    full_cycle: timedelta | None = None
    purge_metadata: bool = False
    purge_versions: bool = False
    ledger: LedgerServer | None = None

    @property
    def home(self) -> LedgerHome:
        """Where the ledger lives."""
        return self.ledger or self.state_dir

    @property
    def lease_places(self) -> tuple[LedgerHome, LedgerHome]:
        """Where the lease is taken: at the ledger's home, and beside the database's file."""
        if self.database.is_on_server:
            return self.home, self.home
        return self.home, state_dir_for(self.database)


def parse_duration(text: str) -> timedelta:
    """Read `7d`, `12h`, `30m`, `45s`, `1d12h` or `0`; raises BadUsage."""
    stripped = text.strip().lower()
    if stripped == "0":
        return timedelta(0)
    parts = _PART.findall(stripped)
    if not parts or "".join(number + unit for number, unit in parts) != stripped:
        raise BadUsage(
            f"cannot read {text!r} as a length of time; write for example 7d, 12h, 30m, 1d12h, or 0"
        )
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError as error:
        raise BadUsage(f"{text!r} is longer than can be counted") from error


def parse_schedule(text: str) -> timedelta | None:
    """Read `every 24h`, `24h` or `off`; raises BadUsage, also for less than a minute."""
    stripped = text.strip().lower().removeprefix("every ")
    if stripped == "off":
        return None
    interval = parse_duration(stripped)
    if interval < _SHORTEST_SCHEDULE:
        raise BadUsage(f"{text!r} is too often to list all storage; write for example every 24h")
    return interval


def database_of(uri: str, working_directory: str) -> Database:
    """Return the database that a backend store URI names; connects to nothing.

    Raises UnsupportedBackend for what is no database that can be read, BadUsage for what is none.
    """
    kind = _KINDS.get(_scheme(uri))
    if kind is None:
        return Database.of_file(sqlite_path(uri, working_directory))
    return Database(_server_name(kind, uri), kind, uri)


def ledger_server_of(uri: str) -> LedgerServer:
    """Return the server that a ledger's URI names; connects to nothing. Raises BadUsage.

    `?schema=NAME` names another schema than the usual one.
    """
    if _KINDS.get(_scheme(uri)) != POSTGRESQL:
        raise BadUsage(
            f"the ledger cannot live in {redacted(uri)!r}: only in PostgreSQL, written "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or in the directory that --state-dir "
            "names; nothing was started"
        )
    place, _, query = uri.partition("?")
    options = [option for option in query.split("&") if option]
    named = [option[7:] for option in options if option.startswith("schema=")]
    rest = "&".join(option for option in options if not option.startswith("schema="))
    schema = unquote(named[-1]) if named else SCHEMA
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,39}", schema):
        raise BadUsage(
            f"{schema!r} is no name for the ledger's schema: small letters, digits and _, at most "
            "40; nothing was started"
        )
    url = f"{place}?{rest}" if rest else place
    return LedgerServer(Database(_server_name(POSTGRESQL, url), POSTGRESQL, url), schema)


def is_database(uri: str) -> bool:
    """Tell whether a URI names a database, of whatever kind."""
    return _scheme(uri) in (*_KINDS, "sqlite", "mssql")


def _scheme(uri: str) -> str:
    """Return the kind of database in a URI, without the driver."""
    return uri.partition("://")[0].partition("+")[0].lower() if "://" in uri else ""


def _server_name(kind: str, uri: str) -> str:
    """Return what may be shown of a server's URI: no user, no password, no query."""
    found = _SERVER_URI.fullmatch(uri)
    if found is None or not (found["port"] or "1").isdecimal():
        raise BadUsage(
            f"the URI of the tracking database cannot be read ({redacted(uri)}). It is written "
            f"{kind}://USER:PASSWORD@HOST:PORT/DATABASE; an @ in the password is written %40."
        )
    options = dict(parse_qsl(found["query"] or ""))
    place = found["host"] or options.get("host") or options.get("unix_socket") or ""
    port = found["port"] or options.get("port") or ""
    host = quote(place.lower() if found["host"] else place, safe="[]:.-_,")
    where = host if not port or int(port) == _USUAL_PORTS[kind] else f"{host}:{port}"
    return f"{kind}://{where}/{found['database'] or ''}"


def sqlite_path(uri: str, working_directory: str) -> str:
    """Return the absolute path of the database that a backend store URI names.

    Raises UnsupportedBackend for anything but an SQLite file.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or not re.fullmatch(r"sqlite(\+\w+)?", scheme):
        raise UnsupportedBackend(redacted(uri), _hint(uri))
    path = rest.partition("?")[0].removeprefix("/")
    if not path or path == ":memory:":
        raise UnsupportedBackend(uri, "Only a database in a file can be watched.")
    # SQLAlchemy 2.1 decodes %20 and the like in the path, older ones do not: what is there decides.
    readings = dict.fromkeys(
        os.path.abspath(os.path.join(working_directory, reading))
        for reading in (unquote(path), path)
    )
    there = [reading for reading in readings if os.path.exists(reading)]
    if len(there) > 1:
        raise BadUsage(f"{uri!r} can mean {' or '.join(there)}; both exist. Nothing was touched.")
    # One database has one ledger, by whatever link it was reached.
    return os.path.realpath((there or list(readings))[0])


def redacted(uri: str) -> str:
    """Take user name and password out of a URI; of a database on a server the query as well.

    What stands after a colon may be a password, where no @ says what it is and it is no port.
    """
    if _scheme(uri) in _KINDS:
        found = _SERVER_URI.fullmatch(uri)
        if "@" not in uri and (found is None or not (found["port"] or "1").isdecimal()):
            return re.sub(r"://.*", "://***", uri, flags=re.DOTALL)
        before, mark, after = uri.rpartition("@")
        bare, has_query, _ = after.partition("?")
        uri = before + mark + bare + ("?***" if has_query else "")
    return re.sub(r"://.*@", "://***@", uri, flags=re.DOTALL)


def state_dir_for(database: Database, working_directory: str = "") -> Path:
    """Return where the ledger lies unless told otherwise.

    Beside the file of the tracking database; for one on a server, in the working directory.
    """
    if database.path is None:
        return Path(working_directory or os.getcwd()) / RESERVED
    return Path(os.path.dirname(database.path)) / RESERVED


def read_file(path: Path, keys: frozenset[str]) -> Mapping[str, Any]:
    """Read a configuration file, keys written as the options are; raises BadUsage."""
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 - only where a file is read
    else:
        import tomli as tomllib  # noqa: PLC0415 - likewise
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadUsage(f"the configuration file {path} cannot be read: {error}") from error
    settings = {key.replace("-", "_"): value for key, value in content.items()}
    if unknown := sorted(set(settings) - keys):
        known = ", ".join(sorted(key.replace("_", "-") for key in keys))
        raise BadUsage(f"{path}: unknown key(s) {', '.join(unknown)}; there are: {known}")
    return settings


def _hint(uri: str) -> str:
    if re.match(r"mssql(\+\w+)?:", uri):
        return "Databases in SQLite, PostgreSQL, MySQL and MariaDB can be watched."
    if re.match(r"(https?|databricks)\b", uri):
        return "Run it beside the tracking server, with the server's own --backend-store-uri."
    return (
        "It is a file store, which keeps no database; `mlflow migrate-filestore` moves its "
        "metadata to SQLite and leaves the artifacts where they are."
    )
