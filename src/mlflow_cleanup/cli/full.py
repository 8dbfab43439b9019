"""What `plan`, `apply` and `sweep` share: making a plan, and carrying it out with its progress."""

from __future__ import annotations

import gc
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from mlflow_cleanup.cli.exits import DONE, NOT_CLEANED
from mlflow_cleanup.config import Settings
from mlflow_cleanup.cycle import Cycle, Workplace
from mlflow_cleanup.cycle.sweep import OnStep, carry_out, full_cycle, require_current
from mlflow_cleanup.errors import BadUsage, LedgerMissing
from mlflow_cleanup.ledger.lease import Lease
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.plan import Step, StepResult, SweepPlan
from mlflow_cleanup.report.plans import plan_from, steps_text, steps_values
from mlflow_cleanup.report.text import size_text
from mlflow_cleanup.stores.local.crew import spare_cores


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Let Python look for unreachable values less often: what a verb makes, it keeps to its end.

    Looking through all that was listed and read, again and again, takes a sixth of the whole time.
    """
    before = gc.get_threshold()
    gc.set_threshold(20_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def reading(settings: Settings) -> Iterator[Workplace]:
    """Open everything to read only; where nothing was watched yet there is no ledger to read."""
    try:
        ledger = Ledger.read(settings.state_dir)
    except LedgerMissing:
        ledger = Ledger.empty()
    workplace = Workplace(settings, ledger, listers=spare_cores())
    try:
        with seldom_collected():
            yield workplace
    finally:
        workplace.close()


@contextmanager
def acting(settings: Settings, what: str) -> Iterator[Workplace]:
    """Take the lease and open everything; Ctrl-C finishes the step in hand."""
    with Lease(settings.lease_places, f"mlflow-cleanup {what}"):
        stop = threading.Event()
        ledger = Ledger.open(settings.state_dir)
        workplace = Workplace(settings, ledger, stop=stop, listers=spare_cores())
        before = signal.signal(signal.SIGINT, lambda *_: stop.set())
        try:
            with seldom_collected():
                yield workplace
        finally:
            signal.signal(signal.SIGINT, before)
            workplace.close()


def sweep_once(workplace: Workplace, *, quiet: bool) -> tuple[SweepPlan, list[Step]]:
    """Do a whole full cycle: what has to be seen twice is remembered for the next."""
    with _Progress(quiet=quiet) as progress:
        return full_cycle(Cycle(workplace), workplace, progress.begin)


def apply_once(workplace: Workplace, plan: SweepPlan, *, quiet: bool) -> list[Step]:
    """Carry out a saved plan, if it may be still."""
    now = workplace.ledger.now(workplace.clock())
    require_current(workplace, plan, now.at)
    cycle = Cycle(workplace)
    cycle.run()
    with _Progress(quiet=quiet) as progress:
        return carry_out(cycle, workplace, plan, progress.begin(plan))


def load_plan(path: Path) -> SweepPlan:
    """Read a saved plan; raises BadUsage."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadUsage(f"the plan {path} cannot be read: {error}") from error
    return plan_from(told)


def finish(ctx: click.Context, plan: SweepPlan, steps: list[Step], *, as_json: bool) -> None:
    """Tell what became of a plan; what failed or was left decides the exit code."""
    from mlflow_cleanup.cli.saying import show

    values: dict[str, Any] = steps_values(plan, steps)
    show(values, steps_text(values), as_json=as_json)
    has_failed = any(step.result is StepResult.FAILED for step in steps)
    ctx.exit(NOT_CLEANED if has_failed or values["left"] else DONE)


class _Progress:
    """A bar on a terminal, with the rate and the time that is left; elsewhere nothing."""

    def __init__(self, *, quiet: bool) -> None:
        self._is_shown = not quiet and sys.stderr.isatty()
        self._open = ExitStack()
        self._done, self._begun = 0, time.monotonic()

    def begin(self, plan: SweepPlan) -> OnStep:
        """Draw the bar for a plan; returns what is to be told of each step."""
        length = len(plan.take) + len(plan.empty)
        if not self._is_shown or not length:
            return lambda _: None
        bar: Any = self._open.enter_context(
            click.progressbar(
                length=length,
                label="cleaning",
                file=sys.stderr,
                show_eta=True,
                item_show_func=lambda _: self._rate(),
            )
        )

        def count(step: Step) -> None:
            self._done += step.size.bytes if step.size else 0
            bar.update(1, step)

        return count

    def _rate(self) -> str:
        return f"{size_text(self._done / max(time.monotonic() - self._begun, 0.001))}/s"

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
