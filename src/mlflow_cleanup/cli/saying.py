"""Writing our lines, so that MLflow's own output stays readable between them."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from datetime import datetime
from typing import Any

import click

from mlflow_cleanup.errors import OutputLost
from mlflow_cleanup.model.event import Event
from mlflow_cleanup.report.lines import PREFIX, line_of
from mlflow_cleanup.report.text import printable


def say_event(event: Event) -> None:
    """Write one event as one line on stderr, where MLflow's log goes too."""
    _write(line_of(event))


def say(text: str) -> None:
    """Write a line of our own on stderr."""
    _write(f"{PREFIX} {datetime.now().astimezone():%H:%M:%S} | {printable(text)}")


def show(values: Any, text: str, *, as_json: bool) -> None:  # noqa: ANN401 - JSON values
    """Print a verb's result on stdout, as text or as JSON; raises OutputLost."""
    put(json.dumps(values, indent=2) if as_json else text)


def put(text: str) -> None:
    """Print on stdout; raises OutputLost where it is full, closed, or nobody reads it any more."""
    if sys.stdout is None:  # closed by whoever started us
        raise OutputLost("standard output is closed")
    try:
        click.echo(text)
    except (OSError, ValueError) as error:
        let_go_of_output()
        raise OutputLost(getattr(error, "strerror", None) or str(error)) from error


def let_go_of_output() -> None:
    """Let what is still to be written to stdout go nowhere: at the end it would fail once more."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(line: str) -> None:
    # A reader that went away (`| head`, a closed terminal, a full disk) is no reason to stop.
    with suppress(OSError, ValueError):
        # One write, so that lines of several processes do not mix.
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
