"""Doing what a verb asks: here, with the lease, or by the monitor that holds it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlflow_cleanup.config import Settings
from mlflow_cleanup.cycle import Cycle, Workplace
from mlflow_cleanup.cycle.requests import carry_out, outcome_of
from mlflow_cleanup.errors import CleanupError, FailedThere, LeaseHeld, NotAnswered, PlanRefused
from mlflow_cleanup.ledger.journal import Request
from mlflow_cleanup.ledger.lease import Lease, current_holder
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.monitor import WAKE_FILE

_WAIT_S = 60.0
_LOOK_S = 0.05


def do(settings: Settings, verb: str, run_ids: Sequence[str]) -> dict[str, Any]:
    """Carry out a verb on runs or items; returns what became of each item."""
    Ledger.read(settings.state_dir).close()  # says clearly when there is none yet
    holder = current_holder(settings.state_dir)
    if holder is None:
        try:
            with Lease(settings.lease_places, f"mlflow-cleanup {verb}"):
                return _here(settings, verb, run_ids)
        except LeaseHeld as held:
            if current_holder(settings.state_dir) is None:
                raise  # it works with another ledger, and would not see a request in this one
            return _by_the_holder(settings.state_dir, verb, run_ids, held.holder)
    return _by_the_holder(settings.state_dir, verb, run_ids, str(holder))


def wake(state_dir: Path) -> None:
    """Make a running monitor look at requests and answers now."""
    (state_dir / WAKE_FILE).write_text(str(time.time_ns()), encoding="ascii")


def _here(settings: Settings, verb: str, run_ids: Sequence[str]) -> dict[str, Any]:
    workplace = Workplace(settings, Ledger.open(settings.state_dir))
    try:
        items = carry_out(Cycle(workplace), Request(0, verb, tuple(run_ids)))
    finally:
        workplace.close()
    return {"items": [outcome_of(item) for item in items], "done_by": "this command"}


def _by_the_holder(
    state_dir: Path, verb: str, run_ids: Sequence[str], holder: str
) -> dict[str, Any]:
    ledger = Ledger.open(state_dir)
    try:
        number = ledger.requests.post(verb, run_ids)
        wake(state_dir)
        ends = time.monotonic() + _WAIT_S
        while (outcome := ledger.requests.outcome(number)) is None and time.monotonic() < ends:
            time.sleep(_LOOK_S)
        if outcome is None and ledger.requests.withdraw(number):
            raise NotAnswered(f"{holder} did not answer within {_WAIT_S:g} s; nothing was done")
        outcome = outcome or ledger.requests.outcome(number) or {"items": []}
    finally:
        ledger.close()
    if "error" in outcome:
        raise (_Refused if outcome["type"] == PlanRefused.__name__ else FailedThere)(
            outcome["error"]
        )
    return {**outcome, "done_by": holder}


class _Refused(PlanRefused):
    """A refusal as the holder of the lease worded it."""

    def __init__(self, text: str) -> None:
        CleanupError.__init__(self, text)
