"""`mlflow-cleanup confirm`."""

from __future__ import annotations

from typing import Any

import click

from mlflow_cleanup.cli.options import connection
from mlflow_cleanup.cli.settings import home_to_write
from mlflow_cleanup.errors import BadUsage


@click.command()
@click.argument("plan_id")
@click.option("--forget", is_flag=True, help="Forget the known runs instead; no file is touched.")
@connection
def confirm(plan_id: str, forget: bool, **given: Any) -> None:  # noqa: ANN401 - click's values
    """Let a plan that a safeguard refused go ahead.

    It holds for exactly the situation that was refused; `mlflow-cleanup status` shows it.
    """
    from mlflow_cleanup.cli.saying import put
    from mlflow_cleanup.ledger.ledger import Ledger

    home = home_to_write(given)
    Ledger.read(home).close()
    ledger = Ledger.open(home)
    try:
        is_known = ledger.refusals.answer(plan_id, "forget" if forget else "confirmed")
        if not is_known and not forget:
            is_known = ledger.brakes.confirm(plan_id)
        if not is_known:
            raise BadUsage(
                f"no refused plan {plan_id} is waiting; `mlflow-cleanup status` shows it"
            )
        ledger.wake()
    finally:
        ledger.close()
    put(f"plan {plan_id}: {'its runs will be forgotten' if forget else 'confirmed'}")
