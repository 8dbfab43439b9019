"""`mlflow-cleanup doctor`."""

from __future__ import annotations

from typing import Any

import click

from mlflow_cleanup.cli.exits import DONE, NOT_CLEANED
from mlflow_cleanup.cli.options import as_json, connection, policy
from mlflow_cleanup.cli.settings import settings_beside_server


@click.command()
@connection
@policy
@as_json
@click.pass_context
def doctor(ctx: click.Context, /, as_json: bool, **given: Any) -> None:  # noqa: ANN401 - click's values
    """Check database, schema revision, artifact roots and permissions; changes nothing."""
    from mlflow_cleanup.cli.saying import show
    from mlflow_cleanup.doctor import examine, findings_text

    findings = examine(settings_beside_server(given))
    show([finding.values() for finding in findings], findings_text(findings), as_json=as_json)
    ctx.exit(DONE if all(finding.level != "bad" for finding in findings) else NOT_CLEANED)
