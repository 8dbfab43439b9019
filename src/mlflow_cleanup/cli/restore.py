"""`mlflow-cleanup restore`."""

from __future__ import annotations

from typing import Any

import click

from mlflow_cleanup.cli.exits import DONE, NOT_CLEANED
from mlflow_cleanup.cli.options import as_json, connection, policy
from mlflow_cleanup.cli.settings import settings_beside_server
from mlflow_cleanup.errors import UnknownItems


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@connection
@policy
@as_json
@click.pass_context
def restore(ctx: click.Context, /, ids: tuple[str, ...], as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Put files back from the trash; nothing at their origin is overwritten.

    ID is a run's, logged model's or trace's, or an item's as `trash list --json` shows it. A run
    that is deleted in MLflow stays deleted there: press Restore in MLflow for that, which gives the
    files back too.
    """
    from mlflow_cleanup.cli.by_hand import do_to_items
    from mlflow_cleanup.cli.saying import show
    from mlflow_cleanup.report.status import outcome_text, trash_values

    settings = settings_beside_server(given)
    held = {item[key] for item in trash_values(settings.home) for key in ("run_id", "id")}
    if missing := sorted(set(ids) - held):
        raise UnknownItems(missing)
    values = do_to_items(settings, "restore", ids)
    show(values, outcome_text(values), as_json=as_json)
    is_done = all(item["state"] == "restored" for item in values["items"])
    ctx.exit(DONE if is_done else NOT_CLEANED)
