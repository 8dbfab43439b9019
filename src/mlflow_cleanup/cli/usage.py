"""`mlflow-cleanup usage`."""

from __future__ import annotations

from typing import Any

import click

from mlflow_cleanup.cli.options import as_json, connection, setting
from mlflow_cleanup.cli.settings import settings_beside_server
from mlflow_cleanup.errors import BadUsage
from mlflow_cleanup.model.globs import CHECKPOINTS

_BY = ("kind", "experiment", "user", "run")


@click.command()
@click.option("--by", type=click.Choice(_BY), multiple=True, help="Only by this (default: by all).")
@click.option("--sort", type=click.Choice(["bytes", "files", "key"]), default="bytes")
@click.option(
    "--top", type=click.IntRange(min=0), default=10, help="How many rows; 0: all of them."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@setting(
    "--checkpoint-pattern",
    multiple=True,
    default=CHECKPOINTS,
    help="Names of checkpoint files, or, ending in /, of their directories.",
)
@connection
@as_json
def usage(as_csv: bool, as_json: bool, **given: Any) -> None:  # noqa: ANN401 - click's values
    """Show where the bytes under the artifact roots are, and whose. Changes nothing."""
    from mlflow_cleanup.cli.full import reading
    from mlflow_cleanup.cli.saying import show
    from mlflow_cleanup.cycle.usage import Question, measure_usage
    from mlflow_cleanup.model.usage import By
    from mlflow_cleanup.report.usage import usage_csv, usage_text, usage_values

    if as_csv and as_json:
        raise BadUsage("--csv and --json are two forms; give one of them")
    by = tuple(map(By, given["by"] or _BY))
    question = Question(by, given["sort"], given["top"], given["checkpoint_pattern"])
    with reading(settings_beside_server(given)) as workplace:
        found = measure_usage(workplace, question)
    text = usage_csv(found) if as_csv else usage_text(found)
    show(usage_values(found) if as_json else None, text, as_json=as_json)
