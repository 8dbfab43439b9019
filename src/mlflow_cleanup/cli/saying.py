"""Writing our lines, so that MLflow's own output stays readable between them."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import datetime
from typing import Any

import click

from mlflow_cleanup.model.event import Event
from mlflow_cleanup.report.lines import PREFIX, line_of


def say_event(event: Event) -> None:
    """Write one event as one line on stderr, where MLflow's log goes too."""
    _write(line_of(event))


def say(text: str) -> None:
    """Write a line of our own on stderr."""
    _write(f"{PREFIX} {datetime.now().astimezone():%H:%M:%S} | {text}")


def show(values: Any, text: str, *, as_json: bool) -> None:  # noqa: ANN401 - JSON values
    """Print a verb's result on stdout, as text or as JSON."""
    click.echo(json.dumps(values, indent=2) if as_json else text)


def _write(line: str) -> None:
    # A reader that went away (`| head`, a closed terminal, a full disk) is no reason to stop.
    with suppress(OSError, ValueError):
        # One write, so that lines of several processes do not mix.
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
