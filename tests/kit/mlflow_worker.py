"""The process in which MLflow itself works: imports it once, then does as it is told.

Reads one JSON object a line and answers with one. Started by `tests.kit.mlflow_gc`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

Values = dict[str, Any]


class Maker:
    """Makes what a user makes, through MLflow's own store; answers with ids."""

    def __init__(self, database: str, root: str, workspace: str | None) -> None:
        uri = database if "://" in database else f"sqlite:///{database}"
        if workspace is None:
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

            self.store = SqlAlchemyStore(uri, root)
        else:
            from mlflow.store.tracking.sqlalchemy_workspace_store import (  # noqa: PLC0415
                WorkspaceAwareSqlAlchemyStore,
            )

            self.store = WorkspaceAwareSqlAlchemyStore(uri, root)
        self.uri = uri

    def experiment(self, name: str, location: str | None = None) -> str:
        """Create an experiment."""
        return str(self.store.create_experiment(name, artifact_location=location))

    def run(self, experiment: str, *, parent: str | None = None, ended: bool = True) -> str:
        """Create a run with params, metrics and tags."""
        from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415

        tags = [RunTag("mlflow.user", "telling")]
        if parent:
            tags.append(RunTag("mlflow.parentRunId", parent))
        run = self.store.create_run(experiment, "telling", 1_000, tags, "telling run")
        id_ = run.info.run_id
        metrics = [Metric(f"metric {step % 2}", float(step), step, step) for step in range(4)]
        self.store.log_batch(id_, metrics, [Param("p", "1")], [RunTag("t", "1")])
        if ended:
            from mlflow.entities import RunStatus  # noqa: PLC0415

            self.store.update_run_info(id_, RunStatus.FINISHED, 2_000, "telling run")
        return str(id_)

    def dataset(self, run: str, name: str, source: str = "/elsewhere") -> None:
        """Log a dataset as a run's input."""
        from mlflow.entities import Dataset, DatasetInput, InputTag  # noqa: PLC0415

        made = Dataset(name, name, "local", source)
        self.store.log_inputs(run, [DatasetInput(made, [InputTag("mlflow.data.context", "x")])])

    def model(self, experiment: str, run: str | None = None) -> str:
        """Create a logged model with params and tags."""
        from mlflow.entities import LoggedModelParameter, LoggedModelTag  # noqa: PLC0415

        made = self.store.create_logged_model(
            experiment,
            "telling",
            run,
            [LoggedModelTag("t", "1")],
            [LoggedModelParameter("p", "1")],
        )
        return str(made.model_id)

    def model_metric(self, run: str, model: str) -> None:
        """Log a metric of a model in a run."""
        from mlflow.entities import Metric  # noqa: PLC0415

        self.store.log_metric(run, Metric("of a model", 1.0, 1, 1, model_id=model))

    def model_input(self, run: str, model: str) -> None:
        """Log a model as a run's input."""
        from mlflow.entities import LoggedModelInput  # noqa: PLC0415

        self.store.log_inputs(run, models=[LoggedModelInput(model)])

    def model_output(self, run: str, model: str) -> None:
        """Log a model as a run's output."""
        from mlflow.entities import LoggedModelOutput  # noqa: PLC0415

        self.store.log_outputs(run, [LoggedModelOutput(model, 0)])

    def trace(self, experiment: str, number: int) -> str:
        """Start a trace."""
        from mlflow.entities import TraceInfo, TraceLocation, TraceState  # noqa: PLC0415

        info = TraceInfo(
            f"tr-{number:032x}",
            TraceLocation.from_experiment_id(experiment),
            1_000,
            TraceState.OK,
            trace_metadata={"k": "v"},
            tags={"t": "1"},
        )
        return str(self.store.start_trace(info).trace_id)

    def version(self, source: str, run: str | None = None) -> str:
        """Register a version of the model "telling"."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415
        from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

        registry = SqlAlchemyStore(self.uri)
        with contextlib.suppress(MlflowException):
            registry.create_registered_model("telling")
        return str(registry.create_model_version("telling", source, run).version)

    def job(self, *, ends: bool = True) -> str:
        """Create a job, which runs or has ended."""
        from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore  # noqa: PLC0415

        jobs = SqlAlchemyJobStore(self.uri)
        made = jobs.create_job("telling", "{}")
        jobs.start_job(made.job_id)
        if ends:
            jobs.finish_job(made.job_id, "{}")
        return str(made.job_id)

    def delete_run(self, run: str) -> None:
        """Delete a run."""
        self.store.delete_run(run)

    def restore_run(self, run: str) -> None:
        """Restore a run."""
        self.store.restore_run(run)

    def delete_model(self, model: str) -> None:
        """Delete a logged model."""
        self.store.delete_logged_model(model)

    def delete_experiment(self, experiment: str) -> None:
        """Delete an experiment with its runs."""
        self.store.delete_experiment(experiment)

    def restore_experiment(self, experiment: str) -> None:
        """Restore an experiment with its runs."""
        self.store.restore_experiment(experiment)


def make(asked: Values) -> Values:
    """Make things one after another; a name given to one stands for its id in later ones."""
    named: dict[str, Any] = {}
    with _workspace(asked.get("workspace")):
        maker = Maker(asked["database"], asked["root"], asked.get("workspace"))
        for name, verb, given in asked["steps"]:
            values = {
                key: named.get(value, value) if isinstance(value, str) else value
                for key, value in given.items()
            }
            named[name] = getattr(maker, verb)(**values)
    return {"ids": {name: id_ for name, id_ in named.items() if id_ is not None}}


@contextlib.contextmanager
def _workspace(name: str | None) -> Any:  # noqa: ANN401 - a generator
    if name is None:
        yield
        return
    from mlflow.utils import workspace_context  # noqa: PLC0415

    os.environ["MLFLOW_ENABLE_WORKSPACES"] = "true"
    try:
        with workspace_context.WorkspaceContext(name):
            yield
    finally:
        del os.environ["MLFLOW_ENABLE_WORKSPACES"]


@contextlib.contextmanager
def _meanwhile(asked: Values | None) -> Iterator[None]:
    """Let a statement be executed by somebody else when the first artifacts are gone."""
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository  # noqa: PLC0415

    real, waiting = LocalArtifactRepository.delete_artifacts, [asked] if asked else []

    def delete_artifacts(self: Any, artifact_path: str | None = None) -> None:  # noqa: ANN401
        real(self, artifact_path)
        if waiting:
            one = waiting.pop()
            with contextlib.closing(sqlite3.connect(one["database"])) as connection, connection:
                connection.execute(one["query"])

    LocalArtifactRepository.delete_artifacts = delete_artifacts
    try:
        yield
    finally:
        LocalArtifactRepository.delete_artifacts = real


def gc(asked: Values) -> Values:
    """Run `mlflow gc` through its own click command."""
    from click.testing import CliRunner  # noqa: PLC0415
    from mlflow.cli import gc as command  # noqa: PLC0415
    from mlflow.tracking._tracking_service import utils  # noqa: PLC0415

    utils._tracking_uri = None
    before = os.getcwd()
    os.chdir(asked["directory"])
    try:
        with _meanwhile(asked.get("meanwhile")):
            said = CliRunner().invoke(command, asked["words"], env=asked.get("environment") or {})
    finally:
        os.chdir(before)
        for name in ("MLFLOW_ENABLE_WORKSPACES", "MLFLOW_TRACKING_URI"):
            os.environ.pop(name, None)
    error = said.exception
    return {
        "code": said.exit_code,
        "out": said.output,
        "error": None if error is None or isinstance(error, SystemExit) else str(error),
    }


def hard_delete(asked: Values) -> Values:
    """Remove rows of entities as `mlflow gc` does it in the end, without any question."""
    from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore  # noqa: PLC0415

    maker = Maker(asked["database"], asked["root"], None)
    for run in asked["runs"]:
        maker.store._hard_delete_run(run)
    for model in asked["models"]:
        maker.store._hard_delete_logged_model(model)
    for experiment in asked["experiments"]:
        maker.store._hard_delete_experiment(experiment)
    if asked["jobs"]:
        SqlAlchemyJobStore(maker.uri).delete_jobs(job_ids=asked["jobs"])
    return {}


def options(_: Values) -> Values:
    """Name the options of `mlflow gc`."""
    from mlflow.cli import gc as command  # noqa: PLC0415

    return {"options": sorted(option for param in command.params for option in param.opts)}


def forget(_: Values) -> Values:
    """Close what stores have open, whose databases are about to be removed."""
    from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore  # noqa: PLC0415
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

    for store in (SqlAlchemyStore, SqlAlchemyJobStore):
        for engine in store._engine_map.values():
            engine.dispose()
        store._engine_map.clear()
    return {}


VERBS = {"make": make, "gc": gc, "hard_delete": hard_delete, "options": options, "forget": forget}


def main() -> None:
    """Answer until standard input ends; what MLflow prints goes nowhere."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked: Mapping[str, Any] = json.loads(line)
        begun = time.monotonic()
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                answer = VERBS[asked["do"]](dict(asked))
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            answer = {"failed": f"{type(error).__name__}: {error}"}
        answer["took_s"] = time.monotonic() - begun
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
