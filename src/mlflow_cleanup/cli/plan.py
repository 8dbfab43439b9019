"""`mlflow-cleanup plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mlflow_cleanup.cli.options import as_json, connection, policy, terms
from mlflow_cleanup.cli.settings import settings_beside_server
from mlflow_cleanup.errors import BadUsage


@click.command()
@click.option("--all", "everything", is_flag=True, help="List everything, not only the largest.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), help="Save the plan, for `apply` later."
)
@connection
@policy
@terms
@as_json
def plan(everything: bool, output: str | None, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Show what MLflow no longer needs, what is kept and why. Changes nothing."""
    from mlflow_cleanup.cli.full import reading
    from mlflow_cleanup.cli.saying import show
    from mlflow_cleanup.cycle.sweep import look
    from mlflow_cleanup.report.plans import plan_text, plan_values

    with reading(settings_beside_server(given)) as workplace:
        made = look(workplace)
    values = plan_values(made)
    if output is not None:
        try:
            Path(output).write_text(json.dumps(values, indent=1), encoding="utf-8")
        except OSError as error:
            raise BadUsage(f"the plan cannot be saved at {output}: {error}") from error
    text = plan_text(made, everything=everything)
    next_step = f"apply {output}" if output else f"apply --id {made.id}"
    hint = f"\n\nTo carry it out: `mlflow-cleanup {next_step}`" if made.steps else ""
    show(values, text + hint, as_json=as_json)
