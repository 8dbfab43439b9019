"""`mlflow-cleanup watch`."""

from __future__ import annotations

from typing import Any

import click

from mlflow_cleanup.cli.options import connection, policy, schedule, stand_by
from mlflow_cleanup.cli.settings import require_database, settings_beside_server


@click.command()
@connection
@policy
@schedule
@stand_by
@click.pass_context
def watch(ctx: click.Context, /, stand_by: bool, **given: Any) -> None:  # noqa: ANN401
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
    monitor = MLflowDatabaseMonitor(settings, on_event=say_event, stands_by=stand_by)
    ctx.exit(run(monitor, say))
