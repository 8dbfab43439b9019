"""The options that verbs share: each with its environment variable and its key in the file."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlflow_cleanup.config import (
    FILE,
    Settings,
    database_of,
    is_database,
    ledger_server_of,
    parse_duration,
    parse_schedule,
    read_file,
    state_dir_for,
)
from mlflow_cleanup.errors import BadUsage, DatabaseMissing
from mlflow_cleanup.model.plan import Terms

if TYPE_CHECKING:
    from mlflow_cleanup.model.database import Database
    from mlflow_cleanup.model.ledger_home import LedgerHome, LedgerServer
    from mlflow_cleanup.server.flags import Whereabout

F = TypeVar("F", bound=Callable[..., Any])

PREFIX = "MLFLOW_CLEANUP_"


class FiniteRange(click.FloatRange):
    """A range of numbers, which "nan" and "inf" are not."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - whatever click was given
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Convert and check one value."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class RootPath(click.Path):
    """A directory or a place in an object store; several in a variable are listed as in PATH."""

    def split_envvar_value(self, rv: str) -> list[str]:
        """Split what a variable holds, but not after the scheme of a URI."""
        return [part for part in re.split(f"{re.escape(os.pathsep)}(?!//)", rv) if part]


def setting(flag: str, **how: Any) -> Callable[[F], F]:  # noqa: ANN401 - click's own arguments
    """Make an option with its environment variable `MLFLOW_CLEANUP_…`."""
    name = flag.split("/", maxsplit=1)[0].lstrip("-").replace("-", "_")
    variables = [PREFIX + name.upper(), *how.pop("also", ())]
    return click.option(flag, envvar=variables, show_envvar=False, **how)


