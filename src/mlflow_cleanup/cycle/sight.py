"""The latest read of the tracking database, read again only when it has changed."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from mlflow_cleanup.cycle.workplace import Workplace, real_roots
from mlflow_cleanup.decide.planner import Ground, item_verdict, judge_now
from mlflow_cleanup.errors import TrackingUnreadable
from mlflow_cleanup.ledger.sweeps import Pin
from mlflow_cleanup.model.claim import Claim
from mlflow_cleanup.model.entity import Entity, EntityKind
from mlflow_cleanup.model.inventory import Inventory
from mlflow_cleanup.model.item import Item
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.snapshot import Heads, Snapshot
from mlflow_cleanup.model.verdict import Candidate, Keep, Verdict
from mlflow_cleanup.observe.places import Places
from mlflow_cleanup.observe.tracking import Wanted


@dataclass(slots=True)
class Sight:
    """Snapshots of one cycle: verdicts are given from the last one.

    `listed` is what was listed right before, for those that are only going to look.
    """

    workplace: Workplace
    now: Moment
    unreachable: frozenset[str] = frozenset()
    with_holdings: bool = False
    listed: tuple[Inventory, ...] = ()
    places: Places = field(init=False)
    snapshot: Snapshot | None = field(init=False, default=None)
    _version: Hashable | None = field(init=False, default=None)
    _roots: tuple[str, ...] = field(init=False, default=())
    _pins: list[Pin] = field(init=False, default_factory=list)
    _ground: Ground | None = field(init=False, default=None)

    def look(self, wanted: Wanted = lambda _: ()) -> Snapshot:
        """Read everything now."""
        self.places, self._ground = self.workplace.places(self.listed), None
        self._roots = tuple(real_roots(self.workplace.settings))
        # Taken before the read: a commit in between makes the next look read once more.
        self._version = self.workplace.probe.version()
        more = self.workplace.registry_claims()
        self._pins = self.workplace.ledger.pins.all()
        more += [Claim(Entity(EntityKind.PIN, pin.target), pin.target) for pin in self._pins]
        self.snapshot = self.workplace.tracking.snapshot(
            wanted,
            self.places,
            fold=self.workplace.fold,
            more=more,
            with_holdings=self.with_holdings,
        )
        return self.snapshot

    def refresh(self) -> None:
        """Read again unless nothing was committed or pinned since, and no claim leads elsewhere.

        Raises TrackingUnreadable when claims can no longer be read, LeaseLost when another process
        may act by now.
        """
        self.workplace.still_ours()
        version = self.workplace.probe.version()
        is_known = version is not None and version == self._version
        is_known = is_known and self._pins == self.workplace.ledger.pins.all()
        is_known = is_known and self.snapshot is not None and self.workplace.registry is None
        if is_known and not self.places.links_moved():
            return
        snapshot = self.look()
        if problems := snapshot.problems:
            raise TrackingUnreadable("; ".join(problems))
        known = self.workplace.ledger.identity
        if known is not None and not known.may_become(snapshot.identity):
            raise TrackingUnreadable(
                "the tracking database was replaced, went back in time or became a standby in the "
                "middle of a step; what was not done yet was left, and the next look judges it anew"
            )

    @property
    def ground(self) -> Ground:
        """What verdicts are based on now."""
        snapshot = self.snapshot or self.look()
        if self._ground is not None and self._ground.unreachable is self.unreachable:
            return self._ground
        self._ground = Ground(
            heads=snapshot.heads,
            claims=snapshot.claims,
            retention=self.workplace.settings.retention,
            aged_s=self.now.aged_s,
            unreachable=self.unreachable,
            departed=snapshot.departed,
            soft=snapshot.soft_claims,
            roots=self._roots,
            problems=snapshot.problems,
        )
        return self._ground

    @property
    def heads(self) -> Heads:
        """Which runs are active and deleted."""
        return (self.snapshot or self.look()).heads

    def judge(self, candidate: Candidate) -> Verdict:
        """Give the verdict on a candidate, its path resolved anew."""
        return judge_now(candidate, self.ground)

    def wanted(self, item: Item) -> Keep | None:
        """Say why an item is wanted back, None when it is not."""
        return item_verdict(item, self.ground)
