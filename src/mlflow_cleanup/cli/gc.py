"""`mlflow-cleanup gc`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from mlflow_cleanup.cli.options import as_json, connection, for_good
from mlflow_cleanup.cli.settings import settings_beside_server
from mlflow_cleanup.errors import BadUsage

if TYPE_CHECKING:
    from mlflow_cleanup.config import Settings
    from mlflow_cleanup.model.deleted import Selection


@click.command()
@click.option("--older-than", help="Only what was deleted so long ago: 30d, 1d2h3m4s.")
@click.option("--run-ids", help="Only these runs, separated by commas.")
@click.option("--experiment-ids", help="Only these experiments, with what is in them.")
@click.option("--logged-model-ids", help="Only these logged models.")
@click.option("--jobs", is_flag=True, help="Remove finished jobs, too.")
@click.option("--job-ids", help="Remove only these jobs.")
@click.option("--tracking-uri", help="Taken for compatibility: no server is needed.")
@click.option("--workspace", envvar="MLFLOW_WORKSPACE", help="Only what is in this workspace.")
@click.option("--all-workspaces", is_flag=True, help="What is in any workspace.")
@click.option("--dry-run", is_flag=True, help="Show what would go; change nothing.")
@click.option("--artifacts-only", is_flag=True, help="Remove files; rows stay.")
@click.option("--metadata-only", is_flag=True, help="Remove rows of what has no files (any more).")
@click.option("--vacuum", is_flag=True, help="Give the database's free pages back to the disk.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connection
@for_good
@as_json
@click.pass_context
def gc(ctx: click.Context, /, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Remove what is deleted in MLflow for good, files first and then rows.

    Takes the flags of `mlflow gc`, means the same by them, and needs no server. Ids that are not
    given mean everything that is deleted.
    """
    from mlflow_cleanup.act.metadata import vacuum
    from mlflow_cleanup.cli.collecting import hands
    from mlflow_cleanup.cli.exits import DONE, NOT_CLEANED
    from mlflow_cleanup.cli.saying import show
    from mlflow_cleanup.cycle.roots import with_named_roots
    from mlflow_cleanup.model.collected import Collected, Fate
    from mlflow_cleanup.report.collected import Tally, collected_text, tally_text, tally_values

    selection = selection_of(ctx, given)
    settings = with_named_roots(settings_of(given))
    is_asking = not given["yes"] and sys.stdin.isatty()
    if given["dry_run"]:
        show(*preview(settings, selection), as_json=as_json)
        return
    if is_asking:
        click.echo(preview(settings, selection)[1], err=True)
        if not click.confirm("Remove that for good?", err=True):
            raise BadUsage("nothing was removed")
    tally = Tally()

    def tell(one: Collected) -> None:
        tally.add(one)
        if one.fate is Fate.REMOVED and not as_json:
            click.echo(collected_text(one))

    try:
        with hands(settings, selection, tally) as ready:
            take = None if given["metadata_only"] else ready.take
            try:
                ready.collection.remove(tell, take, with_rows=not given["artifacts_only"])
            finally:
                tally.is_stopped = ready.workplace.stop.is_set()
                ready.remember(tally)
            if given["vacuum"] and not tally.is_stopped:
                done = vacuum(settings.database)
                tally.vacuumed = done.before_bytes, done.after_bytes
    finally:
        # What broke it off is told after what was done by then.
        if tally.counts or sys.exc_info()[0] is None:
            show(tally_values(tally), tally_text(tally), as_json=as_json)
    ctx.exit(NOT_CLEANED if tally.of(Fate.FAILED) or tally.is_stopped else DONE)


