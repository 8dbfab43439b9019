"""A world for stories: everything real, from MLflow's tables to the trash, but for the clock.

The tracking database, the ledger, the artifact root and the cycle are those of production; time
passes only when a story says so. What MLflow's server and its clients do to the database and to the
files, a story does with the verbs here.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mlflow_cleanup.config import Settings
from mlflow_cleanup.cycle import Cycle
from mlflow_cleanup.cycle.requests import do
from mlflow_cleanup.cycle.sweep import Follow, carry_out, full_cycle, look, require_current
from mlflow_cleanup.cycle.turn import Scope
from mlflow_cleanup.errors import PlanRefused
from mlflow_cleanup.ledger.database import Connection
from mlflow_cleanup.ledger.items import HELD
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.ledger.lease import Lease
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import Item, ItemState
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.model.plan import Step, SweepPlan
from tests.kit.clock import HandClock, NoPause
from tests.kit.faulty import Faults, FaultyWorkplace
from tests.kit.tracking_db import TrackingFile, Value, run_id
from tests.kit.tracking_server import TrackingServer

Tree = dict[str, bytes]

USUAL = "usual"
"""Stands for the artifact URI that MLflow's server would have given."""


@dataclass(frozen=True)
class Run:
    """A run of a story: its id, and where its bytes are while it is active."""

    id: str
    place: Path


@dataclass(frozen=True)
class Trashed:
    """What one directory of the trash holds."""

    item_id: str
    note: Mapping[str, str]
    files: Tree


class QuickFile(TrackingFile):
    """A tracking database that waits for no disk: what is killed in tests are processes."""

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Open as usual, without waiting for the disk."""
        with super().connection() as connection:
            connection.execute("PRAGMA synchronous = OFF")
            yield connection


@functools.cache
def _empty_database() -> bytes:
    """Make MLflow's database once for each test process."""
    with tempfile.TemporaryDirectory() as directory:
        return TrackingFile.make(Path(directory, "mlflow.db")).path.read_bytes()


def content(label: str, size: int) -> bytes:
    """Make `size` bytes that no other label has."""
    return random.Random(label.encode("utf-8", "surrogatepass")).randbytes(size)


def tree(place: Path) -> Tree:
    """Read every file below a directory; `name -> target` stands for a link.

    Owner markers are left out, as each start writes them anew.
    """
    found: Tree = {}
    for path in sorted(place.rglob("*")):
        inside = path.relative_to(place).as_posix()
        if path.parts[-2:] == (RESERVED, "owner.json"):
            continue
        if path.is_symlink():
            found[f"{inside} -> {path.readlink()}"] = b""
        elif path.is_file():
            found[inside] = path.read_bytes()
    return found


