"""A second opinion on what must be where: a small model that lives beside a world.

Every file written is a token with bytes of its own, so that each one can be found again wherever it
is: at its origin, in the trash, or lawfully gone.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mlflow_cleanup.cycle.turn import Scope
from mlflow_cleanup.errors import CleanupError, PlanRefused
from mlflow_cleanup.ledger.ageing import LONGEST_GAP_S
from mlflow_cleanup.ledger.items import HELD
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.item import ItemState, Size
from mlflow_cleanup.model.location import RESERVED
from tests.kit.world import Run, Trashed, Tree, World, tree

RETENTION_S = timedelta(days=7).total_seconds()


@dataclass
class Token:
    """One file as it was written once."""

    run: Run
    name: str
    data: bytes
    written_s: float
    is_gone: bool = False
    is_overwritten: bool = False


class MostTime:
    """The most that the ledger's own time can have counted, worked out without the ledger."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self.most_s = 0.0
        self._seen: list[tuple[float, float]] = []
        self.note()

    def note(self) -> None:
        """Remember what the wall clock shows: the ledger may count on from any such moment."""
        self._seen.append((self.most_s, self._clock.wall_s))

    def passed(self, seconds: float) -> None:
        """Count time that passed while the machine was up."""
        self.most_s += seconds
        self.note()

    def rebooted(self) -> None:
        """Count what the wall clock tells over a reboot."""
        now = self._clock.wall_s
        gaps = (was_s + min(max(now - wall_s, 0), LONGEST_GAP_S) for was_s, wall_s in self._seen)
        self.most_s = max(gaps)
        self._seen = []
        self.note()


