"""`mlflow-cleanup apply`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlflow_cleanup.cli.options import as_json, connection, policy, settings_beside_server


@click.command()
@click.argument("plan_file", type=click.Path(dir_okay=False))
@connection
@policy
@as_json
@click.pass_context
def apply(ctx: click.Context, /, plan_file: str, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Carry out a saved plan, each step looked at again. Run again, it goes on where it stopped."""
    from mlflow_cleanup.cli.full import acting, apply_once, finish, load_plan

    plan = load_plan(Path(plan_file))
    with acting(settings_beside_server(given), "apply") as workplace:
        steps = apply_once(workplace, plan, quiet=as_json)
    finish(ctx, plan, steps, as_json=as_json)
