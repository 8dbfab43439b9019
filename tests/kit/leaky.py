"""A site where MLflow leaks, and full cycles that are run there as a user runs them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_cleanup.model.verdict import Kept
from tests.kit.rest import Run
from tests.kit.server import Said, Site, Tree, environment_of, tree_of

AT_ONCE = "--take-orphans-at-once"

_ROWS_OF_A_RUN = ("metrics", "latest_metrics", "params", "tags", "runs")
_DAY_S = 86_400


@dataclass(frozen=True)
class Told:
    """A plan, or what became of one, in JSON, asked for single entities."""

    values: Mapping[str, Any]

    def fates(self, *ids: str) -> dict[str, str | None]:
        """Say of entities what a plan does: why they go, "kept: …" and why, None: not a word."""
        told = {item["entity_id"]: item["gone"] for item in self._items("take", "empty")}
        told.update({item["entity_id"]: f"kept: {item['reason']}" for item in self._items("keep")})
        return {id_: told.get(id_) for id_ in ids}

    def sizes(self, *ids: str) -> dict[str, int | None]:
        """Say how many bytes a plan sees, or a step moved, of each entity."""
        told = {item["entity_id"]: item["bytes"] for item in self._items("take", "keep", "steps")}
        return {id_: told.get(id_) for id_ in ids}

    def results(self, *ids: str) -> dict[str, str | None]:
        """Say what became of each entity's step; None: it was none of the plan's."""
        told = {item["entity_id"]: item["result"] for item in self._items("steps")}
        return {id_: told.get(id_) for id_ in ids}

    def item(self, id_: str) -> Mapping[str, Any]:
        """Return all that is said of one entity."""
        (found,) = (
            item
            for item in self._items("take", "empty", "keep", "steps")
            if item["entity_id"] == id_
        )
        return found

    def foreign(self, root: Path) -> dict[str, int]:
        """Return the bytes of what a plan calls foreign under a root, by its first directories."""
        (found,) = (item for item in self.values["roots"] if item["root"] == str(root))
        return {name: size["bytes"] for name, size in found["foreign"].items()}

    def _items(self, *groups: str) -> list[Mapping[str, Any]]:
        return [item for group in groups for item in self.values.get(group, ())]


@dataclass(frozen=True)
class Leaky:
    """A site with a plain MLflow server, nobody watching beside it."""

    site: Site

    def start(self, *words: str) -> None:
        """Start the server, with enough in use that no plan takes most of the root; adopt that."""
        self.site.serve_plainly(*words)
        for _ in range(3):
            self.site.tracking.log_run({"large.bin": bytes(1_000_000)})
        self.say("adopt", str(self.site.root))

    # What a user does.

    def say(self, *words: str) -> Said:
        """Run a verb that must succeed."""
        said = self.site.say(*words)
        assert said.code == 0, f"{words}: {said.err or said.out}"
        return said

    def plan(self, *words: str) -> Told:
        """Run `mlflow-cleanup plan`."""
        return Told(self.say("plan", "--json", *words).json())

    def sweep(self, *words: str) -> Told:
        """Run `mlflow-cleanup sweep --apply`."""
        return Told(self.say("sweep", "--apply", "--json", *words).json())

    def gc(self) -> str:
        """Run MLflow's own `mlflow gc` on everything; returns what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", self._uri],
            cwd=self.site.directory,
            env=environment_of({"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self.site.port}"}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute one statement in MLflow's database and commit, as somebody's script does."""
        with closing(sqlite3.connect(self.site.database, timeout=30)) as connection, connection:
            return connection.execute(query, values).fetchall()

    def drop_rows(self, run: Run) -> None:
        """Remove a run's rows."""
        for name in _ROWS_OF_A_RUN:
            self.sql(f"DELETE FROM {name} WHERE run_uuid = ?", run.id)

    # What lies on the disk.

    def tree(self, experiment: str) -> Tree:
        """Read an experiment's whole directory."""
        return tree_of(self.site.root / experiment)

    def in_trash(self, id_: str) -> Tree:
        """Read what the trash has of an entity's place."""
        (item,) = (item for item in self.site.held() if item["run_id"] == id_)
        return tree_of(self.site.root / ".mlflow-cleanup" / "trash" / item["id"] / "content")

    @property
    def _uri(self) -> str:
        return f"sqlite:///{self.site.database}"


def kept(reason: Kept) -> str:
    """Write a reason to keep as `Told.fates` does."""
    return f"kept: {reason.value}"


def without(tree: Tree, *directories: str) -> Tree:
    """Take whole directories out of what was read."""
    return {
        name: content
        for name, content in tree.items()
        if not any(name == gone or name.startswith(f"{gone}/") for gone in directories)
    }


def age(top: Path, days: float = 4) -> None:
    """Make everything below a directory, and itself, so many days old."""
    then = time.time() - days * _DAY_S
    # From below, as what is changed in a directory makes that young again.
    for path in (*sorted(top.rglob("*"), reverse=True), top):
        os.utime(path, (then, then))


def all_are(fate: str | None, ids: Iterable[str]) -> dict[str, str | None]:
    """Expect the same of several entities."""
    return dict.fromkeys(ids, fate)
