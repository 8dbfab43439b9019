"""`mlflow-cleanup ui` and `mlflow-cleanup server`."""

from __future__ import annotations

import os
from typing import Any

import click

from mlflow_cleanup.cli.options import ours_beside_mlflow
from mlflow_cleanup.cli.settings import settings_of
from mlflow_cleanup.errors import BadUsage


class BesideMLflow(click.Command):
    """A command whose own options come first; from the first foreign word on, all is MLflow's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split the arguments, parse ours, and put MLflow's away untouched."""
        ours, theirs = self._split(list(args))
        ctx.meta["mlflow"] = theirs
        return super().parse_args(ctx, ours)

    def _split(self, args: list[str]) -> tuple[list[str], list[str]]:
        takes_value = self._options()
        position = 0
        while position < len(args):
            name, has_value, _ = args[position].partition("=")
            if name == "--":
                return args[:position], args[position + 1 :]
            if name not in takes_value:
                break
            position += 2 if takes_value[name] and not has_value else 1
        theirs = args[position:]
        self._refuse_late(theirs, takes_value)
        if "--" in theirs:
            theirs.remove("--")
        return args[:position], theirs

    def _options(self) -> dict[str, bool]:
        """Return our option names, and whether each takes a value."""
        found = {"--help": False}
        for option in self.params:
            if isinstance(option, click.Option):
                for name in (*option.opts, *option.secondary_opts):
                    found[name] = not option.is_flag
        return found

    def _refuse_late(self, theirs: list[str], ours: dict[str, bool]) -> None:
        before = theirs[: theirs.index("--")] if "--" in theirs else theirs
        late = [word for word in before if word.partition("=")[0] in ours and word != "--help"]
        if late:
            raise BadUsage(
                f"{late[0]} is an option of mlflow-cleanup and has to come before MLflow's own; "
                "what follows a `--` goes to MLflow as it is. Nothing was started."
            )


def _serve(verb: str, given: dict[str, Any], arguments: list[str]) -> int:
    from mlflow_cleanup.cli.saying import say, say_event
    from mlflow_cleanup.monitor import MLflowDatabaseMonitor
    from mlflow_cleanup.server.flags import derive
    from mlflow_cleanup.server.process import MLflowCommand
    from mlflow_cleanup.server.run import serve

    found = derive(arguments, os.environ, os.getcwd())
    monitor = MLflowDatabaseMonitor(
        settings_of(found, given), on_event=say_event, stands_by=given["stand_by"]
    )
    return serve(monitor, MLflowCommand(verb, tuple(arguments), found.address), say)


def _command(verb: str) -> click.Command:
    @click.command(
        verb,
        cls=BesideMLflow,
        options_metavar="[OPTIONS] [MLFLOW'S OPTIONS]...",
        context_settings={"max_content_width": 100},
    )
    @ours_beside_mlflow
    @click.pass_context
    def command(ctx: click.Context, /, **given: Any) -> None:  # noqa: ANN401 - click's values
        """Start the MLflow UI and, beside it, the monitor.

        Our options come first. From the first other word on everything goes to MLflow untouched, as
        does all that follows a `--`; `mlflow ui --help` lists what MLflow takes. Where the database
        and the artifacts are is read from MLflow's own options and environment variables.
        """
        ctx.exit(_serve(verb, given, ctx.meta["mlflow"]))

    return command


ui, server = _command("ui"), _command("server")
