"""What `plan`, `apply` and `sweep` share: making a plan, and having it carried out."""

from __future__ import annotations

import gc
import json
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from mlflow_cleanup.cli.by_hand import Values, here_or_there
from mlflow_cleanup.cli.exits import DONE, NOT_CLEANED
from mlflow_cleanup.cli.progress import Bar
from mlflow_cleanup.cli.settings import require_database
from mlflow_cleanup.config import Settings
from mlflow_cleanup.cycle import Cycle, Workplace
from mlflow_cleanup.cycle.holding import lease_of
from mlflow_cleanup.cycle.requests import APPLY
from mlflow_cleanup.cycle.sweep import carry_out, look, require_current, require_same
from mlflow_cleanup.errors import BadUsage
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.ledger.requests import Progress
from mlflow_cleanup.model.plan import Step, StepResult, SweepPlan
from mlflow_cleanup.report.plans import plan_from, plan_values, steps_text, steps_values
from mlflow_cleanup.stores.local.crew import spare_cores

MakePlan = Callable[[Workplace], SweepPlan]


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
    """Open everything to read only."""
    workplace = Workplace.to_read(settings, listers=spare_cores())
    try:
        with seldom_collected():
            yield workplace
    finally:
        workplace.close()


def carry_out_once(settings: Settings, make: MakePlan, what: str, *, quiet: bool) -> Values:
    """Have a plan carried out, here or by the monitor that holds the lease.

    Ctrl-C finishes the step in hand. Returns what became of each step.
    """
    require_database(settings.database)
    with stopping() as stop, Bar(quiet=quiet) as bar:

        def here() -> Values:
            with lease_of(settings, f"mlflow-cleanup {what}") as lease:
                ledger = Ledger.open(settings.home, lease.fence)
                workplace = Workplace(
                    settings,
                    ledger,
                    stop=stop,
                    listers=spare_cores(),
                    still_ours=lease.verify,
                )
                try:
                    with seldom_collected():
                        return _here(workplace, make, bar)
                finally:
                    workplace.close()

        def ask() -> tuple[str, list[str]]:
            with reading(settings) as workplace:
                plan = make(workplace)
            bar.begin(plan)
            return APPLY, [json.dumps(plan_values(plan))]

        def watch(progress: Progress) -> bool:
            bar.move_to(progress.done, progress.bytes)
            return not stop.is_set()

        return here_or_there(settings, here, ask, watch)


def saved_plan(path: Path) -> MakePlan:
    """Take the plan from a file; raises BadUsage."""
    try:
        plan = plan_from(json.loads(_read(path)))
    except (OSError, ValueError, RecursionError) as error:
        raise BadUsage(f"the plan {path} cannot be read: {error}") from error

    def take(workplace: Workplace) -> SweepPlan:
        require_current(workplace, plan, workplace.ledger.peek(workplace.clock()).at)
        return plan

    return take


def _read(path: Path) -> bytes:
    """Read a file whole; for what may never end, or never begin, raises ValueError at once."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("it is no regular file")
        return file.read()


def plan_shown_as(plan_id: str) -> MakePlan:
    """Make the plan anew, and take it where it is the one that was shown under this id."""

    def make(workplace: Workplace) -> SweepPlan:
        plan = look(workplace)
        require_same(plan, plan_id)
        return plan

    return make


def finish(ctx: click.Context, values: Values, *, as_json: bool) -> None:
    """Tell what became of a plan; what failed or was left decides the exit code."""
    from mlflow_cleanup.cli.saying import show

    show(values, steps_text(values), as_json=as_json)
    counts = values["counts"]
    not_done = counts[StepResult.FAILED.value] + counts[StepResult.NOT_OURS.value]
    ctx.exit(NOT_CLEANED if not_done or values["left"] else DONE)


def _here(workplace: Workplace, make: MakePlan, bar: Bar) -> Values:
    cycle = Cycle(workplace)
    cycle.run(takes=False)  # nothing that is not in the plan
    plan = make(workplace)
    bar.begin(plan)

    def follow(step: Step) -> bool:
        bar.count(step)
        return True  # Ctrl-C reaches the workplace itself

    return steps_values(plan, carry_out(cycle, workplace, plan, follow))


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Set an event at Ctrl-C instead of breaking off."""
    stop = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
