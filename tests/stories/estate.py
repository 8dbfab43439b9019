"""A whole MLflow with everything in it, our process beside it, and all that can go wrong.

The rows are `estate_rows`, the rules by which anything may be taken `estate_laws`; both know
nothing of how the program comes to its verdicts. What must hold is in `estate_judge`.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflow_cleanup.cycle.turn import Scope
from mlflow_cleanup.errors import CleanupError, PlanOutdated, PlanRefused, SweepRefused
from mlflow_cleanup.ledger.lease import Lease
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.item import Item, ItemState
from mlflow_cleanup.model.plan import SweepPlan
from tests.crash.points import Mortal
from tests.kit.faults import Killed
from tests.kit.trees import look as look_at
from tests.kit.world import Run, World
from tests.stories.estate_files import Files
from tests.stories.estate_judge import Judge
from tests.stories.estate_laws import Act, Laws, Look
from tests.stories.estate_rows import Experiment, Rows, Sort, Standing, Thing
from tests.stories.life import MostTime

USER = Act("user")
LONGEST_PAUSE_S = 6 * 3_600.0


class Estate:
    """The world, what is known of it here, and the judge."""

    def __init__(self, home: Path) -> None:
        home = Path(os.path.realpath(home))
        self.root, self.shelf, self.outside = (home / n for n in ("mlartifacts", "shelf", "out"))
        self.shelf.mkdir(parents=True)
        roots = (str(self.root), str(self.shelf))
        self.world = World.make(home, roots=roots, vanished_share=0.3, vanished_minimum=3)
        self.rows = Rows(self.world.db, self.root)
        self.laws = Laws(self.rows, (self.root, self.shelf))
        self.files = Files(self.world, self.outside)
        self.time = MostTime(self.world)
        self.judge = Judge(self.world, self.laws, self.files, lambda: self.time.most_s)
        self.plans: list[tuple[SweepPlan, Look]] = []
        self.has_database = True
        self._is_racing = self._has_crashed = False
        self._troubled_s = -LONGEST_PAUSE_S
        self._numbers = itertools.count(1)
        self._lease = self._take_lease()

    def begin(self) -> None:
        """Begin with plenty in use, so that no plan takes most of it; one root is adopted."""
        self.shelved = self.rows.add_experiment(self.shelf / "main", str(self.shelf / "main"))
        for one in self.rows.experiments:
            run = self.add(Sort.RUN, one)
            self.files.write(run.path / "large", 30_000)
        self.cycle()
        self.adopt(self.root, alone=True)

    def end(self) -> None:
        """Leave nothing behind."""
        self._lease.release()
        self.world.close()
        shutil.rmtree(self.world.home)

    # What MLflow's users do.

    def place(self, sort: Sort, id_: str, base: Path) -> Path:
        """Say where MLflow puts an entity in an experiment."""
        above = {Sort.RUN: (), Sort.MODEL: ("models",), Sort.TRACE: ("traces",)}[sort]
        return base.joinpath(*above, id_, "artifacts")

    def new_id(self, sort: Sort) -> str:
        """Make an id as MLflow gives it."""
        prefix = {Sort.MODEL: "m-", Sort.TRACE: "tr-"}.get(sort, "")
        return f"{prefix}{next(self._numbers):032x}"

    def add(self, sort: Sort, one: Experiment, run: Thing | None = None, **more: Any) -> Thing:  # noqa: ANN401 - a thing's own fields
        """Add a live entity."""
        id_ = self.new_id(sort)
        thing = Thing(sort, id_, self.place(sort, id_, one.base), one, run, **more)
        return self.rows.add(thing, self.text(thing.path))

    def add_orphan(self, sort: Sort, base: Path, one: Experiment | None) -> Thing:
        """Put files where an entity's would be that no row knows, or not yet."""
        id_ = self.new_id(sort)
        thing = Thing(sort, id_, self.place(sort, id_, base), one, has_row=False)
        self.rows.things.append(thing)
        return thing

    def text(self, path: Path) -> str:
        """Write a path in one of the forms that databases hold."""
        form = next(self._numbers) % 3
        if form == 0 and self.root in path.parents:
            return f"mlflow-artifacts:/{path.relative_to(self.root).as_posix()}"
        return f"file://{path}" if form == 1 else str(path)

    def can_be_written(self, path: Path) -> bool:
        """Tell whether a path's root is mounted."""
        return self.files.actual(path) == path

    @property
    def now_ms(self) -> int:
        """What MLflow's clock shows."""
        return int(self.world.clock.wall_s * 1_000)

    # What our process does.

    def cycle(self, scope: Scope = Scope.EVERYTHING) -> None:
        """Run an ordinary cycle."""
        act = self.act("cycle", takes_runs=True, purges=True)
        if self.do(act, lambda: self.world.cycle(scope)) and scope is Scope.EVERYTHING:
            self.judge.check_order()

    def sweep(self) -> None:
        """Do a full cycle."""
        act = self.sweeping()
        if self.do(act, self.world.sweep):
            self.judge.check_order()
            if self.time.most_s - self._troubled_s >= LONGEST_PAUSE_S:
                self.judge.check_nothing_is_left(act)

    def plan(self) -> None:
        """Make a plan, and see that this changes nothing at all."""
        before, look = look_at(self.world.home), self.look()
        try:
            self.plans = [*self.plans[-2:], (self.world.plan(), look)]
        except CleanupError:
            assert not self.has_database
        assert look_at(self.world.home) == before

    def carry_out(self, number: int, *, is_stopped: bool = False) -> None:
        """Carry out a plan made before; stopped at its first step, as by Ctrl-C, or to its end."""
        plan, look = self.plans[number % len(self.plans)]
        act, stop = self.act("plan", look=look, purges=True), self.world.workplace.stop
        if is_stopped:
            self.world.faults.before("quarantine", stop.set)
        self.do(act, lambda: self.world.carry_out(plan))
        self.world.faults.forget_hooks()
        stop.clear()

    def purge_by_hand(self, id_: str) -> None:
        """Purge what the trash holds of an entity by hand."""
        act = self.act("purge by hand", purged_by_hand=frozenset([id_]))
        self.do(act, lambda: self.world.purge_by_hand(Run(id_, self.root)))

    def restore_by_hand(self, thing: Thing) -> None:
        """Give an entity's files back by hand: it is left alone then, unless it is live."""
        items: list[Item] = []

        def restore() -> None:
            items.extend(self.world.restore_by_hand(Run(thing.id, self.root)))

        is_through = self.do(self.act("restore by hand"), restore)
        is_back = any(item.state in (ItemState.RESTORED, ItemState.CONFLICT) for item in items)
        if is_through and is_back and self.rows.standing(thing) is not Standing.LIVE:
            self.laws.released.add(thing)

    def crash(self, act: Act, what: Callable[[], object], point: int) -> None:
        """Let our process die in the middle, if it passes so many points, and start it again."""

        def until_dead() -> None:
            try:
                with Mortal(point).set_up():
                    what()
            except Killed:
                self._has_crashed = True
                self.judge.done["crashed"] += 1

        self.do(act, until_dead, is_sure=False)
        self.restart()

    def race(self, what: Callable[[], None], meanwhile: Callable[[], object]) -> None:
        """Let something happen right before the first move that our process makes."""
        self._is_racing = True

        def hook() -> None:
            self.judge.done["raced"] += 1
            meanwhile()

        self.world.faults.before("quarantine", hook)
        what()
        self.world.faults.forget_hooks()
        self._is_racing = False

    def confirm(self) -> None:
        """Let whatever was refused go ahead."""
        refusals, brakes = self.world.ledger.refusals, self.world.ledger.brakes
        standing, braked = refusals.current(), brakes.current()
        if standing is not None:
            refusals.answer(standing.refusal.plan_id, "confirmed")
        if braked is not None:
            brakes.confirm(braked.plan_id)

    def adopt(self, root: Path, *, alone: bool) -> None:
        """Let an operator say that a root is this database's alone, or take that back."""
        self.world.workplace.adopt(str(root), alone=alone)
        (self.laws.adopted.add if alone else self.laws.adopted.discard)(root)

    def pin(self, what: Thing | Path) -> None:
        """Let an operator pin an id or a path from another process, or take the pin back."""
        is_thing = isinstance(what, Thing)
        pinned: list[Any] = self.rows.pinned_things if is_thing else self.rows.pinned_paths
        target = what.id if isinstance(what, Thing) else str(what)
        ledger = Ledger.open(self.world.settings.state_dir)
        if what in pinned:
            pinned.remove(what)
            ledger.pins.remove([target])
        else:
            pinned.append(what)
            ledger.pins.add([target], ledger.now(self.world.clock.read()).at, None)
        ledger.close()

    def restart(self, **settings: Any) -> None:  # noqa: ANN401 - settings of any type
        """Start our process anew, with other settings where given."""
        self._lease.release()
        self.world.restart(**settings)
        self._lease = self._take_lease()
        self.laws.retention_s = self.world.settings.retention.total_seconds()

    # Time, and what goes wrong.

    def advance(self, hours: float) -> None:
        """Let time pass."""
        self.world.advance(hours=hours)
        self.time.passed(hours * 3_600)

    def set_clock(self, hours: float) -> None:
        """Set the wall clock."""
        self.world.set_clock(hours=hours)
        self.time.note()

    def reboot(self, hours: float) -> None:
        """Restart the machine."""
        self._lease.release()
        self.world.reboot(hours=hours)
        self._lease = self._take_lease()
        self.time.rebooted()

    def lose_database(self) -> None:
        """Let the tracking database vanish."""
        self.world.db.path.rename(self.world.home / "lost.db")
        self.has_database = False

    def find_database(self) -> None:
        """Let the tracking database come back."""
        (self.world.home / "lost.db").rename(self.world.db.path)
        self.has_database = True

    # What must hold.

    def check(self) -> None:
        """Check what must hold after every step: what users did moved nothing."""
        self.judge.judge(USER)
        self.judge.check_books(is_exact=not self._has_crashed)

    def act(self, name: str, **powers: Any) -> Act:  # noqa: ANN401 - an act's own fields
        """Say what our process is going to do, and what it may do therefore."""
        return Act(name, begun=frozenset(self.files.at_home()), **powers)

    def sweeping(self) -> Act:
        """Say so of a full cycle."""
        return self.act("full cycle", takes_runs=True, look=self.look(), purges=True)

    def look(self) -> Look:
        """Look at everything as a full cycle does: what nobody claims, and what somebody does."""
        seen = [
            thing
            for thing in self.rows.things
            if self.laws.root_of(thing.path) not in self.files.unmounted
        ]
        unclaimed = {
            thing.path
            for thing in seen
            if thing.path.exists()
            and self.laws.is_orphaned(thing)
            and self.laws.is_where_mlflow_writes(thing)
        }
        terms = self.world.settings.terms
        gone = {Standing.LEFT, *([Standing.SOFT] if terms.cascade_models else [])}
        return Look(
            at_s=self.time.most_s,
            unclaimed=frozenset(unclaimed),
            claimed=frozenset(thing.path for thing in seen) - unclaimed,
            left=frozenset(
                one.path
                for one in seen
                if self.rows.standing(one) in gone
                or (one in self.laws.known_runs and not one.has_row)
            ),
            cascades=terms.cascade_models,
            at_once=terms.at_once,
        )

    def do(self, act: Act, what: Callable[[], object], *, is_sure: bool = True) -> bool:
        """Let our process act, and judge what it did; True: it went through, undisturbed."""
        self.laws.known_runs |= {
            one for one in self.rows.things if one.sort is Sort.RUN and one.has_row
        }
        # Left alone until it is live again.
        self.laws.released -= {
            one for one in self.laws.released if self.rows.standing(one) is Standing.LIVE
        }
        braked, is_racing = self.world.ledger.brakes.current(), self._is_racing
        is_agreed = braked is not None and braked.is_confirmed
        self.judge.begin()
        error = self._try(what)
        if act.look is not None and (error is None or isinstance(error, SweepRefused)):
            self.laws.looks.note(act.look, is_sure=is_sure)
        if error is None and act.look is not None and act.takes_runs and not is_agreed:
            self.judge.check_brake(act)
        self.judge.judge(_what_remains(act, error, is_racing=is_racing))
        is_troubled = bool(self.world.faults.failures or self.files.unmounted) or not is_sure
        if is_troubled:
            self._troubled_s = self.time.most_s
        return error is None and not (is_troubled or is_racing)

    def _try(self, what: Callable[[], object]) -> CleanupError | None:
        try:
            what()
        except (PlanRefused, PlanOutdated) as error:
            self.judge.done[type(error).__name__] += 1
            return error
        except CleanupError as error:
            if self.has_database:
                raise
            return error
        return None

    def _take_lease(self) -> Lease:
        lease = Lease(self.world.settings.lease_places, "a story")
        lease.acquire()
        return lease


def _what_remains(act: Act, error: CleanupError | None, *, is_racing: bool) -> Act:
    """Say what an act may have done that ended in an error: refused, it may do nothing more."""
    if error is None:
        return act
    is_half_done = isinstance(error, SweepRefused) or is_racing
    return replace(act, look=None) if is_half_done and act.purges else USER
