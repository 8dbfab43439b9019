"""`mlflow-cleanup trash list` and `mlflow-cleanup trash purge`."""

from __future__ import annotations

import sys
from typing import Any

import click

from mlflow_cleanup.cli.exits import DONE, NOT_CLEANED
from mlflow_cleanup.cli.options import as_json, connection, policy
from mlflow_cleanup.cli.settings import home_of, settings_beside_server
from mlflow_cleanup.errors import BadUsage, UnknownItems


@click.group()
def trash() -> None:
    """List or purge what is in the trash."""


@trash.command("list")
@connection
@as_json
def list_(as_json: bool, **given: Any) -> None:  # noqa: ANN401 - click's values
    """List what the trash holds, with sizes and when it is purged."""
    from mlflow_cleanup.cli.saying import show
    from mlflow_cleanup.report.status import trash_text, trash_values

    values = trash_values(home_of(given))
    show(values, trash_text(values), as_json=as_json)


@trash.command()
@click.argument("run_ids", nargs=-1, metavar="[RUN_ID]...")
@click.option("--all", "everything", is_flag=True, help="Everything that is in the trash.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connection
@policy
@as_json
@click.pass_context
def purge(ctx: click.Context, /, run_ids: tuple[str, ...], as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Remove items for good before their retention has passed. This cannot be undone."""
    from mlflow_cleanup.cli.by_hand import do_to_items
    from mlflow_cleanup.cli.saying import show
    from mlflow_cleanup.report.status import outcome_text, trash_values

    if bool(run_ids) == given["everything"]:
        raise BadUsage("name the runs to purge, or say --all; nothing was purged")
    settings = settings_beside_server(given)
    held = trash_values(settings.home)
    chosen = [item for item in held if given["everything"] or item["run_id"] in run_ids]
    if missing := sorted(set(run_ids) - {item["run_id"] for item in chosen}):
        raise UnknownItems(missing)
    if chosen and not _may(chosen, is_sure=given["yes"]):
        raise BadUsage("nothing was purged")
    # Exactly what was shown: what came into the trash meanwhile keeps its retention.
    ids = [item["id"] for item in chosen]
    values = do_to_items(settings, "purge", ids) if ids else {"items": []}
    show(values, outcome_text(values), as_json=as_json)
    is_done = all(item["state"] == "purged" for item in values["items"])
    ctx.exit(DONE if is_done else NOT_CLEANED)


def _may(chosen: list[dict[str, Any]], *, is_sure: bool) -> bool:
    """Ask on a terminal; anywhere else only --yes is an answer."""
    from mlflow_cleanup.report.text import size_text

    if is_sure:
        return True
    total = sum(item["bytes"] or 0 for item in chosen)
    what = f"{len(chosen)} item(s), {size_text(total)}"
    if not sys.stdin.isatty():
        raise BadUsage(f"this would purge {what} for good; say --yes. Nothing was purged")
    return click.confirm(f"Purge {what} for good?", err=True)
