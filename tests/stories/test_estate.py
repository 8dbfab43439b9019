"""Whatever is done in whatever order, with full cycles in between: nothing wanted is ever lost."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from mlflow_cleanup.act import quarantine
from mlflow_cleanup.cycle.turn import Scope
from mlflow_cleanup.errors import LeaseHeld
from mlflow_cleanup.ledger import lease
from mlflow_cleanup.ledger.lease import Lease
from mlflow_cleanup.model.plan import Terms
from tests.stories import estate_users
from tests.stories.estate import Estate
from tests.stories.estate_judge import Judge
from tests.stories.estate_rows import Experiment, Sort, Thing
from tests.stories.estate_users import Users

FAILING = ("quarantine", "restore", "purge", "measure", "find", "exists", "newest_write")
MOVES = ("sweep", "sweep", "sweep", "cycle", "plan", "carry out", "1", "4", "4", "100", "200")
CHANGES = ("flip", "flip", "gc", "script", "commit", "write", "restore", "purge", "no limits")
MEANWHILE = ("flip", "flip", "register", "experiment", "id", "place", "experiment's place", "tag")
ACTS = ("cycle", "sweep", "sweep", "plan")
TROUBLES = ("fail", "fail", "unmount root", "unmount shelf", "lose database")
RIPE = ("100", "sweep", "4")
"""After these moves, what was left before them may be taken."""


class Play(Users):
    """What our process does, an operator, time, and trouble; after each step all is checked."""

    home: Path
    numbers = itertools.count()
    ids = random.Random(0)

    def __init__(self) -> None:
        super().__init__()
        self.ids.seed(0)
        self.estate = Estate(self.home / str(next(self.numbers)))

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.estate.end()

    @invariant()
    def everything_holds(self) -> None:
        """Check after every step."""
        self.estate.check()

    @rule(scope=st.sampled_from(Scope))
    def cycle(self, scope: Scope) -> None:
        """Run an ordinary cycle."""
        self.estate.cycle(scope)

    @rule()
    def sweep(self) -> None:
        """Do a full cycle."""
        self.estate.sweep()

    @rule()
    def plan(self) -> None:
        """Make a plan, to be carried out later or never."""
        self.estate.plan()

    @rule(number=st.integers(0, 2), is_stopped=st.booleans())
    @precondition(lambda self: self.estate.plans)
    def carry_out(self, number: int, is_stopped: bool) -> None:
        """Carry out a plan that was made before, or a part of it."""
        self.estate.carry_out(number, is_stopped=is_stopped)

    @rule(moves=st.lists(st.sampled_from(MOVES), min_size=3, max_size=10))
    def live_on(self, moves: list[str]) -> None:
        """Let time go by and our process work, and check after each of it."""
        self._move(*moves)

    @rule(
        thing=Users.things,
        moves=st.lists(st.sampled_from(MOVES + CHANGES), min_size=4, max_size=14),
    )
    def live_through(self, thing: Thing, moves: list[str]) -> None:
        """Let much happen to one entity, and check after each of it."""
        for move in moves:
            self._change(thing, move) if move in CHANGES else self._move(move)

    @rule(is_far_apart=estate_users.OFTEN, confirms=st.booleans())
    def ripen(self, is_far_apart: bool, confirms: bool) -> None:
        """Let everything become old enough, and do two full cycles."""
        self._move("100", "sweep", "4" if is_far_apart else "1", "sweep")
        if confirms:
            self._move("confirm", "sweep")

    @rule(
        what=st.sampled_from(ACTS),
        point=st.integers(1, 60),
        some=st.lists(Users.things, max_size=4, unique_by=id),
        is_ripe=st.booleans(),
    )
    def crash(self, what: str, point: int, some: list[Thing], is_ripe: bool) -> None:
        """Let our process die in the middle of its work."""
        estate = self.estate
        self._prepare(what, some, is_ripe=is_ripe)
        if what == "plan":
            plan, look = estate.plans[-1]
            act = estate.act("plan", look=look, purges=True)
            estate.crash(act, lambda: estate.world.carry_out(plan), point)
        elif what == "cycle":
            act = estate.act("cycle", takes_runs=True, purges=True)
            estate.crash(act, estate.world.cycle, point)
        else:
            estate.crash(estate.sweeping(), estate.world.sweep, point)

    @rule(
        what=st.sampled_from(ACTS),
        some=st.lists(Users.things, min_size=1, max_size=4, unique_by=id),
        one=Users.experiments,
        change=st.sampled_from(MEANWHILE),
        is_ripe=st.booleans(),
    )
    def race(
        self, what: str, some: list[Thing], one: Experiment, change: str, is_ripe: bool
    ) -> None:
        """Let users and operators change something in the very middle of a cycle."""
        estate = self.estate
        self._prepare(what, some, is_ripe=is_ripe)
        acts: dict[str, Callable[[], None]] = {"cycle": estate.cycle, "sweep": estate.sweep}
        act = acts.get(what, lambda: estate.carry_out(-1))
        estate.race(act, lambda: self._happen(change, some[0], one))

    @rule(thing=Users.things, is_purge=st.booleans())
    def act_by_hand(self, thing: Thing, is_purge: bool) -> None:
        """Purge or give back what the trash holds of an entity by hand."""
        if is_purge:
            self.estate.purge_by_hand(thing.id)
        else:
            self.estate.restore_by_hand(thing)

    @rule(is_shelf=estate_users.OFTEN, alone=estate_users.OFTEN)
    def adopt(self, is_shelf: bool, alone: bool) -> None:
        """Let an operator say whose a root is."""
        self.estate.adopt(self.estate.shelf if is_shelf else self.estate.root, alone=alone)

    @rule(days=st.sampled_from([0, 7]), cascades=st.booleans(), at_once=estate_users.SELDOM)
    def restart(self, days: int, cascades: bool, at_once: bool) -> None:
        """Start our process anew, on other terms; another one has to wait until it ends."""
        terms = Terms(cascade_models=cascades, at_once=at_once)
        self.estate.restart(retention=timedelta(days=days), terms=terms)
        with pytest.raises(LeaseHeld):
            Lease(self.estate.world.settings.lease_places, "another").acquire()

    @rule()
    def confirm(self) -> None:
        """Let what was refused go ahead."""
        self.estate.confirm()

    @rule(hours=st.sampled_from([0.5, 1, 4, 24, 100, 168, 169]))
    def advance(self, hours: float) -> None:
        """Let time pass."""
        self.estate.advance(hours)

    @rule(hours=st.sampled_from([-9_000, -24, -1, 1, 30, 100]), is_reboot=st.booleans())
    def disturb_clock(self, hours: int, is_reboot: bool) -> None:
        """Set the wall clock, or restart the machine, which comes up with its clock anywhere."""
        (self.estate.reboot if is_reboot else self.estate.set_clock)(hours)

    @rule(
        what=st.sampled_from(TROUBLES),
        method=st.sampled_from(FAILING),
        moves=st.lists(st.sampled_from(MOVES), min_size=1, max_size=6),
        some=st.lists(Users.things, max_size=3, unique_by=id),
        is_ripe=st.booleans(),
    )
    def trouble(
        self, what: str, method: str, moves: list[str], some: list[Thing], is_ripe: bool
    ) -> None:
        """Let something go wrong for a while, with users and our process going on as they can."""
        estate = self.estate
        begin, end = {
            "fail": (lambda: estate.world.faults.fail(method), estate.world.faults.heal),
            "lose database": (estate.lose_database, estate.find_database),
            "unmount root": _unmounting(estate, estate.root),
            "unmount shelf": _unmounting(estate, estate.shelf),
        }[what]
        self._move(*RIPE if is_ripe else ())
        begin()
        for thing in some if estate.has_database else ():
            estate_users.flip(estate, thing)
        self._move(*moves)
        end()

    def _prepare(self, what: str, some: list[Thing], *, is_ripe: bool) -> None:
        """Let there be something to take."""
        estate_users.delete(self.estate, *some)
        self._move(*RIPE if is_ripe else (), *("plan", "1") if what == "plan" else ())

    def _happen(self, change: str, thing: Thing, one: Experiment) -> None:
        if change == "flip":
            estate_users.flip(self.estate, thing)
        elif change == "experiment":
            estate_users.flip_experiment(self.estate, one)
        elif change == "register":
            if thing.has_row and thing.sort is not Sort.COPY:
                estate_users.register(self.estate, thing, is_by_id=False, is_stored=True)
        else:
            estate_users.keep(self.estate, thing, one, change)

    def _change(self, thing: Thing, change: str) -> None:
        estate = self.estate
        match change:
            case "commit":
                estate_users.commit(estate, thing)
            case "write":
                estate.files.write(thing.path / estate_users.NAMES[0])
            case "restore":
                estate.restore_by_hand(thing)
            case "purge":
                estate.purge_by_hand(thing.id)
            case "no limits":
                estate.restart(retention=timedelta(0))
            case _:
                estate_users.flip(estate, thing, "MLflow" if change == "flip" else change)
        estate.check()

    def _move(self, *moves: str) -> None:
        for move in moves:
            match move:
                case "sweep":
                    self.estate.sweep()
                case "cycle":
                    self.estate.cycle()
                case "plan":
                    self.estate.plan()
                case "carry out" if self.estate.plans:
                    self.estate.carry_out(-1)
                case "restart":
                    self.estate.restart()
                case "confirm":
                    self.estate.confirm()
                case hours if hours.isdigit():
                    self.estate.advance(int(hours))
            self.estate.check()


def _unmounting(estate: Estate, root: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    return (lambda: estate.files.unmount(root), lambda: estate.files.mount(root))


USUAL = settings(
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)


@pytest.fixture(autouse=True)
def repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Item ids come in the same order whenever the same steps are played, and nobody waits."""
    monkeypatch.setattr(quarantine, "new_item_id", lambda: Play.ids.randbytes(8).hex())
    monkeypatch.setattr(quarantine, "BATCH", 2)
    monkeypatch.setattr(lease, "WAIT_S", 0.0)


@pytest.fixture(autouse=True)
def done(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What happened in all the stories of one test."""
    counter: Counter[str] = Counter()
    monkeypatch.setattr(Judge, "done", counter)
    return counter


def test_nothing_is_lost_in_any_order(tmp_path: Path, done: Counter[str]) -> None:
    """Some hundreds of steps, the same ones in every run of the tests."""
    Play.home = tmp_path
    quick = settings(USUAL, max_examples=15, stateful_step_count=40, derandomize=True)
    run_state_machine_as_test(Play, settings=quick)

    assert done


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_nothing_is_lost_in_any_order_for_long(tmp_path: Path, done: Counter[str]) -> None:
    """Twenty thousand steps, other ones each time."""
    Play.home = tmp_path
    long = settings(USUAL, max_examples=400, stateful_step_count=50)
    run_state_machine_as_test(Play, settings=long)

    assert done
