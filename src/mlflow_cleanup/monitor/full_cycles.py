"""When a full cycle is due: its plan is made in a thread of its own, beside everything else."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from mlflow_cleanup.config import Settings
from mlflow_cleanup.cycle import Workplace
from mlflow_cleanup.cycle.sweep import look
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.plan import SweepPlan
from mlflow_cleanup.monitor.calls import Calls

_FACT = "full_cycle_s"
_JOIN_S = 10.0


class Survey(threading.Thread):
    """Lists storage and reads claims, read only, with files of its own open; then calls."""

    def __init__(self, settings: Settings, calls: Calls) -> None:
        super().__init__(name="mlflow-cleanup-survey", daemon=True)
        self._settings, self._calls = settings, calls
        self.plan: SweepPlan | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Make the plan; what went wrong is for the cleaner to tell."""
        try:
            workplace = Workplace.to_read(self._settings, self._calls.stop)
            try:
                self.plan = look(workplace, leaves_backlog=not self._settings.include_backlog)
            finally:
                workplace.close()
        except Exception as error:  # noqa: BLE001 - raised again in the cleaner's thread
            self.error = error
        self._calls.work.set()


@dataclass(slots=True)
class FullCycles:
    """The schedule: remembered in the ledger, in its own time, so that restarts change nothing."""

    settings: Settings
    calls: Calls
    ledger: Ledger
    _survey: Survey | None = field(init=False, default=None)

    def ready(self, now: Moment) -> SweepPlan | None:
        """Return a plan that was made; begin one where it is due. Raises what making it raised."""
        survey = self._survey
        if survey is None:
            if self._is_due(now):
                self._survey = Survey(self.settings, self.calls)
                self._survey.start()
            return None
        if survey.is_alive():
            return None
        self._survey = None
        if survey.error is not None:
            raise survey.error
        return None if self.calls.stop.is_set() else survey.plan

    def done(self, now: Moment) -> None:
        """Take down that a full cycle was made, whatever became of it."""
        self.ledger.set_fact(_FACT, repr(now.aged_s))

    def close(self) -> None:
        """Wait for a survey that was told to stop."""
        if self._survey is not None:
            self._survey.join(_JOIN_S)

    def _is_due(self, now: Moment) -> bool:
        """Tell whether it is time, or whether one that was refused may go ahead."""
        interval = self.settings.full_cycle
        if interval is None:
            return False
        braked, last = self.ledger.brakes.current(), self.ledger.fact(_FACT)
        if last is None or (braked is not None and braked.is_confirmed):
            return True
        return now.aged_s - float(last) >= interval.total_seconds()
