"""Whatever is done in whatever order: what must hold always, played out by hypothesis."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mlflow_cleanup.act import quarantine
from mlflow_cleanup.cycle.turn import Scope
from tests.kit.world import Run
from tests.stories.life import Life

NAMES = ("model.bin", "log/one.txt", "log/two.txt")
FAILING = ("quarantine", "restore", "purge", "measure", "find")
SELDOM = st.sampled_from([False, False, False, True])
MOVES = (
    "delete",
    "delete and look",
    "undelete",
    "undelete and look",
    "write",
    "write another",
    "look",
    "some days",
    "restore by hand",
)


def is_calm(play: Play) -> bool:
    """Tell whether MLflow can work: its database and its artifacts are there."""
    return play.life.is_mounted and play.life.has_database


class Play(RuleBasedStateMachine):
    """Steps in any order; after each of them everything is checked."""

    runs = Bundle("runs")
    home: Path
    numbers = itertools.count()
    ids = random.Random(0)

    def __init__(self) -> None:
        super().__init__()
        self.ids.seed(0)
        self.life = Life(self.home / str(next(self.numbers)))

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.life.end()

    @invariant()
    def everything_holds(self) -> None:
        """Check after every step."""
        self.life.check()

    @initialize(target=runs)
    def begin(self) -> Run:
        """Begin with a run."""
        return self.life.add(*NAMES[:2])

    @rule(target=runs, count=st.integers(1, 3))
    @precondition(lambda self: is_calm(self) and len(self.life.runs) < 8)
    def add(self, count: int) -> Run:
        """Add an active run."""
        return self.life.add(*NAMES[:count])

    @rule(run=runs)
    @precondition(lambda self: self.life.has_database)
    def delete(self, run: Run) -> None:
        """Delete a run in MLflow."""
        self.life.delete(run)

    @rule(run=runs)
    @precondition(lambda self: self.life.has_database)
    def undelete(self, run: Run) -> None:
        """Restore a run in MLflow."""
        self.life.undelete(run)

    @rule(run=runs)
    @precondition(lambda self: self.life.has_database)
    def remove_row(self, run: Run) -> None:
        """Remove a run's row."""
        self.life.remove_row(run)

    @rule(run=runs, name=st.sampled_from(NAMES))
    @precondition(lambda self: self.life.is_mounted)
    def write(self, run: Run, name: str) -> None:
        """Write a file into a run, whatever MLflow thinks of it."""
        self.life.write(run, name)

    @rule(run=runs)
    @precondition(lambda self: self.life.has_database)
    def register(self, run: Run) -> None:
        """Register a model version of a run, or delete it again."""
        self.life.register(run)

    @rule(run=runs)
    @precondition(lambda self: self.life.has_database)
    def pin(self, run: Run) -> None:
        """Pin a run, or take the pin back."""
        self.life.pin(run)

    @rule(run=runs, moves=st.lists(st.sampled_from(MOVES), min_size=3, max_size=12))
    @precondition(is_calm)
    def live_through(self, run: Run, moves: list[str]) -> None:
        """Let much happen to one run, and check after each of it."""
        for move in moves:
            self._move(run, move)
            self.life.check()

    @rule(scope=st.sampled_from([Scope.EVERYTHING, Scope.EVERYTHING, Scope.CHANGES]))
    def cycle(self, scope: Scope) -> None:
        """Run a cycle."""
        self.life.cycle(scope)

    @rule()
    @precondition(lambda self: self.life.world.ledger.refusals.current() is not None)
    def confirm(self) -> None:
        """Let a refused plan go ahead."""
        self.life.confirm()

    @rule(run=runs)
    def restore_by_hand(self, run: Run) -> None:
        """Give a run's files back by hand."""
        self.life.restore_by_hand(run)

    @rule(run=runs)
    @precondition(is_calm)
    def purge_by_hand(self, run: Run) -> None:
        """Purge what the trash holds of a run by hand."""
        self.life.purge_by_hand(run)

    @rule(hours=st.sampled_from([1, 24, 100, 168, 169]))
    def advance(self, hours: int) -> None:
        """Let time pass."""
        self.life.advance(hours)

    @rule(hours=st.sampled_from([-9_000, -24, 1, 24, 9_000]))
    def set_clock(self, hours: int) -> None:
        """Set the wall clock."""
        self.life.set_clock(hours)

    @rule(hours=st.sampled_from([-100, 0, 1, 30, 1_000]))
    def reboot(self, hours: int) -> None:
        """Restart the machine, which comes up with its clock anywhere."""
        self.life.reboot(hours)

    @rule()
    def restart(self) -> None:
        """Restart our process."""
        self.life.world.restart()

    @rule(method=st.sampled_from(FAILING), is_so=SELDOM)
    @precondition(lambda self: not self.life.world.faults.failures)
    def fail(self, method: str, is_so: bool) -> None:
        """Let the store fail."""
        if is_so:
            self.life.world.faults.fail(method)

    @rule()
    @precondition(lambda self: self.life.world.faults.failures)
    def heal(self) -> None:
        """Let the store work again."""
        self.life.world.faults.heal()

    @rule(is_so=SELDOM)
    @precondition(lambda self: self.life.is_mounted)
    def unmount(self, is_so: bool) -> None:
        """Let the artifact root vanish."""
        if is_so:
            self.life.unmount()

    @rule()
    @precondition(lambda self: not self.life.is_mounted)
    def mount(self) -> None:
        """Let the artifact root come back."""
        self.life.mount()

    @rule(is_so=SELDOM)
    @precondition(lambda self: self.life.has_database)
    def lose_database(self, is_so: bool) -> None:
        """Let the tracking database vanish."""
        if is_so:
            self.life.lose_database()

    @rule()
    @precondition(lambda self: not self.life.has_database)
    def find_database(self) -> None:
        """Let the tracking database come back."""
        self.life.find_database()

    def _move(self, run: Run, move: str) -> None:
        what, _, looks = move.partition(" and ")
        match what:
            case "delete":
                self.life.delete(run)
            case "undelete":
                self.life.undelete(run)
            case "write":
                self.life.write(run, NAMES[0])
            case "write another":
                self.life.write(run, NAMES[1])
            case "some days":
                self.life.advance(100)
            case "restore by hand":
                self.life.restore_by_hand(run)
        if "look" in (what, looks):
            self.life.cycle()


USUAL = settings(
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)


@pytest.fixture(autouse=True)
def same_ids_for_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Item ids come in no order, but in the same one whenever the same steps are played."""
    monkeypatch.setattr(quarantine, "new_item_id", lambda: Play.ids.randbytes(8).hex())


def test_invariants_hold_in_any_order(tmp_path: Path) -> None:
    """Some hundreds of steps, the same ones in every run of the tests."""
    Play.home = tmp_path
    quick = settings(USUAL, max_examples=15, stateful_step_count=40, derandomize=True)
    run_state_machine_as_test(Play, settings=quick)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_invariants_hold_in_any_order_for_long(tmp_path: Path) -> None:
    """Twenty thousand steps, other ones each time."""
    Play.home = tmp_path
    long = settings(USUAL, max_examples=400, stateful_step_count=50)
    run_state_machine_as_test(Play, settings=long)
