"""MLflow's REST API, as far as tests need it."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

_API = "/api/2.0/mlflow"
_PROXY = "/api/2.0/mlflow-artifacts/artifacts"


class CallFailed(Exception):
    """MLflow answered a call with an error."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as MLflow made it."""

    id: str
    experiment: str
    name: str
    artifact_uri: str


@dataclass(frozen=True, slots=True)
class Tracking:
    """MLflow's REST API on a loopback port, in one workspace where the server has several."""

    port: int
    workspace: str | None = None

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON values
        """Make a call that is answered in JSON; raises CallFailed."""
        return json.loads(self.exchange(method, path, body))

    def exchange(
        self, method: str, path: str, body: Mapping[str, Any] | bytes | None = None
    ) -> bytes:
        """Send JSON values or bytes, and return what is answered; raises CallFailed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            heads = {"X-MLFLOW-WORKSPACE": self.workspace} if self.workspace else {}
            if isinstance(body, Mapping):
                kind = {"Content-Type": "application/json"}
                connection.request(method, path, json.dumps(body), {**heads, **kind})
            else:
                connection.request(method, path, body, heads)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status not in (http.client.OK, http.client.CREATED):
            raise CallFailed(f"{method} {path}: {answer.status} {content.decode(errors='replace')}")
        return content

    def is_healthy(self) -> bool:
        """Tell whether the server answers."""
        try:
            self.exchange("GET", "/health")
        except (OSError, http.client.HTTPException, CallFailed):
            return False
        return True

    def create_workspace(self, name: str) -> Tracking:
        """Make a workspace; returns the API in it."""
        self.call("POST", "/api/3.0/mlflow/workspaces", {"name": name})
        return Tracking(self.port, name)

    def create_experiment(self, artifact_location: str | None = None) -> str:
        """Make an experiment with a name of its own; returns its id."""
        body = {"name": f"experiment {uuid.uuid4().hex[:8]}"}
        if artifact_location is not None:
            body["artifact_location"] = artifact_location
        return str(self.call("POST", f"{_API}/experiments/create", body)["experiment_id"])

    def create_run(self, experiment: str = "0", tags: Mapping[str, str] | None = None) -> Run:
        """Make a run that has begun and not ended."""
        body = {
            "experiment_id": experiment,
            "run_name": f"run of {uuid.uuid4().hex[:6]}",
            "start_time": _now_ms(),
            "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()],
        }
        info = self.call("POST", f"{_API}/runs/create", body)["run"]["info"]
        return Run(info["run_id"], experiment, info["run_name"], info["artifact_uri"])

    def log_run(
        self,
        files: Mapping[str, bytes],
        experiment: str = "0",
        tags: Mapping[str, str] | None = None,
    ) -> Run:
        """Make a run with artifacts, and finish it."""
        run = self.create_run(experiment, tags)
        for name, content in files.items():
            self.upload(run, name, content)
        self.finish(run)
        return run

    def upload(self, run: Run, name: str, content: bytes) -> None:
        """Upload an artifact of a run through the server."""
        self.put(f"{run.experiment}/{run.id}/artifacts/{name}", content)

    def put(self, place: str, content: bytes) -> None:
        """Upload to a place under the artifacts destination, through the server."""
        self.exchange("PUT", f"{_PROXY}/{quote(place)}", content)

    def download(self, run: Run, name: str) -> bytes:
        """Download an artifact of a run through the server."""
        place = f"{run.experiment}/{run.id}/artifacts/{name}"
        return self.exchange("GET", f"{_PROXY}/{quote(place)}")

    def finish(self, run: Run) -> None:
        """End a run as finished."""
        body = {"run_id": run.id, "status": "FINISHED", "end_time": _now_ms()}
        self.call("POST", f"{_API}/runs/update", body)

    def delete(self, run: Run) -> None:
        """Delete a run, as the button in the UI does."""
        self.call("POST", f"{_API}/runs/delete", {"run_id": run.id})

    def restore(self, run: Run) -> None:
        """Restore a deleted run, as the button in the UI does."""
        self.call("POST", f"{_API}/runs/restore", {"run_id": run.id})

    def stage(self, run: Run) -> str:
        """Say which stage of life MLflow sees a run in: active or deleted."""
        info = self.call("GET", f"{_API}/runs/get?run_id={run.id}")["run"]["info"]
        return str(info["lifecycle_stage"])

    def tag(self, run: Run, key: str, value: str) -> None:
        """Set a tag of a run."""
        self.call("POST", f"{_API}/runs/set-tag", {"run_id": run.id, "key": key, "value": value})

    def tag_experiment(self, experiment: str, key: str, value: str) -> None:
        """Set a tag of an experiment."""
        body = {"experiment_id": experiment, "key": key, "value": value}
        self.call("POST", f"{_API}/experiments/set-experiment-tag", body)

    def delete_experiment(self, experiment: str) -> None:
        """Delete an experiment, which deletes all of its runs as well."""
        self.call("POST", f"{_API}/experiments/delete", {"experiment_id": experiment})

    def restore_experiment(self, experiment: str) -> None:
        """Restore a deleted experiment, which makes all of its runs active."""
        self.call("POST", f"{_API}/experiments/restore", {"experiment_id": experiment})

    def register(self, source: str, run: Run | None = None) -> str:
        """Register a model with one version that comes from `source`; returns the model's name."""
        name = f"model {uuid.uuid4().hex[:8]}"
        self.call("POST", f"{_API}/registered-models/create", {"name": name})
        body = {"name": name, "source": source, **({"run_id": run.id} if run else {})}
        if source.startswith("models:/m-"):  # a logged model, which has to be named as well
            body["model_id"] = source.removeprefix("models:/")
        self.call("POST", f"{_API}/model-versions/create", body)
        return name

    def delete_version(self, name: str) -> None:
        """Delete the version of a registered model, whose row stays."""
        self.call("DELETE", f"{_API}/model-versions/delete", {"name": name, "version": "1"})

    def unregister(self, name: str) -> None:
        """Delete a registered model with its version."""
        self.call("DELETE", f"{_API}/registered-models/delete", {"name": name})

    def version_file(self, name: str, path: str = "MLmodel") -> bytes:
        """Load a file of a model version, from wherever MLflow finds it."""
        query = f"name={quote(name)}&version=1&path={quote(path)}"
        return self.exchange("GET", f"/model-versions/get-artifact?{query}")

    def log_model(self, run: Run, content: bytes) -> str:
        """Make a logged model of a run, with one file; returns its id."""
        body = {"experiment_id": run.experiment, "name": "model", "source_run_id": run.id}
        model = str(self.call("POST", f"{_API}/logged-models", body)["model"]["info"]["model_id"])
        self.put(f"{run.experiment}/models/{model}/artifacts/MLmodel", content)
        return model

    def delete_model(self, model: str) -> None:
        """Delete a logged model."""
        self.call("DELETE", f"{_API}/logged-models/{model}")

    def use_model(self, run: Run, model: str) -> None:
        """Log a model as an input of a run."""
        body = {"run_id": run.id, "models": [{"model_id": model}]}
        self.call("POST", f"{_API}/runs/log-inputs", body)

    def model_file(self, model: str) -> bytes:
        """Load the file of a logged model, as its page in the UI does."""
        files = f"/ajax-api/2.0/mlflow/logged-models/{model}/artifacts/files"
        return self.exchange("GET", f"{files}?artifact_file_path=MLmodel")

    def log_trace(self, run: Run, content: bytes) -> str:
        """Make a trace of a run, with its file; returns its id."""
        trace = f"tr-{uuid.uuid4().hex}"
        place = {
            "type": "MLFLOW_EXPERIMENT",
            "mlflow_experiment": {"experiment_id": run.experiment},
        }
        info = {
            "trace_id": trace,
            "trace_location": place,
            "request_time": "2026-01-01T00:00:00Z",
            "execution_duration": "0.5s",
            "state": "OK",
            "trace_metadata": {"mlflow.sourceRun": run.id},
            "tags": {},
        }
        self.call("POST", "/api/3.0/mlflow/traces", {"trace": {"trace_info": info}})
        self.put(f"{run.experiment}/traces/{trace}/artifacts/traces.json", content)
        return trace

    def attach(self, trace: str, experiment: str, content: bytes) -> str:
        """Upload an attachment of a trace; returns its id."""
        attachment = str(uuid.uuid4())
        self.put(f"{experiment}/traces/{trace}/artifacts/attachments/{attachment}", content)
        return attachment

    def trace_file(self, trace: str, attachment: str | None = None) -> bytes:
        """Load a trace's spans, or one of its attachments, as its page in the UI does."""
        query = f"request_id={trace}" + (f"&path={attachment}" if attachment else "")
        return self.exchange("GET", f"/ajax-api/3.0/mlflow/get-trace-artifact?{query}")

    def delete_trace(self, trace: str, experiment: str) -> None:
        """Delete a trace."""
        body = {"experiment_id": experiment, "request_ids": [trace]}
        self.call("POST", "/api/3.0/mlflow/traces/delete-traces", body)


def _now_ms() -> int:
    return int(time.time() * 1_000)
