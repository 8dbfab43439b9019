"""How far a plan has come, on a terminal."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import Any

import click

from mlflow_cleanup.model.plan import Step, SweepPlan
from mlflow_cleanup.report.text import size_text


class Bar:
    """A bar with the rate and the time that is left; where nobody looks at a terminal, nothing."""

    def __init__(self, *, quiet: bool) -> None:
        self._is_shown = not quiet and sys.stderr.isatty()
        self._open = ExitStack()
        self._bar: Any = None
        self._done = self._bytes = 0
        self._begun = time.monotonic()

    def begin(self, plan: SweepPlan) -> None:
        """Draw it for a plan."""
        self._begun = time.monotonic()
        if self._is_shown and plan.steps:
            self._bar = self._open.enter_context(
                click.progressbar(
                    length=len(plan.steps),
                    label="cleaning",
                    file=sys.stderr,
                    show_eta=True,
                    item_show_func=lambda _: self._rate(),
                )
            )

    def count(self, step: Step) -> None:
        """Count one more step."""
        self.move_to(self._done + 1, self._bytes + (step.size.bytes if step.size else 0))

    def move_to(self, done: int, bytes_: int) -> None:
        """Show how many steps are done, and how many bytes they took."""
        steps, self._done, self._bytes = done - self._done, done, bytes_
        if self._bar is not None:
            self._bar.update(steps, self._bytes)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _rate(self) -> str:
        return f"{size_text(self._bytes / max(time.monotonic() - self._begun, 0.001))}/s"
