"""The group of verbs; each is imported only when it is called."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from typing import Any

import click

from mlflow_cleanup.cli.exits import fail
from mlflow_cleanup.errors import CleanupError, OutputLost

_VERBS = {
    "ui": ("serve", "Start the MLflow UI and, beside it, the monitor."),
    "server": ("serve", "The same as ui, as in MLflow."),
    "watch": ("watch", "Run the monitor beside an MLflow server that runs already."),
    "status": ("status", "Show what is watched, quarantined, failed and freed."),
    "plan": ("plan", "Show every byte that MLflow no longer needs; changes nothing."),
    "usage": ("usage", "Show where the bytes are: by kind, experiment, user and run."),
    "apply": ("apply", "Carry out a saved plan."),
    "sweep": ("sweep", "Plan and, with --apply, reclaim in one go."),
    "gc": ("gc", "Remove what is deleted for good, rows too: the drop-in for mlflow gc."),
    "pin": ("pin", "Keep files whatever happens in MLflow; list what is kept so."),
    "unpin": ("pin", "Take back a pin."),
    "trash": ("trash", "List or purge what is in the trash."),
    "restore": ("restore", "Put the files of runs back from the trash."),
    "history": ("history", "Show what was done, and why."),
    "confirm": ("confirm", "Let a plan that a safeguard refused go ahead, or forget its runs."),
    "adopt": ("adopt", "Say that an artifact root belongs to this tracking database."),
    "doctor": ("doctor", "Check database, artifact roots and permissions."),
}


class LazyGroup(click.Group):
    """A group whose verbs live in modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the verbs in the order in which they are shown."""
        return list(_VERBS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import a verb."""
        if cmd_name not in _VERBS:
            return None
        module = import_module(f"mlflow_cleanup.cli.{_VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _VERBS.items()])

    def main(self, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - as click has it
        """Run the command; where click's own words cannot be written, say so and end with 1."""
        try:
            return super().main(*args, **more)
        except OSError as error:
            if not _is_of_click(error):
                raise
            from mlflow_cleanup.cli.saying import let_go_of_output

            let_go_of_output()
            sys.exit(fail(OutputLost(error.strerror or str(error))))

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run a verb; turn our errors into a message and an exit code."""
        try:
            return super().invoke(ctx)
        except CleanupError as error:
            ctx.exit(fail(error))


def _is_of_click(error: OSError) -> bool:
    """Tell whether click itself met an error: while it printed help, for one."""
    frames = traceback.extract_tb(error.__traceback__)
    return os.path.dirname(frames[-1].filename) == os.path.dirname(click.__file__)


@click.command(cls=LazyGroup, context_settings={"max_content_width": 100})
@click.version_option(package_name="mlflow-cleanup")
def app() -> None:
    """Keep MLflow's artifact storage equal to what its tracking database says exists.

    Deleted runs' artifacts move to a trash, from which Restore in MLflow brings them back, and are
    purged when their retention has passed.

    Exit codes: 0 done, 1 unexpected error, 2 wrong usage, 3 something could not be cleaned, 4
    refused by a safeguard, 5 another process holds the lease.
    """
