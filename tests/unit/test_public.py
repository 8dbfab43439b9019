from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mlflow_cleanup
from mlflow_cleanup.report.status import status_values
from tests.kit.programs import until
from tests.kit.tracking_db import TrackingFile, run_id

LOADED = "import json, sys; print(json.dumps(sorted(sys.modules)))"

WATCH = """
import json, sys, threading
from mlflow_cleanup import EventKind, MLflowDatabaseMonitor

happened = threading.Event()

def on_event(event):
    if event.kind is EventKind.QUARANTINED:
        happened.set()

roots = ["mlartifacts"]
with MLflowDatabaseMonitor("sqlite:///mlflow.db", artifact_roots=roots, on_event=on_event):
    print("ready", flush=True)
    assert happened.wait(30)
"""


def loaded_after(script: str) -> set[str]:
    """Run a script in a process of its own and return the top modules that it loaded."""
    told = subprocess.run(
        [sys.executable, "-c", f"{script}\n{LOADED}"], check=True, capture_output=True, text=True
    )
    return {name.split(".")[0] for name in json.loads(told.stdout.splitlines()[-1])}


def test_the_package_itself_loads_nothing() -> None:
    """Importing the package is quick: what a name needs is loaded when it is used."""
    assert not loaded_after("import mlflow_cleanup") & {"sqlalchemy", "watchdog", "mlflow", "click"}


def test_the_library_never_imports_mlflow() -> None:
    """Neither the public names nor any module load MLflow, which takes seconds and much memory."""
    every = (
        "import importlib, pkgutil, mlflow_cleanup\n"
        "for name in mlflow_cleanup.__all__: getattr(mlflow_cleanup, name)\n"
        "for module in pkgutil.walk_packages(mlflow_cleanup.__path__, 'mlflow_cleanup.'):\n"
        "    if not module.name.endswith(('__main__', 'mlflow_plugin')):\n"
        "        importlib.import_module(module.name)"
    )

    loaded = loaded_after(every)

    assert "sqlalchemy" in loaded
    assert "mlflow" not in loaded


def test_a_running_monitor_never_imports_mlflow(tmp_path: Path) -> None:
    """Watching, reading and cleaning up need nothing of MLflow's."""
    db = TrackingFile.make(tmp_path / "mlflow.db")
    place = tmp_path / "mlartifacts" / "0" / run_id(1) / "artifacts"
    place.mkdir(parents=True)
    (place / "model").write_bytes(b"x")
    db.run(run_id(1))
    with subprocess.Popen(
        [sys.executable, "-c", WATCH + LOADED],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        state_dir = tmp_path / ".mlflow-cleanup"
        until(lambda: status_values(state_dir)["known_active_runs"] == 1, "the run is known")
        db.set_stage(run_id(1), "deleted")
        told = process.stdout.read()

    assert process.returncode == 0
    assert not place.exists()
    assert "mlflow" not in {name.split(".")[0] for name in json.loads(told.splitlines()[-1])}


def test_the_public_names_are_few_and_all_there() -> None:
    """What is promised to users can be imported, and is what its home says."""
    assert mlflow_cleanup.__all__ == [
        "CleanupError",
        "Database",
        "Event",
        "EventKind",
        "MLflowDatabaseMonitor",
        "Settings",
    ]
    for name in mlflow_cleanup.__all__:
        assert getattr(mlflow_cleanup, name).__name__ == name
        assert getattr(mlflow_cleanup, name).__doc__


def test_any_other_name_is_not_there() -> None:
    """A name that does not exist is an ordinary attribute error."""
    with pytest.raises(AttributeError, match="no attribute 'Monitor'"):
        _ = mlflow_cleanup.Monitor


def test_the_glossary_is_the_packages_docstring() -> None:
    """The words used throughout are explained where help() shows them."""
    for word in ("quarantine", "retention", "claim", "ledger", "lease", "verdict"):
        assert word in (mlflow_cleanup.__doc__ or "")
