"""`mlflow-cleanup adopt`."""

from __future__ import annotations

from typing import Any

import click

from mlflow_cleanup.cli.options import connection, policy
from mlflow_cleanup.cli.settings import require_database, settings_beside_server
from mlflow_cleanup.errors import BadUsage


@click.command()
@click.argument("root", type=click.Path(file_okay=False))
@connection
@policy
def adopt(root: str, **given: Any) -> None:  # noqa: ANN401 - click's values
    """Say that an artifact root belongs to this tracking database, and to no other.

    Shows first what lies there. From then on `sweep` may take what this database does not know.
    """
    from mlflow_cleanup.cli.saying import put
    from mlflow_cleanup.cycle import Workplace
    from mlflow_cleanup.cycle.holding import lease_of
    from mlflow_cleanup.cycle.sweep import known_and_unknown
    from mlflow_cleanup.ledger.ledger import Ledger
    from mlflow_cleanup.observe.places import is_not_made_yet, real_root
    from mlflow_cleanup.report.text import printable, size_text

    settings = settings_beside_server(given)
    real = real_root(root)
    if is_not_made_yet(real):
        raise BadUsage(f"there is no directory {real}")
    if real not in map(real_root, settings.roots):
        raise BadUsage(f"{real} is no configured artifact root; name it with --artifact-root too")
    require_database(settings.database)
    with lease_of(settings, "mlflow-cleanup adopt") as lease:
        ledger = Ledger.open(settings.home, lease.fence)
        workplace = Workplace(settings, ledger, still_ours=lease.verify)
        try:
            used, unknown, size = known_and_unknown(workplace, real)
            put(
                f"{printable(real)}: {used} places in use by this database, {unknown} that it does "
                f"not know, {size_text(size.bytes)}"
            )
            workplace.adopt(real, alone=True)
        finally:
            workplace.close()
    put(printable(f"{real} belongs to {settings.database}"))
