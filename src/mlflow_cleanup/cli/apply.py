"""`mlflow-cleanup apply`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlflow_cleanup.cli.options import as_json, connection, policy, terms
from mlflow_cleanup.cli.settings import settings_beside_server
from mlflow_cleanup.errors import BadUsage


@click.command()
@click.argument("plan_file", type=click.Path(dir_okay=False), required=False)
@click.option("--id", "plan_id", help="Instead of a file: what `plan` just showed under this id.")
@connection
@policy
@terms
@as_json
@click.pass_context
def apply(
    ctx: click.Context,
    /,
    plan_file: str | None,
    plan_id: str | None,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - click's values
) -> None:
    """Carry out a plan, each step looked at again. Run again, it goes on where it stopped.

    With --id the plan is made anew, with the same options, and carried out if nothing has changed.
    """
    from mlflow_cleanup.cli.full import carry_out_once, finish, plan_shown_as, saved_plan

    if (plan_file is None) == (plan_id is None):
        raise BadUsage("name the plan's file, or its id with --id; nothing was done")
    make = plan_shown_as(plan_id) if plan_id is not None else saved_plan(Path(plan_file or ""))
    values = carry_out_once(settings_beside_server(given), make, "apply", quiet=as_json)
    finish(ctx, values, as_json=as_json)
