"""One pass: observe, decide, act, report. What one layer needs of another is handed over here."""

from mlflow_cleanup.cycle.turn import Cycle as Cycle
from mlflow_cleanup.cycle.workplace import Workplace as Workplace
