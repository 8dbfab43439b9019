"""What each MLflow release leaves behind: a database with every entity it has, and the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.kit.estates import Estate, Fate, Tables, Thing
from tests.kit.tracking_db import run_id

TEAMS = ("first", "second")
"""Workspaces beside the default one."""

DEAD, SECOND = "2", "3"
"""A deleted experiment, and one whose artifacts a user put into a directory of their own."""


def fill(db: Tables, root: Path, version: str, at_s: float) -> Estate:
    """Fill an empty database of a release, and an artifact root, as it was used until `at_s`."""
    estate = Estate(db, root, version, at_s)
    for since, build in _BUILDERS:
        if estate.since(since):
            build(estate)
    return estate


def _runs_and_versions(estate: Estate) -> None:
    """What every release since 1.27 has."""
    given = estate.root / "of" / "a user"
    estate.elsewhere[SECOND] = (f"file://{given}", given)
    for id_, stage in (("0", "active"), (DEAD, "deleted"), (SECOND, "active")):
        estate.experiment(id_, stage)
        estate.db.insert("experiment_tags", key="team", value="one", experiment_id=int(id_))
    estate.run("live", Fate.LIVE)
    estate.run("deleted", Fate.GOES)
    estate.run("deleted before 1.28", Fate.GOES, deleted_time=None)
    parent = estate.run("deleted parent", Fate.GOES)
    child = estate.run("live child", Fate.LIVE)
    estate.tag(child, "mlflow.parentRunId", parent)
    child = estate.run("deleted child", Fate.GOES)
    estate.tag(child, "mlflow.parentRunId", estate.id("live"))
    estate.run("in a user's directory", Fate.GOES, SECOND)
    estate.run("live in a user's directory", Fate.LIVE, SECOND)
    estate.run("pinned", Fate.STAYS)
    estate.tag(estate.id("pinned"), "mlflow-cleanup.keep", "true")
    estate.run("in a deleted experiment", Fate.GOES, DEAD)
    _registered(estate)
    estate.keep(
        "lost", Thing(run_id(0xF), estate.root / "0" / run_id(0xF) / "artifacts", Fate.ORPHAN), "a"
    )


def _registered(estate: Estate) -> None:
    """Versions that protect runs: by a URI, as `runs:/`, and one that is deleted and does not."""
    estate.model("alpha")
    estate.db.insert("registered_model_tags", key="stage", value="x", name="alpha")
    by_uri = estate.run("source of a version", Fate.STAYS)
    uri = f"{estate.location('0')}/{by_uri}/artifacts/model"
    old = {"storage_location": None}  # of before 2.10, when the column came
    estate.model_version("alpha", 1, uri, run_id=by_uri, current_stage="Production", **old)
    by_run = estate.run("source by its id", Fate.STAYS)
    estate.model_version("alpha", 2, f"runs:/{by_run}/model", run_id=by_run)
    dropped = estate.run("source of a deleted version", Fate.GOES)
    gone = {"source": "REDACTED-SOURCE-PATH", "run_id": "REDACTED-RUN-ID"}
    place = f"{estate.location('0')}/{dropped}/artifacts/model"
    estate.model_version(
        "alpha",
        3,
        **{**gone, "current_stage": "Deleted_Internal", "storage_location": place},
    )


def _copies_and_datasets(estate: Estate) -> None:
    """Aliases, copies of versions, and the datasets that runs used (2.10)."""
    estate.db.insert("registered_model_aliases", name="alpha", alias="champion", version=1)
    copied = estate.run("source of a copied version", Fate.STAYS)
    uri = f"{estate.location('0')}/{copied}/artifacts/model"
    estate.model("beta")
    estate.model_version("beta", 1, "models:/gone from here/1", storage_location=uri)
    data = estate.run("data of a live run", Fate.STAYS)
    unused = estate.run("data of a deleted run", Fate.GOES)
    for source, used_by in ((data, "live"), (unused, "deleted")):
        _dataset(estate, f"file://{estate.root}/0/{source}/artifacts/model", used_by)


def _dataset(estate: Estate, uri: str, used_by: str) -> None:
    id_ = f"dataset of {used_by}"
    estate.db.insert(
        "datasets",
        dataset_uuid=id_,
        experiment_id=0,
        name=id_,
        digest=id_,
        dataset_source_type="local",
        dataset_source=f'{{"uri": "{uri}"}}',
        dataset_schema=None,
        dataset_profile=None,
    )
    input_uuid = f"input of {used_by}"
    ends = {"destination_type": "RUN", "destination_id": estate.id(used_by)}
    estate.db.insert("inputs", input_uuid=input_uuid, source_type="DATASET", source_id=id_, **ends)
    estate.db.insert("input_tags", input_uuid=input_uuid, name="mlflow.data.context", value="t")


def _traces(estate: Estate) -> None:
    """Traces (2.14): they are live as long as their experiment is, and go without a trace."""
    estate.trace("live trace", Fate.LIVE, estate.id("live"))
    estate.trace("trace of a deleted run", Fate.LIVE, estate.id("deleted"))
    of = estate.id("in a deleted experiment")
    estate.trace("trace in a deleted experiment", Fate.GOES, of, DEAD)
    estate.trace("deleted trace", Fate.ORPHAN, of, has_row=False)


def _logged_models(estate: Estate) -> None:
    """Logged models (3.0), which lie beside the runs."""
    estate.logged_model("live model", Fate.LIVE, estate.id("live"))
    estate.logged_model("deleted model", Fate.GOES, estate.id("live"))
    estate.logged_model("model of a deleted run", Fate.SOFT, estate.id("deleted"))
    of = estate.id("in a deleted experiment")
    estate.logged_model("model in a deleted experiment", Fate.GOES, of, DEAD, stage="active")
    used = estate.logged_model(
        "deleted model that is registered", Fate.STAYS, estate.id("live"), stage="deleted"
    )
    place = f"{estate.location('0')}/models/{used}/artifacts"
    estate.model_version("alpha", 4, f"models:/{used}", storage_location=place)
    estate.db.insert(
        "logged_model_metrics",
        model_id=estate.id("live model"),
        metric_name="loss",
        metric_timestamp_ms=estate.at_ms,
        metric_step=0,
        metric_value=0.5,  # type: ignore[arg-type]
        experiment_id=0,
        run_id=estate.id("live"),
        dataset_uuid=None,
        dataset_name=None,
        dataset_digest=None,
    )


def _jobs(estate: Estate) -> None:
    """Jobs (3.5): one that runs, and one that has ended."""
    for id_, status in (("running job", 1), ("finished job", 2)):
        estate.db.insert(
            "jobs",
            id=id_,
            creation_time=estate.at_ms,
            job_name="invoke",  # until 3.10 it was a function's name
            function_fullname="judges.invoke",
            params="{}",
            timeout=None,
            status=status,
            result=None,
            retry_count=0,
            last_update_time=estate.at_ms,
        )


def _workspaces(estate: Estate) -> None:
    """Workspaces (3.10) with equal names in them; the second one has an artifact root of its own.

    A version of the second one was registered from a run of the first.
    """
    own = estate.root / "of-second"
    for number, (team, above, root) in enumerate(
        (
            (TEAMS[0], "mlflow-artifacts:/workspaces/first", estate.root / "workspaces/first"),
            (TEAMS[1], "mlflow-artifacts:/of-second", own),
        )
    ):
        id_ = str(10 + number)
        default_root = above if root == own else None
        estate.db.insert(
            "workspaces", name=team, description="", default_artifact_root=default_root
        )
        estate.elsewhere[id_] = (f"{above}/{id_}", root / id_)
        estate.experiment(id_, name="same name", workspace=team)
        for fate in (Fate.LIVE, Fate.GOES):
            estate.run(f"{fate.name} in {team}", fate, id_)
        estate.logged_model(f"model in {team}", Fate.LIVE, estate.id(f"LIVE in {team}"), id_)
        source = estate.run(f"source in {team}", Fate.STAYS, id_)
        estate.model("same model", workspace=team)
        uri = f"{estate.location(id_)}/{source}/artifacts/model"
        estate.model_version("same model", 1, uri, run_id=source, workspace=team)
    source = estate.run("source in first for second", Fate.STAYS, "10")
    uri = f"{estate.location('10')}/{source}/artifacts/model"
    estate.model_version("same model", 2, uri, workspace=TEAMS[1])
    gone = {"source": "REDACTED-SOURCE-PATH", "current_stage": "Deleted_Internal"}
    estate.model_version(
        "same model", 2, **{**gone, "storage_location": uri, "workspace": TEAMS[0]}
    )


_BUILDERS: tuple[tuple[str, Callable[[Estate], None]], ...] = (
    ("1.27", _runs_and_versions),
    ("2.10", _copies_and_datasets),
    ("2.14", _traces),
    ("3.0", _logged_models),
    ("3.5", _jobs),
    ("3.10", _workspaces),
)
