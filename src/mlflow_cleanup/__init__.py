"""mlflow-cleanup keeps MLflow's artifact storage equal to what its tracking database says exists.

Words used throughout:

- *run*, *logged model*, *model version*, *trace*, *experiment*: entities, which can own bytes.
- *artifact root*: a directory under which artifacts may lie; outside of it nothing is touched.
- *artifact location*: the place of one entity's bytes, parsed and normalised.
- *claim*: an entity says "these bytes are mine"; a live claim protects them. *Pin*: an operator
  does.
- *snapshot*: every claim at one moment. *Known runs*: what earlier cycles saw, kept in the ledger.
- *verdict*: garbage or kept, always with a reason. *Plan*: the ordered steps made from verdicts.
- *quarantine*, *restore*, *purge*: take out of sight reversibly, put back, remove for good.
- *trash*: where quarantined bytes wait, on the file system they were on.
- *ledger*: the durable record of known runs, items, every intent and every outcome.
- *lease*: what permits acting; one process holds it.
- *retention*: how long quarantined bytes stay restorable. *Cycle*: one pass of it all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow_cleanup.config import Settings as Settings
    from mlflow_cleanup.errors import CleanupError as CleanupError
    from mlflow_cleanup.model.database import Database as Database
    from mlflow_cleanup.model.event import Event as Event
    from mlflow_cleanup.model.event import EventKind as EventKind
    from mlflow_cleanup.monitor import MLflowDatabaseMonitor as MLflowDatabaseMonitor

_HOMES = {
    "CleanupError": "mlflow_cleanup.errors",
    "Database": "mlflow_cleanup.model.database",
    "Event": "mlflow_cleanup.model.event",
    "EventKind": "mlflow_cleanup.model.event",
    "MLflowDatabaseMonitor": "mlflow_cleanup.monitor",
    "Settings": "mlflow_cleanup.config",
}

__all__ = ["CleanupError", "Database", "Event", "EventKind", "MLflowDatabaseMonitor", "Settings"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each name has its own type, see above
    """Import a public name when it is first used: `mlflow-cleanup --help` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