@dataclass
class World:
    """One MLflow with its artifacts, and mlflow-cleanup beside it."""

    home: Path
    settings: Settings
    clock: HandClock = field(default_factory=HandClock)
    faults: Faults = field(default_factory=Faults)
    events: list[Event] = field(default_factory=list)
    db: TrackingFile = field(init=False)
    workplace: FaultyWorkplace = field(init=False)
    lease: Lease = field(init=False)
    _cycle: Cycle = field(init=False)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def make(
        cls,
        home: Path,
        db: TrackingServer | None = None,
        **changes: Any,  # noqa: ANN401 - settings of any type
    ) -> World:
        """Build a world under `home`; `changes` are settings other than the usual.

        `db` is a tracking database on a server; else there is one in a file.
        """
        home = home.resolve()
        root = home / "mlartifacts"
        root.mkdir(parents=True)
        if db is None:
            (home / "mlflow.db").write_bytes(_empty_database())
        settings = Settings(
            database=db.database if db else Database.of_file(str(home / "mlflow.db")),
            roots=(str(root),),
            artifacts_destination=str(root),
            working_directory=str(home),
            state_dir=home / RESERVED,
        )
        return cls.at(home, replace(settings, **changes), db=db)

    @classmethod
    def at(
        cls,
        home: Path,
        settings: Settings,
        clock: HandClock | None = None,
        db: TrackingServer | None = None,
    ) -> World:
        """Open what is there already."""
        world = cls(home, settings, clock or HandClock())
        world.db = db or QuickFile(Path(settings.database.name))
        world._open()
        return world

    # What MLflow and its clients do.

    def run(
        self,
        files: Mapping[str, int] | None = None,
        *,
        id_: str | None = None,
        uri: Value = USUAL,
        experiment: str = "0",
        **columns: Value,
    ) -> Run:
        """Add an active run with files of the given sizes, by default one of 10 bytes.

        `place` is where MLflow's server puts a run's artifacts, and where the files are written,
        whatever the URI says.
        """
        id_ = run_id(next(self._numbers)) if id_ is None else id_
        usual = f"mlflow-artifacts:/{experiment}/{id_}/artifacts"
        self.db.run(id_, usual, experiment_id=int(experiment), **columns)
        if uri != USUAL:
            self.db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", uri, id_)
        run = Run(id_, self.root / experiment / id_ / "artifacts")
        for name, size in ({"model.bin": 10} if files is None else files).items():
            self.write(run, name, size)
        return run

    def write(self, run: Run | Path, name: str, size: int, label: str = "") -> bytes:
        """Write a file where a run's artifacts belong, whatever MLflow thinks of the run."""
        place = run.place if isinstance(run, Run) else run
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        written = content(f"{path} {label}", size)
        path.write_bytes(written)
        for touched in (path, *path.parents):
            if touched == self.home:
                break
            os.utime(touched, (self.clock.wall_s, self.clock.wall_s))
        return written

    def write_late(self, run: Run, name: str, size: int) -> bytes:
        """Write into a run that MLflow calls deleted, as a process that never heard of it does."""
        return self.write(run, name, size, "late")

    def delete(self, *runs: Run) -> None:
        """Delete runs in MLflow: it only marks them."""
        self._set_stage("deleted", int(self.clock.wall_s * 1000), runs)

    def undelete(self, *runs: Run) -> None:
        """Press Restore in MLflow."""
        self._set_stage("active", None, runs)

    def hard_delete(self, *runs: Run) -> None:
        """Remove the rows of runs, as `mlflow gc` or somebody's script does."""
        with self.db.connection() as connection:
            for name in ("tags", "runs"):
                connection.executemany(
                    f"DELETE FROM {name} WHERE run_uuid = ?", [(run.id,) for run in runs]
                )

    def end(self, run: Run, status: str = "FINISHED") -> None:
        """Let a run end."""
        self.db.execute("UPDATE runs SET status = ? WHERE run_uuid = ?", status, run.id)

    def register(self, source: Value, *, version: int = 1, **columns: Value) -> None:
        """Register a version of the model "telling"."""
        self.db.version("telling", version, source, **columns)

    def unregister(self, version: int = 1) -> None:
        """Delete a version of the model "telling"; MLflow keeps its row, emptied."""
        self.db.execute(
            "UPDATE model_versions SET current_stage = 'Deleted_Internal', "
            "source = 'REDACTED-SOURCE-PATH', run_id = 'REDACTED-RUN-ID' WHERE version = ?",
            version,
        )

    def tag(self, run: Run, key: str, value: str) -> None:
        """Tag a run."""
        self.db.tag(run.id, key, value)

    def untag(self, run: Run, key: str) -> None:
        """Remove a tag."""
        self.db.execute("DELETE FROM tags WHERE run_uuid = ? AND key = ?", run.id, key)

    # Time, and our own process.

    def advance(self, **length: float) -> None:
        """Let time really pass: `days=3`, `hours=1`."""
        self.clock.advance(timedelta(**length))

    def set_clock(self, **by: float) -> None:
        """Set the wall clock forward, or back, without any time passing."""
        self.clock.set_wall(timedelta(**by))

    def cycle(self, scope: Scope = Scope.EVERYTHING) -> None:
        """Run one cycle; raises what it raises."""
        self._cycle.run(scope)

    def plan(self) -> SweepPlan:
        """Make a full cycle's plan, as `mlflow-cleanup plan` does."""
        return look(self.workplace)

    def sweep(self) -> list[Step]:
        """Do a full cycle, as `mlflow-cleanup sweep --apply` does."""
        return full_cycle(self._cycle, self.workplace, lambda _: lambda _: True)[1]

    def carry_out(self, plan: SweepPlan, follow: Follow = lambda _: True) -> list[Step]:
        """Carry out a plan made before, as `mlflow-cleanup apply` does."""
        require_current(self.workplace, plan, self.ledger.now(self.clock.read()).at)
        self._cycle.run(takes=False)
        return carry_out(self._cycle, self.workplace, plan, follow)

    def refused(self) -> PlanRefused:
        """Run one cycle, which must be refused."""
        with pytest.raises(PlanRefused) as caught:
            self.cycle()
        return caught.value

    def answer(self, refusal: PlanRefused, answer: str = "confirmed") -> None:
        """Say of a refused plan what `mlflow-cleanup confirm` does: "confirmed" or "forget"."""
        assert self.ledger.refusals.answer(refusal.plan_id, answer)

    def restart(self, **changes: Any) -> None:  # noqa: ANN401 - settings of any type
        """Stop our process and start it again, with other settings where given."""
        self.close()
        self.settings = replace(self.settings, **changes)
        self._open()

    def reboot(self, **off: float) -> None:
        """Restart the whole machine, which stays off for a while."""
        self.close()
        self.clock.reboot(timedelta(**off))
        self._open()

    def restore_by_hand(self, *runs: Run) -> list[Item]:
        """Do what `mlflow-cleanup restore` does."""
        return do(self._cycle, "restore", [run.id for run in runs])

    def purge_by_hand(self, *runs: Run) -> list[Item]:
        """Do what `mlflow-cleanup trash purge` does; no runs: all."""
        held = self.ledger.items.in_state(*HELD)
        ids = [run.id for run in runs] or [item.id for item in held]
        return do(self._cycle, "purge", ids)

    def close(self) -> None:
        """Close what is open."""
        self.workplace.close()
        self.lease.release()

    # What can be seen afterwards.

    @property
    def root(self) -> Path:
        """The first artifact root."""
        return Path(self.settings.roots[0])

    @property
    def ledger_flag(self) -> str:
        """How a verb is told where the ledger is."""
        server = self.settings.ledger
        if server is None:
            return f"--state-dir={self.settings.state_dir}"
        return f"--ledger={server.database.url}?schema={server.schema}"

    @property
    def ledger(self) -> Ledger:
        """The ledger as the cycle has it open."""
        return self.workplace.ledger

    @property
    def ledger_connection(self) -> Connection:
        """The very connection that the cycle writes the ledger with, for making it fail."""
        return self.ledger._file.connection

    def files_at(self, place: Run | Path) -> Tree:
        """Read what lies at a run's place."""
        return tree(place.place if isinstance(place, Run) else place)

    def bytes_at(self, place: Run | Path) -> int:
        """Count the bytes at a run's place."""
        return sum(map(len, self.files_at(place).values()))

    def trash(self, run: Run | None = None) -> list[Trashed]:
        """Read the trash of every root, of one run only where given, in the order of the items."""
        order = {item.id: number for number, item in enumerate(self.items())}
        found = [
            _trashed(place)
            for root in self.settings.roots
            for place in Path(root, RESERVED, "trash").glob("*")
        ]
        return sorted(
            (one for one in found if run is None or one.note.get("entity") == f"run {run.id}"),
            key=lambda one: (order.get(one.item_id, len(order)), one.item_id),
        )

    def bytes_in_trash(self, run: Run | None = None) -> int:
        """Count the bytes that the trash holds."""
        return sum(len(data) for one in self.trash(run) for data in one.files.values())

    def items(self, run: Run | None = None) -> list[Item]:
        """List all items ever, of one run only where given, oldest first."""
        every = self.ledger.items.in_state(*ItemState)
        return [item for item in every if run is None or item.entity.id == run.id]

    def states(self, run: Run) -> list[ItemState]:
        """List the states of a run's items, those aside that came to nothing."""
        return [item.state for item in self.items(run) if item.state is not ItemState.ABANDONED]

    def known(self, run: Run) -> RunState | None:
        """Say what the ledger knows of a run."""
        found = self.ledger.known.get(run.id)
        return None if found is None else found.state

    def kept_because(self, run: Run) -> str | None:
        """Return why a run that left is kept."""
        found = self.ledger.known.get(run.id)
        return None if found is None else found.kept

    def told(self, run: Run | None = None) -> list[str]:
        """List the kinds of the events told, in order; of one run only, where given."""
        return _kinds(self.events, run)

    def history(self, run: Run | None = None) -> list[str]:
        """List the kinds of the events in the ledger, in order; of one run only, where given."""
        return _kinds(self.ledger.history.latest(1_000_000), run)

    def last(self, kind: EventKind) -> Event:
        """Return the last event of a kind."""
        return next(event for event in reversed(self.events) if event.kind is kind)

    def next_due_s(self) -> float | None:
        """Say in how many seconds the next purge falls due."""
        return self._cycle.next_due_s()

    def _open(self) -> None:
        self.lease = Lease([self.settings.home], "a story")
        if self.settings.ledger is not None:
            self.lease.acquire()
        self.workplace = FaultyWorkplace(
            self.settings,
            Ledger.open(self.settings.home, self.lease.fence),
            tell=self.events.append,
            clock=self.clock.read,
            stop=NoPause(),
        )
        self.workplace.faults = self.faults
        if self.settings.ledger is None:
            # Only power cuts need the disk.
            self.ledger_connection.execute("PRAGMA synchronous = OFF")
        self._cycle = Cycle(self.workplace)

    def _set_stage(self, stage: str, deleted_ms: int | None, runs: Sequence[Run]) -> None:
        with self.db.connection() as connection:
            connection.executemany(
                "UPDATE runs SET lifecycle_stage = ?, deleted_time = ? WHERE run_uuid = ?",
                [(stage, deleted_ms, run.id) for run in runs],
            )


def _trashed(place: Path) -> Trashed:
    note = place / "origin.json"
    told = json.loads(note.read_bytes()) if note.exists() else {}
    return Trashed(place.name, told, tree(place / "content"))


def _kinds(events: Sequence[Event], run: Run | None) -> list[str]:
    return [
        event.kind.value
        for event in events
        if run is None or (event.entity is not None and event.entity.id == run.id)
    ]
