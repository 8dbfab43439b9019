"""`mlflow-cleanup history`."""

from __future__ import annotations

from typing import Any

import click

from mlflow_cleanup.cli.options import as_json, connection
from mlflow_cleanup.cli.settings import home_of


@click.command()
@click.argument("run_ids", nargs=-1, metavar="[RUN_ID]...")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many."
)
@connection
@as_json
def history(run_ids: tuple[str, ...], limit: int, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Show what was done, latest last; of the given runs only, where given."""
    from mlflow_cleanup.cli.saying import show
    from mlflow_cleanup.report.status import history_text, history_values

    values = history_values(home_of(given), limit, run_ids)
    show(values, history_text(values), as_json=as_json)
