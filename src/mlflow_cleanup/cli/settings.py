"""From the options that were given to settings, and to where the ledger lives."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_cleanup.config import (
    Settings,
    database_of,
    is_database,
    ledger_server_of,
    parse_duration,
    parse_schedule,
    state_dir_for,
)
from mlflow_cleanup.errors import BadUsage, DatabaseMissing
from mlflow_cleanup.model.plan import Terms

if TYPE_CHECKING:
    from mlflow_cleanup.model.database import Database
    from mlflow_cleanup.model.ledger_home import LedgerHome, LedgerServer
    from mlflow_cleanup.server.flags import Whereabout


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
