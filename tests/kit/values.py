"""Builders for the model's values: only what a test is about has to be given."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from mlflow_cleanup.decide.planner import Ground
from mlflow_cleanup.model.claim import Claim, ClaimIndex
from mlflow_cleanup.model.entity import Entity, EntityKind, run
from mlflow_cleanup.model.item import Item, ItemState
from mlflow_cleanup.model.location import Location, Unplaced
from mlflow_cleanup.model.snapshot import Heads
from mlflow_cleanup.model.verdict import Candidate, Gone
from tests.kit.tracking_db import run_id

ROOT = "/art"
NOW = datetime(2025, 3, 10, 12, tzinfo=timezone.utc)


def location(number: int, root: str = ROOT) -> Location:
    """Return a run's own directory under an artifact root, where MLflow puts it."""
    return Location(root, ("0", run_id(number), "artifacts"))


def candidate(number: int, place: Location | Unplaced | None = None, **more: Any) -> Candidate:  # noqa: ANN401 - the fields' own types
    """Make a candidate of a deleted run, in its own directory unless told otherwise."""
    values = {"gone": Gone.DELETED, **more}
    return Candidate(run(run_id(number)), place or location(number), **values)


def item(number: int, state: ItemState = ItemState.QUARANTINED, **more: Any) -> Item:  # noqa: ANN401 - likewise
    """Make an item of a run, quarantined at ledger time 0."""
    values = {"location": location(number), "quarantined_at": NOW, **more}
    return Item(f"item-{number}", run(run_id(number)), state=state, reason="deleted", **values)


def claim_on(number: int, holder: str = "m-1") -> Claim:
    """Make a logged model's claim inside a run's directory."""
    path = f"{location(number).path}/model"
    return Claim(Entity(EntityKind.LOGGED_MODEL, holder), path, (path,))


def ground(
    *claims: Claim,
    active: tuple[int, ...] = (),
    pinned: tuple[int, ...] = (),
    retention: timedelta = timedelta(days=7),
    aged_s: float = 0.0,
    unreachable: tuple[str, ...] = (),
) -> Ground:
    """Make what verdicts are based on; runs are given by number."""
    return Ground(
        heads=Heads(frozenset(map(run_id, active)), frozenset()),
        claims=ClaimIndex(claims, pinned=frozenset(run(run_id(number)) for number in pinned)),
        retention=retention,
        aged_s=aged_s,
        unreachable=frozenset(unreachable),
    )