def settings_of(given: dict[str, Any]) -> Settings:
    """Find the database and the roots; raises BadUsage and what reading the database raises.

    A server keeps proxied artifacts in its working directory unless told otherwise. That this is
    also ours is believed beside its database only: rows would go, were files looked for elsewhere.
    """
    from mlflow_cleanup.cycle.roots import has_proxied
    from mlflow_cleanup.server.flags import DEFAULT_DESTINATION

    settings = settings_beside_server(given)
    if given.get("artifacts_destination"):
        return settings
    if settings.database.path is None:
        return _with_known_destination(settings)
    beside = os.path.dirname(settings.database.path)
    if beside == os.path.realpath(os.getcwd()):
        return settings
    usual = os.path.basename(DEFAULT_DESTINATION)
    if os.path.isdir(os.path.join(beside, usual)) and not os.path.lexists(usual):
        return settings_beside_server({**given, "artifacts_destination": f"{beside}/{usual}"})
    if has_proxied(settings):
        raise BadUsage(
            f"the database lies in {beside}: say with --artifacts-destination where its server "
            "keeps artifacts; nothing was removed"
        )
    return settings


def _with_known_destination(settings: Settings) -> Settings:
    """Believe that the server's artifacts are here only where nothing is proxied there."""
    from mlflow_cleanup.cycle.roots import has_proxied

    if has_proxied(settings):
        raise BadUsage(
            f"the database is {settings.database}: say with --artifacts-destination where MLflow's "
            "server keeps artifacts; nothing was removed"
        )
    return settings


def preview(settings: Settings, selection: Selection) -> tuple[dict[str, Any], str]:
    """Say what would be done, as JSON values and as text; changes nothing."""
    from mlflow_cleanup.cli.full import reading
    from mlflow_cleanup.cycle.collection import Collection, look_only
    from mlflow_cleanup.cycle.selection import Selected
    from mlflow_cleanup.report.collected import rows_text, rows_values
    from mlflow_cleanup.report.plans import plan_text, plan_values

    with reading(settings) as workplace:
        sight = look_only(workplace)
        selected = Selected(workplace, selection, sight.now)
        plan, considered = Collection(workplace, sight, selected).plan()
    rows = [(one.row.target, one.stays) for one in considered]
    text = plan_text(plan, for_good=not settings.retention) + "\n\n" + rows_text(rows)
    return {**plan_values(plan), "rows": rows_values(rows)}, text


def selection_of(ctx: click.Context, given: dict[str, Any]) -> Selection:
    """Read the flags as MLflow does; raises BadUsage."""
    from mlflow_cleanup.config import parse_duration
    from mlflow_cleanup.model.deleted import Selection

    if given["artifacts_only"] and given["metadata_only"]:
        raise BadUsage("--artifacts-only and --metadata-only leave nothing to remove")
    older_than = given["older_than"]
    return Selection(
        older_than=None if older_than is None else parse_duration(older_than),
        run_ids=_ids("--run-ids", given["run_ids"]),
        experiment_ids=_ids("--experiment-ids", given["experiment_ids"]),
        logged_model_ids=_ids("--logged-model-ids", given["logged_model_ids"]),
        takes_jobs=given["jobs"] or given["job_ids"] is not None,
        job_ids=_ids("--job-ids", given["job_ids"]),
        workspace=_workspace(ctx, given),
        tolerates_missing=given["all_workspaces"],
    )


def _ids(flag: str, text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    ids = tuple(filter(None, (part.strip() for part in text.split(","))))
    if not ids:
        raise BadUsage(f"{flag} names nothing; without it everything deleted is meant")
    return ids


def _workspace(ctx: click.Context, given: dict[str, Any]) -> str | None:
    """Say which workspace is meant; None: whatever there is."""
    from mlflow_cleanup.model.deleted import DEFAULT_WORKSPACE

    source = ctx.get_parameter_source("workspace")
    if given["all_workspaces"]:
        if given["workspace"] and source is click.core.ParameterSource.COMMANDLINE:
            raise BadUsage("--workspace and --all-workspaces exclude each other")
        return None
    if given["workspace"]:
        return str(given["workspace"])
    enabled = os.environ.get("MLFLOW_ENABLE_WORKSPACES", "").strip().lower() in ("1", "true")
    return DEFAULT_WORKSPACE if enabled else None