def _load_file(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    """Take the configuration file's values as defaults, below flags and environment."""
    if path is None and not os.path.exists(FILE):
        return
    ctx.default_map = dict(read_file(Path(path or FILE), KEYS))


_FILE_OPTION = click.option(
    "--config",
    envvar=PREFIX + "CONFIG",
    type=click.Path(dir_okay=False),
    is_eager=True,
    expose_value=False,
    callback=_load_file,
    help=f"Configuration file (default: {FILE} in this directory, if there).",
)

_STATE_DIR = setting(
    "--state-dir",
    type=click.Path(file_okay=False),
    help="Where the ledger lies (default: .mlflow-cleanup beside the tracking "
    "database's file, or here for a database on a server).",
)

_LEDGER = setting(
    "--ledger",
    metavar="URL",
    help="A PostgreSQL database in which the ledger lives instead, in a schema of its own: "
    "postgresql://… (more: ?schema=NAME).",
)

_PLACES = (
    setting(
        "--backend-store-uri",
        also=("MLFLOW_BACKEND_STORE_URI",),
        help="The tracking database, as MLflow's server has it (default: sqlite:///mlflow.db).",
    ),
    setting(
        "--artifacts-destination",
        also=("MLFLOW_ARTIFACTS_DESTINATION",),
        help="Where the server keeps proxied artifacts, a directory or for example "
        "s3://bucket/prefix (default: ./mlartifacts).",
    ),
    setting(
        "--registry-store-uri",
        also=("MLFLOW_REGISTRY_STORE_URI",),
        help="The model registry's database, where it is one of its own; remembered from then on.",
    ),
    setting(
        "--artifact-root",
        multiple=True,
        type=RootPath(),
        help="A further place under which artifacts may lie, a directory or for example "
        "s3://bucket/prefix; can be given several times.",
    ),
)

_UNKNOWN_SCHEMA = setting(
    "--allow-unknown-schema",
    is_flag=True,
    help="Act on a database of an MLflow version that is not known here.",
)

_VERSIONS = setting(
    "--purge-versions",
    is_flag=True,
    help="Where a bucket keeps versions, purge all of them with an object; without it their bytes "
    "stay until a lifecycle rule removes them.",
)

_AT_ONCE_UNLESS = setting(
    "--retention",
    default="0",
    show_default=True,
    help="How long files wait in the trash, and rows in the database, before they go for good.",
)

_POLICY = (
    setting(
        "--retention",
        default="7d",
        show_default=True,
        help="How long quarantined files stay restorable: 7d, 12h, 30m, 0 (purge at once).",
    ),
    setting(
        "--poll-interval",
        type=FiniteRange(min=0.05, max=86_400),
        default=2.0,
        show_default=True,
        help="Seconds between two looks at the database; file events make it quicker.",
    ),
    setting(
        "--file-events/--no-file-events",
        default=True,
        help="Whether file events wake the monitor early (default: yes).",
    ),
    setting(
        "--backlog",
        type=click.Choice(["report", "include"]),
        default="report",
        show_default=True,
        help="Runs deleted before the very first start: only report them, or handle them too.",
    ),
    setting(
        "--vanished-share",
        type=FiniteRange(0, 1),
        default=0.5,
        show_default=True,
        help="Refuse when more than this share of the active runs' rows vanish at once …",
    ),
    setting(
        "--vanished-minimum",
        type=click.IntRange(min=1),
        default=10,
        show_default=True,
        help="… and at least this many.",
    ),
    _UNKNOWN_SCHEMA,
    _VERSIONS,
)

_SCHEDULE = (
    setting(
        "--full-cycle",
        default="off",
        show_default=True,
        help="How often the monitor lists storage and reclaims all that leaked: every 24h, or off.",
    ),
    setting(
        "--purge-metadata",
        is_flag=True,
        help="Remove the rows of deleted runs and models from MLflow's database as well, when "
        "their files were purged.",
    ),
)

stand_by = setting(
    "--stand-by",
    is_flag=True,
    help="Where another monitor works on the same database, wait, and take over when it ends.",
)

_TERMS = (
    setting(
        "--cascade",
        type=click.Choice(["models"]),
        multiple=True,
        help="Take active models of deleted runs too, where nothing else refers to them.",
    ),
    setting(
        "--most-entities",
        type=click.IntRange(min=1),
        default=10_000,
        show_default=True,
        help="Refuse a full cycle that would take more entities than this …",
    ),
    setting(
        "--most-share",
        type=FiniteRange(0, 1),
        default=0.5,
        show_default=True,
        help="… or more than this share of a root's bytes.",
    ),
)

_AT_ONCE = setting(
    "--take-orphans-at-once",
    is_flag=True,
    help="Take unclaimed files that were seen only once, however new they are: only while no "
    "client of MLflow writes anything.",
)

KEYS = frozenset(
    [
        "state_dir",
        "ledger",
        "backend_store_uri",
        "artifacts_destination",
        "registry_store_uri",
        "artifact_root",
        "retention",
        "poll_interval",
        "file_events",
        "backlog",
        "vanished_share",
        "vanished_minimum",
        "allow_unknown_schema",
        "cascade",
        "take_orphans_at_once",
        "most_entities",
        "most_share",
        "full_cycle",
        "purge_metadata",
        "purge_versions",
        "stand_by",
        "checkpoint_pattern",
    ]
)
"""The keys of the configuration file, as options are named."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print the same values as JSON.")


def _apply(options: tuple[Callable[[F], F], ...]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


ours_beside_mlflow = _apply(
    (_FILE_OPTION, _STATE_DIR, _LEDGER, _PLACES[3], *_POLICY, *_SCHEDULE, stand_by, *_TERMS)
)
"""The options of `ui`: where MLflow keeps things is read from MLflow's own."""

connection = _apply((_FILE_OPTION, _STATE_DIR, _LEDGER, *_PLACES))
policy = _apply(_POLICY)
schedule = _apply((*_SCHEDULE, *_TERMS))
terms = _apply((*_TERMS, _AT_ONCE))
for_good = _apply((_AT_ONCE_UNLESS, _UNKNOWN_SCHEMA, _VERSIONS))
"""The policy of `gc`, which removes at once unless told otherwise."""


def settings_of(
    found: Whereabout, given: dict[str, Any], more_roots: Iterable[str] = ()
) -> Settings:
    """Make settings from where things are and the options given; raises BadUsage and others."""
    here = os.getcwd()
    database = database_of(found.backend, here)
    named = [named_root(root) for root in given.get("artifact_root") or ()]
    roots = dict.fromkeys((*named, *found.roots, *more_roots))
    state_dir = given.get("state_dir")
    return Settings(
        database=database,
        roots=tuple(roots),
        artifacts_destination=found.destination,
        working_directory=here,
        state_dir=Path(state_dir).absolute() if state_dir else state_dir_for(database, here),
        retention=parse_duration(str(given.get("retention", "7d"))),
        poll_interval_s=given.get("poll_interval", 2.0),
        include_backlog=given.get("backlog") == "include",
        vanished_share=given.get("vanished_share", 0.5),
        vanished_minimum=given.get("vanished_minimum", 10),
        allow_unknown_schema=given.get("allow_unknown_schema", False),
        use_file_events=given.get("file_events", True),
        registry=database_of(found.registry, here) if found.registry else None,
        purge_metadata=given.get("purge_metadata", False),
        purge_versions=given.get("purge_versions", False),
        ledger=_ledger_of(given),
        full_cycle=parse_schedule(str(given.get("full_cycle", "off"))),
        terms=Terms(
            cascade_models="models" in (given.get("cascade") or ()),
            at_once=given.get("take_orphans_at_once", False),
            most_share=given.get("most_share", 0.5),
            most_entities=given.get("most_entities", 10_000),
        ),
    )


def named_root(text: str) -> str:
    """Read an artifact root that an operator names; raises BadUsage, also where none can be."""
    from mlflow_cleanup.model.location import is_proxied, scheme_of
    from mlflow_cleanup.server.flags import root_of

    if (root := root_of(text, os.getcwd())) is not None:
        return root
    if is_proxied(text):
        hint = "it names no storage; say with --artifacts-destination where the server keeps it"
    else:
        hint = f"artifacts in storage of the kind {scheme_of(text)}: are left alone"
    raise BadUsage(f"{text!r} cannot be an artifact root: {hint}")


def settings_beside_server(given: dict[str, Any]) -> Settings:
    """Make settings for every verb but `ui`, from the connection options."""
    from mlflow_cleanup.server.flags import derive

    here = os.getcwd()
    flags = [
        f"--{name.replace('_', '-')}={given[name]}"
        for name in ("backend_store_uri", "artifacts_destination", "registry_store_uri")
        if given.get(name)
    ]
    if not given.get("backend_store_uri") and (tracked := _tracking_uri()):
        flags.append(f"--backend-store-uri={tracked}")
    found = derive(flags, os.environ, here)
    database = database_of(found.backend, here)
    if database.path is None:
        return settings_of(found, given)
    # A client without a server puts artifacts beside the database that it makes.
    return settings_of(found, given, [os.path.join(os.path.dirname(database.path), "mlruns")])


def _tracking_uri() -> str | None:
    """Return MLFLOW_TRACKING_URI where it names a database: a client's word for the same thing."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri if is_database(uri) else None


def _ledger_of(given: dict[str, Any]) -> LedgerServer | None:
    """Return the server on which the ledger lives; raises BadUsage where it is to lie here too."""
    if not given.get("ledger"):
        return None
    if given.get("state_dir"):
        raise BadUsage(
            "--ledger and --state-dir both say where the ledger is; give one of them. "
            "Nothing was started"
        )
    return ledger_server_of(given["ledger"])


def home_of(given: dict[str, Any]) -> LedgerHome:
    """Say where the ledger lives, for verbs that only read it."""
    if (server := _ledger_of(given)) is not None:
        return server
    if given.get("state_dir"):
        return Path(given["state_dir"]).absolute()
    return state_dir_for(_database_of(given))


def home_to_write(given: dict[str, Any]) -> LedgerHome:
    """Say where the ledger lives, for verbs that write it; raises DatabaseMissing.

    A ledger that is named was made for a database, wherever that is.
    """
    from mlflow_cleanup.ledger.sqlite import FILE as LEDGER

    state_dir = home_of(given)
    if not isinstance(state_dir, Path):
        return state_dir
    if not (given.get("state_dir") and (state_dir / LEDGER).is_file()):
        require_database(_database_of(given))
    return state_dir


def require_database(database: Database) -> None:
    """Raise DatabaseMissing where there is no tracking database: nothing is written there then."""
    if database.path is not None and not os.path.exists(database.path):
        raise DatabaseMissing(database.path)


def _database_of(given: dict[str, Any]) -> Database:
    from mlflow_cleanup.server.flags import default_backend

    here = os.getcwd()
    backend = given.get("backend_store_uri") or _tracking_uri() or default_backend(here)
    return database_of(backend, here)
