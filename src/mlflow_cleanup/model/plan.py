"""What a cycle is going to do, as a value: printable, comparable, carried out at most once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from mlflow_cleanup.model.inventory import Unseen
from mlflow_cleanup.model.item import Item, Size
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.snapshot import BackendIdentity
from mlflow_cleanup.model.verdict import Candidate, Garbage, Keep, Verdict


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Take this candidate's place out of use."""

    candidate: Candidate
    verdict: Garbage


@dataclass(frozen=True, slots=True)
class Keeping:
    """Leave this candidate's place alone, for now, with the reason."""

    candidate: Candidate
    verdict: Keep


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one cycle, in the order in which they are carried out.

    `restore` goes first, as somebody is waiting for those bytes; `purge` goes last. `hold_again`
    are rests of a colliding restore whose entity is gone again, and what was restored and deleted
    once more unseen: their retention begins anew.
    """

    restore: tuple[Item, ...] = ()
    hold_again: tuple[Item, ...] = ()
    quarantine: tuple[Quarantine, ...] = ()
    keep: tuple[Keeping, ...] = ()
    purge: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a safeguard refuses everything, until an operator has confirmed `plan_id`.

    The id is made from the facts, so the same situation has the same id in every cycle, and a
    confirmation holds for that situation only. One that `is_lasting` stands until somebody answers,
    though its signs may go by themselves.
    """

    plan_id: str
    reason: str
    is_lasting: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """What an operator may set for a full cycle; the defaults are in `decide.margins`.

    `at_once` takes orphans without having seen them twice, whatever their age.
    """

    cascade_models: bool = False
    at_once: bool = False
    most_share: float = 0.5
    most_entities: int = 10_000


@dataclass(frozen=True, slots=True)
class Judged:
    """One place with its verdict.

    `newest` is its newest modification time in Unix seconds, `changed` the newest time at which
    anything in it was changed, by which a plan's step tells that somebody was there since.
    """

    candidate: Candidate
    verdict: Verdict
    size: Size | None = None
    newest: float | None = None
    changed: float | None = None

    @property
    def place(self) -> Location:
        """Where it is; raises TypeError for one that has no place, which is never taken."""
        if not isinstance(self.candidate.place, Location):
            raise TypeError("only what has a place under a root can be taken")
        return self.candidate.place


@dataclass(frozen=True, slots=True)
class RootSummary:
    """One artifact root in a full cycle. `problem`: why nothing in it was judged unclaimed.

    `unfinished` are uploads that nobody will finish, their number and bytes.
    """

    root: str
    total: Size = field(default_factory=Size)
    live: Size = field(default_factory=Size)
    live_places: int = 0
    foreign: Mapping[str, Size] = field(default_factory=dict)
    unseen: tuple[Unseen, ...] = ()
    problem: str | None = None
    unfinished: Size = field(default_factory=Size)


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a full cycle is going to do: printable, savable, carried out at most once.

    `id` names what it would do, so the same situation has the same one whenever it is looked at.
    `take` goes to the trash, `empty` are directories to remove, `keep` stays, each with its reason.
    `unclaimed` are all orphans by root, those that have to be seen again too. `leaves_backlog`:
    what had been deleted before the first start stays.
    """

    id: str
    made_at: datetime
    database: str
    identity: BackendIdentity
    take: tuple[Judged, ...] = ()
    empty: tuple[Judged, ...] = ()
    keep: tuple[Judged, ...] = ()
    roots: tuple[RootSummary, ...] = ()
    refusal: Refusal | None = None
    unclaimed: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    leaves_backlog: bool = False

    @property
    def stamp(self) -> str:
        """What only this very plan has: by it a plan is known to have been carried out."""
        return digest_of(self.made_at, self.steps)

    @property
    def steps(self) -> tuple[Judged, ...]:
        """Everything that it would do."""
        return (*self.take, *self.empty)


class StepResult(str, Enum):
    """What became of one step of a plan."""

    QUARANTINED = "quarantined"
    PURGED = "purged"
    REMOVED = "removed"
    SKIPPED = "skipped"
    FAILED = "failed"
    NOT_OURS = "not ours"


@dataclass(frozen=True, slots=True)
class Step:
    """One step as it was carried out; `size` was measured."""

    judged: Judged
    result: StepResult
    detail: str = ""
    size: Size | None = None


def digest_of(made_at: datetime | None, judged: Iterable[Judged]) -> str:
    """Make a name from what a plan does: with its time its own, without that of the situation."""
    words = sorted(
        # Ids and paths are any client's text: only marks around each tell where it ends.
        json.dumps([entity.kind.value, entity.id, item.place.root, *item.place.inside, gone.name])
        for item in judged
        for entity, gone in [(item.candidate.entity, item.candidate.gone)]
    )
    text = json.dumps([made_at.isoformat() if made_at else None, *words])
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:8]
