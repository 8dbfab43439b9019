"""`mlflow-cleanup sweep`."""

from __future__ import annotations

from typing import Any

import click

from mlflow_cleanup.cli.options import as_json, connection, policy, terms
from mlflow_cleanup.cli.settings import settings_beside_server


@click.command()
@click.option("--apply", "is_real", is_flag=True, help="Act; without it this is only a plan.")
@connection
@policy
@terms
@as_json
@click.pass_context
def sweep(ctx: click.Context, /, is_real: bool, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Compare storage with the database and reclaim what MLflow no longer needs.

    Without --apply nothing is written, whatever else is said.
    """
    from mlflow_cleanup.cli.full import carry_out_once, finish, reading
    from mlflow_cleanup.cli.saying import show
    from mlflow_cleanup.cycle.sweep import look
    from mlflow_cleanup.report.plans import plan_text, plan_values

    settings = settings_beside_server(given)
    if not is_real:
        with reading(settings) as workplace:
            plan = look(workplace)
        hint = "\n\nNothing was done. To act: `mlflow-cleanup sweep --apply`"
        show(plan_values(plan), plan_text(plan) + hint, as_json=as_json)
        return
    finish(ctx, carry_out_once(settings, look, "sweep", quiet=as_json), as_json=as_json)
