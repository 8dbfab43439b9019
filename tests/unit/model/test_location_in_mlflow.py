from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_cleanup.model.location import Unplaced, Whereabouts, place, readings

READ = """
import json, sys
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

def read(uri):
    try:
        return getattr(get_artifact_repository(uri), "artifact_dir", None)
    except Exception:
        return None

print(json.dumps([read(uri) for uri in json.load(sys.stdin)]))
"""

URIS = [
    "/a/1",
    "/a b/1",
    "/a%20b/1",
    "/a%2520b/1",
    "/a?b/1",
    "/a#b/1",
    "/a;b/1",
    "/~/1",
    "~/1",
    "rel/1",
    "rel%20x/1",
    "/a%2Fb",
    "/a%5Cb",
    "/é/%C3%A9",
    "file:///a/1",
    "file:/a/1",
    "file:////a/1",
    "file:rel/1",
    "file:///a%20b/1",
    "file:///a%2520b/1",
    "file:///a;b/1",
    "file:///a?b=c",
    "file:///a#b",
    "file://localhost/a/1",
    "file://host/a/1",
    "file://127.0.0.1/a/1",
]


@pytest.mark.e2e
def test_places_are_where_mlflow_itself_looks(tmp_path: Path) -> None:
    """Where a URI has a place it is MLflow's own reading, and a claim always holds that reading."""
    told = subprocess.run(
        [sys.executable, "-c", READ],
        input=json.dumps(URIS),
        capture_output=True,
        check=True,
        text=True,
        cwd=tmp_path,
    )
    where = Whereabouts(str(tmp_path), None)

    for uri, directory in zip(URIS, json.loads(told.stdout.splitlines()[-1]), strict=True):
        assert directory is not None, uri
        real = os.path.normpath(os.path.join(tmp_path, directory)).replace("//", "/")
        found = place(uri, where)
        assert isinstance(found, Unplaced) or found == real, uri
        assert real in readings(uri, where), uri
