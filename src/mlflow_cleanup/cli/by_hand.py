"""Doing what a verb asks: here, with the lease, or by the monitor that holds it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from mlflow_cleanup.config import Settings
from mlflow_cleanup.cycle import Cycle, Workplace
from mlflow_cleanup.cycle.holding import lease_of
from mlflow_cleanup.cycle.requests import do, outcome_of
from mlflow_cleanup.errors import (
    CleanupError,
    FailedThere,
    LeaseHeld,
    LedgerUnwritable,
    NotAnswered,
    PlanOutdated,
    PlanRefused,
    SweepRefused,
)
from mlflow_cleanup.ledger.lease import MONITOR, current_holder
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.ledger.requests import Progress, Requests
from mlflow_cleanup.model.ledger_home import LedgerHome

_WAIT_S = 60.0
_LOOK_S = 0.05
_HOLDER_S = 1.0  # between two looks whether the process that works on it lives

Values = dict[str, Any]

Watch = Callable[[Progress], bool]
"""Told how far a request has come; answers whether the rest is wanted still."""

_TOLD_ALIKE: dict[str, type[CleanupError]] = {
    kind.__name__: kind for kind in (PlanRefused, SweepRefused, PlanOutdated)
}


def do_to_items(settings: Settings, verb: str, ids: Sequence[str]) -> Values:
    """Carry out a verb on items; returns what became of each."""
    Ledger.read(settings.home).close()  # says clearly when there is none yet

    def here() -> Values:
        with lease_of(settings, f"mlflow-cleanup {verb}") as lease:
            ledger = Ledger.open(settings.home, lease.fence)
            workplace = Workplace(settings, ledger, still_ours=lease.verify)
            try:
                return {"items": [outcome_of(item) for item in do(Cycle(workplace), verb, ids)]}
            finally:
                workplace.close()

    return here_or_there(settings, here, lambda: (verb, ids))


def here_or_there(
    settings: Settings,
    here: Callable[[], Values],
    ask: Callable[[], tuple[str, Sequence[str]]],
    watch: Watch = lambda _: True,
) -> Values:
    """Do something `here`, which takes the lease, or `ask` whoever holds it to do it."""
    holder = current_holder(settings.home)
    if holder is None:
        try:
            return {**here(), "done_by": "this command"}
        except LeaseHeld:
            holder = current_holder(settings.home)
            if holder is None:
                raise  # it works with another ledger, and would not see a request in this one
    if holder.what != MONITOR:
        raise LeaseHeld(str(holder), str(settings.home))
    return by_the_holder(settings.home, ask(), str(holder), watch)


def by_the_holder(
    home: LedgerHome,
    asked: tuple[str, Sequence[str]],
    holder: str,
    watch: Watch = lambda _: True,
) -> Values:
    """Have the monitor that holds the lease do something; raises NotAnswered and its errors."""
    ledger = Ledger.open(home)
    try:
        number = ledger.requests.post(*asked)
        ledger.wake()
        try:
            outcome = _await(ledger.requests, number, watch, home)
        except BaseException:
            # Who does not wait any more does not want it any more.
            with suppress(LedgerUnwritable):
                if not ledger.requests.withdraw(number):
                    ledger.requests.ask_to_stop(number)
            raise
        with suppress(LedgerUnwritable):  # the next holder throws it away
            ledger.requests.forget(number)
    finally:
        ledger.close()
    if outcome is None:
        raise NotAnswered(f"{holder} did not answer within {_WAIT_S:g} s; nothing was done")
    if "error" in outcome:
        kind = _TOLD_ALIKE.get(outcome["type"], FailedThere)
        raise kind.__new__(kind, outcome["error"])  # worded by the holder already
    return {**outcome, "done_by": holder}


def _await(requests: Requests, number: int, watch: Watch, home: LedgerHome) -> Values | None:
    """Wait a while for the beginning, then as long as the holder lives; None: not begun."""
    looked_s = heard_s = time.monotonic()
    ends, heard = looked_s + _WAIT_S, None
    while (outcome := requests.outcome(number)) is None:
        now, progress = time.monotonic(), requests.progress(number)
        if progress != heard:
            heard, heard_s = progress, now
        is_wanted = watch(progress or Progress(0, 0))
        if progress is None:
            if not is_wanted and _take_back(requests, number):
                raise NotAnswered(
                    "it was taken back before anybody began with it; nothing was done"
                )
            is_late = now > ends and _take_back(requests, number)
            if is_late or not requests.is_there(number):
                return None
        elif not is_wanted:
            with suppress(LedgerUnwritable):  # asked again in a moment
                requests.ask_to_stop(number)
        if progress is not None and now - looked_s > _HOLDER_S:
            looked_s = now
            _require_alive(home)
            if now - heard_s > _WAIT_S and not requests.is_writable(number):
                raise NotAnswered(
                    "it was begun, but what became of it cannot be told: the ledger in "
                    f"{home} cannot be written. What was done stands in `mlflow-cleanup "
                    "history`; free space there, and ask again for the rest"
                )
        time.sleep(_LOOK_S)
    return outcome


def _take_back(requests: Requests, number: int) -> bool:
    """Take a request back; False when it was begun meanwhile."""
    try:
        return requests.withdraw(number)
    except LedgerUnwritable as error:
        raise NotAnswered(
            f"nobody has begun with it, and it cannot be taken back, as the ledger {error.path} "
            f"cannot be written ({error.detail}): it may be done later. Free space there, and look "
            "at `mlflow-cleanup history`"
        ) from error


def _require_alive(home: LedgerHome) -> None:
    """Raise NotAnswered when the process that works on a request has ended."""
    if current_holder(home) is None:
        raise NotAnswered(
            "the process that did it has ended; the next start finishes or reverts the "
            "step in hand. Look at `mlflow-cleanup history`, and ask again for the rest"
        )
