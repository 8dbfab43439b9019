"""The options that verbs share: each with its environment variable and its key in the file."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlflow_cleanup.config import (
    FILE,
    read_file,
)

if TYPE_CHECKING:
    pass

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
