"""One cycle, step by step. The clock is read once, at its beginning, and handed down."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from enum import Enum

from mlflow_cleanup.act.purge import purge
from mlflow_cleanup.act.quarantine import quarantine
from mlflow_cleanup.act.recover import recover
from mlflow_cleanup.act.restore import restore
from mlflow_cleanup.act.tools import Outcomes, Tools
from mlflow_cleanup.cycle import candidates, upkeep
from mlflow_cleanup.cycle.guard import admit
from mlflow_cleanup.cycle.sight import Sight
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.decide.departures import Departures, compare
from mlflow_cleanup.decide.margins import DEFAULT_RETENTION, VANISHED_WINDOW
from mlflow_cleanup.decide.planner import Ground, make_plan
from mlflow_cleanup.decide.retention import due_in_s, is_due, pause_after
from mlflow_cleanup.errors import CleanupError, DatabaseNotReady, TrackingUnreadable
from mlflow_cleanup.ledger.items import HELD
from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.batches import batches
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import Item, ItemState
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.plan import Keeping, Plan, Quarantine
from mlflow_cleanup.model.snapshot import NO_REVISION, Heads

_LEARNT_AT_ONCE = 5_000
"""Rows in memory on the very first look, whatever there is."""


class Scope(str, Enum):
    """How much a cycle looks at."""

    CHANGES = "changes"
    """Only what came or left since the last look: what has to be quick."""
    EVERYTHING = "everything"
    """All that is kept, held or due, late writes and sizes too: the upkeep."""


class Cycle:
    """Carries out cycles at one workplace, one at a time; for the holder of the lease to call."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace
        self._ledger = workplace.ledger

    def run(self, scope: Scope = Scope.EVERYTHING, *, takes: bool = True) -> None:
        """Do one pass; without `takes` what left is only learned, as a full cycle's plan shows it.

        Nothing is purged then before the time that was told, whatever the retention is now.

        Raises TrackingUnreadable, LedgerUnwritable or PlanRefused; whatever was begun by then is
        settled, or is finished by the next pass.
        """
        if scope is Scope.CHANGES and self._only_arrivals():
            return
        sight, tools = self.learn()
        if scope is Scope.EVERYTHING:
            upkeep.find_late_writes(self._workplace, sight)
        if takes:
            self._carry_out(self._plan(sight, scope, sight.ground), tools)
        else:
            ground = replace(sight.ground, retention=self._longest_retention())
            self._carry_out(self._without_files(self._plan(sight, scope, ground)), tools)
        upkeep.measure_sizes(self._workplace, sight.now)
        if scope is Scope.EVERYTHING:
            upkeep.report_backlog(self._workplace, sight)
            self._ledger.keep_reserve()

    def restore(self, ids: list[str]) -> list[Item]:
        """Give items back by hand, by their ids or their runs'; returns them in new states."""
        tools = self._tools_to_restore()
        recover(tools)
        items = self._ledger.items.named(ids, *HELD, ItemState.RESTORING)
        return restore(items, tools, by_hand=True)

    def purge(self, ids: list[str]) -> list[Item]:
        """Purge quarantined items by hand, by their ids or their runs', whatever their retention.

        What was being given back stays as it is, and is returned so.
        """
        tools = self.prepare()
        tools = replace(tools, unhurried=tools.keep_going)  # somebody waits for the whole answer
        recover(tools)
        wanted = self._ledger.items.named(ids, *HELD, ItemState.RESTORING)[::-1]
        stuck = [item for item in wanted if item.state is ItemState.RESTORING]
        return stuck + purge([item for item in wanted if item not in stuck], tools)

    def _tools_to_restore(self) -> Tools:
        """Prepare for giving back, which is right whatever state the tracking database is in."""
        sight = Sight(self._workplace, self._ledger.now(self._workplace.clock()))
        tools = self._tools(sight)
        try:
            sight.look()
        except TrackingUnreadable:
            return replace(tools, wanted=lambda _: None)
        return tools

    def prepare(self) -> Tools:
        """Prepare for a verb: the same looks and safeguards as in a cycle, without learning."""
        return self._tools(self._admitted()[0])

    def learn(self) -> tuple[Sight, Tools]:
        """Prepare in the same way, and learn what left, whatever becomes of its rows from now on.

        Returns what was seen as well.
        """
        sight, delta, unexplained = self._admitted()
        self._learn(sight, delta, unexplained)
        tools = self._tools(sight)
        recover(tools)
        return sight, tools

    def give_back(self, sight: Sight, tools: Tools) -> None:
        """Restore what the trash holds and somebody wants again."""
        items = self._ledger.items.in_state(*HELD)
        restore(make_plan((), items, sight.ground).restore, tools)

    def _admitted(self) -> tuple[Sight, Departures, int]:
        """Look at everything that matters; raises PlanRefused where nothing may be done."""
        sight = Sight(self._workplace, self._ledger.now(self._workplace.clock()))
        sight.look(self._wanted_rows)
        self._begin(sight)
        delta = self._compare(sight.heads)
        sight.unreachable, unexplained = admit(self._workplace, sight, delta)
        return sight, delta, unexplained

    def _tools(self, sight: Sight) -> Tools:
        return Tools(
            ledger=self._ledger,
            store_of=self._workplace.store_of,
            now=sight.now,
            moment=lambda: self._ledger.now(self._workplace.clock()),
            retention=self._workplace.settings.retention,
            refresh=sight.refresh,
            judge=sight.judge,
            wanted=sight.wanted,
            keep_going=self._workplace.may_go_on,
            unhurried=self._workplace.unhurried,
            tell=self._workplace.tell,
            pause_after=pause_after,
        )

    def _compare(self, heads: Heads) -> Departures:
        known = self._ledger.known
        return compare(known.active, known.others, heads)

    def _only_arrivals(self) -> bool:
        """Learn new active runs and return True when nothing else happened: the usual case."""
        known = self._ledger.identity
        if known is None or self._ledger.refusals.current() is not None:
            return False
        heads, found = self._workplace.tracking.glance()
        delta = self._compare(heads)
        if delta.orphaned or delta.arrived & self._ledger.known.others:
            return False
        if not known.may_become(found):
            return False
        if delta.arrived:
            rows = self._workplace.tracking.rows(delta.arrived)
            with self._ledger.transaction():
                self._ledger.known.learn(candidates.active(rows.values()))
                # What is newer than a backup must be seen to be missing from it.
                self._ledger.set_identity(found)
        return True

    def _wanted_rows(self, heads: Heads) -> frozenset[str]:
        """Say whose rows are needed: of those who left, came, or are kept."""
        delta = self._compare(heads)
        if self._ledger.identity is None:
            return heads.deleted
        kept = self._ledger.known.ids(RunState.ORPHANED)
        return delta.orphaned | delta.arrived | kept | self._due_runs()

    def _due_runs(self) -> frozenset[str]:
        """Name the runs whose files are about to be purged: their rows say when they left."""
        now = self._ledger.now(self._workplace.clock())
        retention = self._workplace.settings.retention
        held = self._ledger.items.in_state(*HELD)
        return frozenset(item.entity.id for item in held if is_due(item, retention, now.aged_s))

    def _begin(self, sight: Sight) -> None:
        """On the very first look, take what is there as given: deleted runs are the backlog."""
        self._workplace.remember_registry()
        snapshot = sight.snapshot
        if snapshot is None or self._ledger.identity is not None:
            return
        if not snapshot.identity.anchors or snapshot.schema.revision == NO_REVISION:
            raise DatabaseNotReady(self._workplace.settings.database.name)
        tracking, heads = self._workplace.tracking, snapshot.heads
        with self._ledger.transaction():
            self._ledger.set_identity(snapshot.identity)
            self._ledger.known.learn(candidates.backlog(snapshot.departed.values()))
            for some in batches(heads.active, _LEARNT_AT_ONCE):
                self._ledger.known.learn(candidates.seen_active(tracking.rows(some).values()))
        self._workplace.forget_stores()

    def _learn(self, sight: Sight, delta: Departures, unexplained: int) -> None:
        snapshot = sight.snapshot
        if snapshot is None:
            return
        rows, known = snapshot.departed, self._ledger.known
        came = candidates.active(rows[id_] for id_ in delta.arrived if id_ in rows)
        left = [candidates.orphan(id_, rows.get(id_)) for id_ in delta.orphaned]
        with self._ledger.transaction():
            known.learn([*came, *left])
            self._ledger.note_vanished(unexplained, VANISHED_WINDOW, sight.now)
            if snapshot.identity != self._ledger.identity:
                self._ledger.set_identity(snapshot.identity)
        if self._workplace.settings.include_backlog:
            known.move(dict.fromkeys(known.ids(RunState.BACKLOG), RunState.ORPHANED))

    def _longest_retention(self) -> timedelta:
        """Return the retention, or what `trash list` goes by where that is longer."""
        told_s = (self._ledger.watching or {}).get("retention_s")
        told = DEFAULT_RETENTION if told_s is None else timedelta(seconds=told_s)
        return max(told, self._workplace.settings.retention)

    def _plan(self, sight: Sight, scope: Scope, ground: Ground) -> Plan:
        kept = self._ledger.known.in_state(RunState.ORPHANED)
        items = self._ledger.items.in_state(*HELD)
        if scope is Scope.CHANGES:
            items = [item for item in items if item.entity.id in sight.heads.active]
        return make_plan(candidates.of(kept, sight, self._workplace), items, ground)

    def _without_files(self, plan: Plan) -> Plan:
        """Leave in a plan only the steps of runs that have no files, which no full cycle lists."""
        absent = tuple(step for step in plan.quarantine if not self._has_files(step))
        return replace(plan, quarantine=absent)

    def _has_files(self, step: Quarantine) -> bool:
        place = step.candidate.place
        if not isinstance(place, Location):
            return True
        try:
            return self._workplace.store_of(place.root).exists(place)
        except (CleanupError, OSError):
            return True  # cannot be seen just now: it is not known to be gone

    def _carry_out(self, plan: Plan, tools: Tools) -> None:
        restore(plan.restore, tools)
        self._hold_again(plan.hold_again, tools.now)
        self._note_kept(plan.keep, tools)
        for _ in quarantine(plan.quarantine, tools):
            pass  # each told as it happened
        written_to = upkeep.written_to_since_held(plan.purge, self._workplace)
        self._hold_again(written_to, tools.now)
        purge([item for item in plan.purge if item not in written_to], tools)

    def next_due_s(self) -> float | None:
        """Say in how many seconds the next purge falls due (0: now); None: none is waiting."""
        now = self._ledger.now(self._workplace.clock())
        retention = self._workplace.settings.retention
        held = self._ledger.items.in_state(ItemState.QUARANTINED, ItemState.PURGING)
        waits = (due_in_s(item, retention, now.aged_s) for item in held)
        return min(waits, default=None)

    def _hold_again(self, items: tuple[Item, ...], now: Moment) -> None:
        if not items:
            return
        again = [
            replace(
                item,
                state=ItemState.QUARANTINED,
                quarantined_at=now.at,
                quarantined_s=now.aged_s,
                error=None,
            )
            for item in items
        ]
        self._ledger.items.put(again, now.aged_s)

    def _note_kept(self, kept: tuple[Keeping, ...], tools: Tools) -> None:
        """Tell why something is kept: once for each reason."""
        known = {run.run_id: run.kept for run in self._ledger.known.in_state(RunState.ORPHANED)}
        outcomes = Outcomes(tools)
        news = {}
        for step in kept:
            entity, reason = step.candidate.entity, str(step.verdict)
            if known.get(entity.id) != reason:
                news[entity.id] = reason
                outcomes.events.append(
                    Event(EventKind.KEPT, tools.now.at, entity, step.candidate.name, reason)
                )
        self._ledger.known.keep(news)
        outcomes.settle()
