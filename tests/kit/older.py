"""The server of an older MLflow, which has an environment of its own (`make older`)."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.kit.programs import ENDS_S, Program
from tests.kit.server import ONE_WORKER, Said, Site, environment_of
from tests.kit.servers import absent

VERSION = "2.22"
_ENVIRONMENT = Path(__file__).parents[2] / f".venv-mlflow-{VERSION}"
_PYTHONS = ("bin/python", "Scripts/python.exe")


def python() -> str:
    """Return the Python of that environment; skips where there is none."""
    found = [path for name in _PYTHONS if (path := _ENVIRONMENT / name).exists()]
    if not found:
        absent(f"MLflow {VERSION}", "`make older` installs it")
    return str(found[0])


def serve_older(site: Site) -> Program:
    """Start the older server on a site's database and root; wait until it answers."""
    words = (
        *("server", "--backend-store-uri", f"sqlite:///{site.database}"),
        *("--artifacts-destination", str(site.root), *ONE_WORKER, "--port", str(site.port)),
    )
    command = [python(), "-m", "mlflow", *words]
    program = Program(command, site.directory, environment_of())
    site.programs.append(program)
    return site.healthy(program)


def gc_of_older(site: Site, directory: Path, *words: str) -> Said:
    """Run that release's own `mlflow gc` on the database in a directory, by a site's server."""
    command = [python(), "-m", "mlflow", "gc", "--backend-store-uri"]
    command += [f"sqlite:///{directory / site.database.name}", *words]
    return _said(command, directory, {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{site.port}"})


def _said(command: list[str], directory: Path, more: Mapping[str, str]) -> Said:
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment_of(more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ENDS_S,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)
