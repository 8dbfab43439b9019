"""`mlflow-cleanup pin` and `mlflow-cleanup unpin`."""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone
from typing import Any

import click

from mlflow_cleanup.cli.options import as_json, connection
from mlflow_cleanup.cli.settings import home_of, home_to_write
from mlflow_cleanup.errors import BadUsage
from mlflow_cleanup.model.objects import is_object_root

_ID = re.compile(r"(m-|tr-)?[0-9a-f]{32}")


def _target(text: str) -> str:
    """Read what is to be pinned: an id, or else a path."""
    if _ID.fullmatch(text):
        return text
    if is_object_root(text):
        return text  # whatever it may mean is kept
    if os.sep not in text and not os.path.exists(text):
        raise BadUsage(f"{text!r} is no id of a run, model or trace, and no path; nothing changed")
    return os.path.realpath(text)


@click.command()
@click.argument("targets", nargs=-1, metavar="[ID|PATH]...")
@click.option("--reason", help="Why, for those who wonder later.")
@connection
@as_json
def pin(targets: tuple[str, ...], reason: str | None, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Keep the files of runs, models or traces, or a path, whatever happens to them in MLflow.

    Without a target, lists what is pinned.
    """
    from mlflow_cleanup.cli.saying import show
    from mlflow_cleanup.ledger.ledger import Ledger
    from mlflow_cleanup.report.text import printable, table

    wanted = [_target(text) for text in targets]
    home = home_to_write(given) if wanted else home_of(given)
    ledger = Ledger.open(home) if wanted else Ledger.read(home)
    try:
        if wanted:
            ledger.pins.add(wanted, datetime.now(timezone.utc), reason)
            ledger.wake()
        pins = ledger.pins.all()
    finally:
        ledger.close()
    values = [one._asdict() for one in pins]
    rows = [[printable(one.target), one.at[:16], printable(one.reason or "-")] for one in pins]
    text = table(["pinned", "since", "why"], rows) if rows else "nothing is pinned here"
    show(values, text, as_json=as_json)


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="ID|PATH...")
@connection
def unpin(targets: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401 - click's values
    """Take back a pin."""
    from mlflow_cleanup.cli.saying import put
    from mlflow_cleanup.ledger.ledger import Ledger

    home = home_to_write(given)
    Ledger.read(home).close()
    ledger = Ledger.open(home)
    try:
        count = ledger.pins.remove(
            {spelling for text in targets for spelling in (text, os.path.realpath(text))}
        )
        ledger.wake()
    finally:
        ledger.close()
    if not count:
        raise BadUsage("none of these is pinned; `mlflow-cleanup pin` lists what is")
    put(f"{count} unpinned")
