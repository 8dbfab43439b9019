"""`mlflow-cleanup restore`."""

from __future__ import annotations

from typing import Any

import click

from mlflow_cleanup.cli.exits import DONE, NOT_CLEANED
from mlflow_cleanup.cli.options import as_json, connection, policy, settings_beside_server
from mlflow_cleanup.errors import UnknownItems


@click.command()
@click.argument("run_ids", nargs=-1, required=True, metavar="RUN_ID...")
@connection
@policy
@as_json
@click.pass_context
def restore(ctx: click.Context, /, run_ids: tuple[str, ...], as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Put the files of runs back from the trash; nothing at their origin is overwritten.

    A run that is deleted in MLflow stays deleted there: press Restore in MLflow for that, which
    gives the files back too.
    """
    from mlflow_cleanup.cli.by_hand import do
    from mlflow_cleanup.cli.saying import show
    from mlflow_cleanup.report.status import outcome_text, trash_values

    settings = settings_beside_server(given)
    held = {item["run_id"] for item in trash_values(settings.state_dir)}
    if missing := sorted(set(run_ids) - held):
        raise UnknownItems(missing)
    values = do(settings, "restore", run_ids)
    show(values, outcome_text(values), as_json=as_json)
    is_done = all(item["state"] == "restored" for item in values["items"])
    ctx.exit(DONE if is_done else NOT_CLEANED)
