"""A directory in which MLflow's server and mlflow-cleanup really run, each a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow_cleanup.report.status import history_values, status_values, trash_values
from tests.kit.programs import ENDS_S, MARK, Program, end_all
from tests.kit.rest import Run, Tracking
from tests.kit.servers import free_port

HEALTHY_S = 120.0
"""How long a server may take to answer: 5 s alone, over a minute on a loaded machine."""

LEAN = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Without its job consumers MLflow starts in half the time: two processes, not thirteen."""

ONE_WORKER = ("--workers", "1")

Tree = dict[str, bytes | None]


def environment_of(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without MLflow's variables and ours, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return {**kept, **LEAN, "PYTHONUNBUFFERED": "1", **(more or {})}


def tree_of(top: Path) -> Tree:
    """Read everything below `top`: files with their bytes, directories as None."""
    return {
        str(path.relative_to(top)): None if path.is_dir() else path.read_bytes()
        for path in sorted(top.rglob("*"))
    }


def write_tree(top: Path, files: Mapping[str, bytes]) -> None:
    """Write files below `top` as a client does that reaches the file system itself."""
    for name, content in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@dataclass(frozen=True, slots=True)
class Said:
    """What a verb said, and the exit code that it ended with."""

    code: int
    out: str
    err: str

    def json(self) -> Any:  # noqa: ANN401 - JSON values
        """Parse what stands on stdout."""
        return json.loads(self.out)


@dataclass(slots=True)
class Site:
    """A directory that somebody works in, with a port for its server."""

    directory: Path
    port: int = field(default_factory=free_port)
    state_dir: Path = field(init=False)
    root: Path = field(init=False)
    programs: list[Program] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.state_dir = self.directory / ".mlflow-cleanup"
        self.root = self.directory / "mlartifacts"

    @property
    def tracking(self) -> Tracking:
        """MLflow's REST API here."""
        return Tracking(self.port)

    @property
    def database(self) -> Path:
        """The tracking database that MLflow chooses by itself."""
        return self.directory / "mlflow.db"

    # What runs here.

    def serve(
        self, *words: str, verb: str = "ui", environment: Mapping[str, str] | None = None
    ) -> Program:
        """Start `mlflow-cleanup ui` with options of ours and MLflow's; wait until it answers."""
        words = ("mlflow_cleanup", verb, *words, *ONE_WORKER, "--port", str(self.port))
        return self.healthy(self.start(*words, environment=environment))

    def serve_plainly(self, *words: str) -> Program:
        """Start `mlflow ui` without us; wait until it answers."""
        words = ("mlflow", "ui", *words, *ONE_WORKER, "--port", str(self.port))
        return self.healthy(self.start(*words))

    def watch(self, *ours: str, known: int) -> Program:
        """Start `mlflow-cleanup watch`; wait until it knows so many active runs."""
        program = self.start("mlflow_cleanup", "watch", *ours)
        program.line("watching")
        program.until(lambda: self.status()["known_active_runs"] == known, f"{known} known run(s)")
        return program

    def start(self, *words: str, environment: Mapping[str, str] | None = None) -> Program:
        """Start a Python module as a program, and do not wait."""
        program = Program(
            [sys.executable, "-m", *words], self.directory, environment_of(environment)
        )
        self.programs.append(program)
        return program

    def healthy(self, program: Program) -> Program:
        """Wait until the server that a program started answers."""

        def answers() -> bool:
            if not program.is_running:
                raise AssertionError("it ended before it answered")
            return self.tracking.is_healthy()

        program.until(answers, "an answer", HEALTHY_S)
        return program

    def say(self, *words: str, environment: Mapping[str, str] | None = None) -> Said:
        """Run one of our verbs to its end, without a terminal; it may leave no process behind."""
        mark = uuid.uuid4().hex
        try:
            done = subprocess.run(
                [sys.executable, "-m", "mlflow_cleanup", *words],
                cwd=self.directory,
                env={**environment_of(environment), MARK: mark},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=ENDS_S,
                check=False,
            )
        finally:
            left = end_all(mark)
        assert left == []
        return Said(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        """End every program that was started here."""
        for program in self.programs:
            program.end()

    # What can be seen here.

    def place_of(self, run: Run) -> Path:
        """Say where a run's own directory lies, under the root that is used by default."""
        return self.root / run.experiment / run.id

    def tree(self, run: Run) -> Tree:
        """Read a run's artifacts from the disk."""
        return tree_of(self.place_of(run) / "artifacts")

    def trash(self, root: Path | None = None) -> list[Path]:
        """List the items that lie in a root's trash."""
        trash = (root or self.root) / ".mlflow-cleanup" / "trash"
        return sorted(trash.iterdir()) if trash.exists() else []

    def status(self) -> dict[str, Any]:
        """Read the ledger as `status` does."""
        return status_values(self.state_dir)

    def held(self) -> list[dict[str, Any]]:
        """Read the ledger as `trash list` does."""
        return trash_values(self.state_dir)

    def events(self, run: Run) -> list[str]:
        """Name what the ledger's history has of a run, in order."""
        return [item["event"] for item in self.history(run)]

    def history(self, run: Run) -> list[dict[str, Any]]:
        """Read the ledger as `history` does, for one run."""
        return history_values(self.state_dir, 100, (run.id,))

    def kept(self) -> dict[str, str]:
        """Say which departed runs' files are kept, and why."""
        return {item["run_id"]: item["reason"] for item in self.status()["kept"]}