class Life:
    """MLflow, its users, an operator, and all that can go wrong around them."""

    def __init__(self, home: Path) -> None:
        self.world = World.make(home)
        self.world.cycle()
        self.time = MostTime(self.world)
        self.runs: list[Run] = []
        self.is_mounted = self.has_database = True
        self._tokens: list[Token] = []
        self._stages: dict[Run, str] = {}
        self._pinned: set[Run] = set()
        self._versions: dict[Run, int] = {}
        self._dead_since: dict[Run, float] = {}
        self._seen: set[Run] = set()
        self._seen_wanted: set[Run] = set()
        self._clean_since: dict[Run, float] = {}
        self._released: set[Run] = set()
        self._whole: dict[Run, Tree] = {}
        self._numbers = itertools.count(1)
        self._aside, self._lost = self.world.home / "aside", self.world.home / "lost.db"
        self.world.write(self.world.home / "outside", "precious", 50)
        self.world.write(self.world.root / "notes", "precious", 50)
        self._precious = self._read_precious()

    def end(self) -> None:
        """Leave nothing behind."""
        self.world.close()
        shutil.rmtree(self.world.home)

    # MLflow and its users.

    def add(self, *names: str) -> Run:
        """Add an active run with files."""
        run = self.world.run({})
        self._stages[run] = "active"
        self.runs.append(run)
        for name in names:
            self.write(run, name)
        return run

    def delete(self, run: Run) -> None:
        """Delete a run in MLflow, if it is active."""
        if self._stages.get(run) == "active":
            self.world.delete(run)
            self._stages[run] = "deleted"
            self._note_death(run)

    def undelete(self, run: Run) -> None:
        """Restore a run in MLflow, if it is deleted."""
        if self._stages.get(run) == "deleted":
            self.world.undelete(run)
            self._stages[run] = "active"

    def remove_row(self, run: Run) -> None:
        """Remove a run's row, if it has one."""
        if self._stages.pop(run, None):
            self.world.hard_delete(run)
            self._pinned.discard(run)
            self._note_death(run)

    def write(self, run: Run, name: str) -> None:
        """Write a file where the run's artifacts belong, whatever MLflow thinks of it."""
        path = run.place / name
        if path.is_file():
            was = path.read_bytes()
            for token in self._tokens:
                token.is_overwritten |= token.data == was
        data = self.world.write(run, name, 20, str(next(self._numbers)))
        self._tokens.append(Token(run, name, data, self.time.most_s))
        if run in self._whole:
            self._whole[run][name] = data

    def register(self, run: Run) -> None:
        """Register a model version of a run, or delete the one it has."""
        version = self._versions.pop(run, None)
        if version is None:
            self._versions[run] = next(self._numbers)
            self.world.register(f"runs:/{run.id}/model.bin", version=self._versions[run])
        else:
            self.world.unregister(version)
            self._note_end_of_hold(run)

    def pin(self, run: Run) -> None:
        """Pin a run, or take its pin back."""
        if run in self._pinned:
            self.world.untag(run, "mlflow-cleanup.keep")
            self._pinned.discard(run)
            self._note_end_of_hold(run)
        elif run in self._stages:
            self.world.tag(run, "mlflow-cleanup.keep", "yes")
            self._pinned.add(run)

    # Time, our own process, and an operator.

    def advance(self, hours: int) -> None:
        """Let time pass."""
        self.world.advance(hours=hours)
        self.time.passed(hours * 3600)

    def set_clock(self, hours: int) -> None:
        """Set the wall clock."""
        self.world.set_clock(hours=hours)
        self.time.note()

    def reboot(self, hours: int) -> None:
        """Restart the machine, which comes up with its clock so much later."""
        self.world.reboot(hours=hours)
        self.time.rebooted()

    def cycle(self, scope: Scope = Scope.EVERYTHING) -> None:
        """Run a cycle; one that is refused, or can read nothing, moves nothing."""
        before = self._everything()
        if self._is_stopped(scope):
            assert self._everything() == before
            return
        if scope is Scope.EVERYTHING and self.is_mounted and not self.world.faults.failures:
            self._check_order()
        self._seen.update(self._stages)
        self._seen_wanted = {run for run in self.runs if self._is_wanted(run)}
        for run in self.runs:
            if run in self._seen_wanted:
                self._clean_since.pop(run, None)
            else:
                self._clean_since.setdefault(run, self.time.most_s)
        self._released -= {run for run, stage in self._stages.items() if stage == "active"}

    def confirm(self) -> None:
        """Let a refused plan go ahead."""
        standing = self.world.ledger.refusals.current()
        assert standing is not None
        self.world.ledger.refusals.answer(standing.refusal.plan_id, "confirmed")
        self.cycle()

    def restore_by_hand(self, run: Run) -> None:
        """Give a run's files back by hand."""
        if self.world.restore_by_hand(run) and self._stages.get(run) != "active":
            self._released.add(run)

    def purge_by_hand(self, run: Run) -> None:
        """Purge a run's items by hand: that takes nothing but what the trash held of it."""
        held = {data for one in self.world.trash(run) for data in one.files.values()}
        try:
            self.world.purge_by_hand(run)
        except PlanRefused:
            return
        present = self._present()
        for token in self._expected():
            if token.data not in present:
                assert token.data in held
                assert token.run == run
                token.is_gone = True

    # What goes wrong, and is put right again.

    def unmount(self) -> None:
        """Let the artifact root vanish."""
        self.world.root.rename(self._aside)
        self.is_mounted = False

    def mount(self) -> None:
        """Let the artifact root come back."""
        self._aside.rename(self.world.root)
        self.is_mounted = True

    def lose_database(self) -> None:
        """Let the tracking database vanish."""
        self.world.db.path.rename(self._lost)
        self.has_database = False

    def find_database(self) -> None:
        """Let the tracking database come back."""
        self._lost.rename(self.world.db.path)
        self.has_database = True

    # What must hold, whatever happened.

    def check(self) -> None:
        """Check everything that must hold at any time."""
        self._check_elsewhere()
        self._check_live()
        self._check_retention()
        self._check_books()

    def _check_elsewhere(self) -> None:
        """Nothing outside the runs' directories ever changes."""
        assert self._read_precious() == self._precious

    def _check_live(self) -> None:
        """Where a live run was whole once, it stays exactly as its clients wrote it."""
        for run, files in self._whole.items():
            assert tree(self._place(run)) == files, f"{run.id} lives and was changed"

    def _check_retention(self) -> None:
        """Every file is somewhere until its retention, in ledger time, can have passed."""
        present = self._present()
        for token in self._expected():
            if token.data in present:
                continue
            assert not self._is_wanted(token.run), f"{token.name} of live {token.run.id} is lost"
            begun_s = max(token.written_s, self._dead_since[token.run])
            assert self.time.most_s - begun_s >= RETENTION_S, f"{token.name} went too early"
            token.is_gone = True

    def _check_books(self) -> None:
        """What was freed is exactly what is gone, and what was told is the history."""
        gone = [token.data for token in self._tokens if token.is_gone]
        assert self.world.ledger.items.freed() == Size(len(gone), sum(map(len, gone)))
        assert self.world.told() == self.world.history()
        states = [item.state for item in self.world.items()]
        counts = self.world.ledger.items.count()
        assert {state: n for state, (n, _) in counts.items()} == {
            state: states.count(state) for state in states
        }

    def _check_order(self) -> None:
        """After an undisturbed full cycle everything is where it belongs."""
        held = {item.id: item for item in self.world.items() if item.state in HELD}
        trash = {one.item_id: sum(map(len, one.files.values())) for one in self.world.trash()}
        assert trash.keys() == held.keys()
        for item in held.values():
            if item.state is ItemState.QUARANTINED:
                assert item.size is not None
                assert item.size.bytes == trash[item.id]
        unsettled = {ItemState.QUARANTINING, ItemState.RESTORING}
        assert not unsettled & {item.state for item in self.world.items()}
        for run in self.runs:
            if self._is_wanted(run):
                self._check_whole(run)
            elif self._is_ours_to_clean(run):
                assert self.world.bytes_at(run) == 0, f"{run.id} was left behind"

    def _check_whole(self, run: Run) -> None:
        """What is wanted is at its origin, the newest version of every file that is left."""
        here, present = self.world.files_at(run), self._present()
        # What collided once waits in the trash for an operator, whatever became of the newer one.
        rests = {data for one in self._rests(run) for data in one.files.values()}
        newest = {
            token.name: token.data
            for token in self._expected()
            if token.run == run and token.data in present - rests
        }
        assert here == newest, f"{run.id} is not whole"
        if self._stages.get(run) == "active":
            assert self.world.known(run) is RunState.ACTIVE
            self._whole[run] = here

    def _is_stopped(self, scope: Scope) -> bool:
        try:
            self.world.cycle(scope)
        except PlanRefused:
            return True
        except CleanupError:
            if self.has_database:
                raise
            return True
        return False

    def _is_wanted(self, run: Run) -> bool:
        return self._stages.get(run) == "active" or run in self._pinned or run in self._versions

    def _is_ours_to_clean(self, run: Run) -> bool:
        is_known = run in self._seen or run in self._stages
        since_s = self._clean_since.get(run, self.time.most_s)
        is_watched = self.time.most_s - since_s < RETENTION_S
        return is_known and is_watched and run not in self._released

    def _rests(self, run: Run) -> list[Trashed]:
        collided = {item.id for item in self.world.items(run) if item.state is ItemState.CONFLICT}
        return [one for one in self.world.trash(run) if one.item_id in collided]

    def _note_end_of_hold(self, run: Run) -> None:
        """A version or a pin that came and went between two looks was never known."""
        if run in self._seen_wanted:
            self._note_death(run)

    def _note_death(self, run: Run) -> None:
        self._whole.pop(run, None)
        if not self._is_wanted(run):
            self._dead_since[run] = self.time.most_s

    def _expected(self) -> Iterator[Token]:
        return (token for token in self._tokens if not (token.is_gone or token.is_overwritten))

    def _root(self) -> Path:
        return self.world.root if self.is_mounted else self._aside

    def _place(self, run: Run) -> Path:
        return self._root() / run.place.relative_to(self.world.root)

    def _present(self) -> set[bytes]:
        return set(tree(self._root()).values())

    def _read_precious(self) -> tuple[Tree, Tree]:
        return tree(self.world.home / "outside"), tree(self._root() / "notes")

    def _everything(self) -> Tree:
        marker = f"{RESERVED}/owner"
        return {k: v for k, v in tree(self._root()).items() if not k.startswith(marker)}
