"""`mlflow-cleanup status`."""

from __future__ import annotations

from typing import Any

import click

from mlflow_cleanup.cli.options import as_json, connection
from mlflow_cleanup.cli.settings import home_of


@click.command()
@connection
@as_json
def status(as_json: bool, **given: Any) -> None:  # noqa: ANN401 - click's values
    """Show what is watched, quarantined, failed and freed; also while the monitor runs."""
    from mlflow_cleanup.cli.saying import show
    from mlflow_cleanup.report.status import status_text, status_values

    values = status_values(home_of(given))
    show(values, status_text(values), as_json=as_json)
