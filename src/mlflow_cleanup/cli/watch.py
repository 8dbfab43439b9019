"""`mlflow-cleanup watch`."""

from __future__ import annotations

from typing import Any

import click

from mlflow_cleanup.cli.options import (
    connection,
    policy,
    require_database,
    schedule,
    settings_beside_server,
)


@click.command()
@connection
@policy
@schedule
@click.pass_context
def watch(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401 - click's values
    """Run the monitor beside an MLflow server that runs already.

    Ends with Ctrl-C or SIGTERM, after the step in hand.
    """
    from mlflow_cleanup.cli.saying import say, say_event
    from mlflow_cleanup.monitor import MLflowDatabaseMonitor
    from mlflow_cleanup.observe.tracking import TrackingDatabase
    from mlflow_cleanup.server.run import watch as run

    settings = settings_beside_server(given)
    require_database(settings.database)
    TrackingDatabase(settings.database).layout()
    ctx.exit(run(MLflowDatabaseMonitor(settings, on_event=say_event), say))
