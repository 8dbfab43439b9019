"""What is decided about one place, always with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from mlflow_cleanup.model.entity import Entity
from mlflow_cleanup.model.location import Location, Unplaced


class Gone(str, Enum):
    """Why a place is garbage."""

    DELETED = "its run was deleted"
    VANISHED = "its run's row is gone from the tracking database"
    MODEL_DELETED = "the logged model was deleted"
    VERSION_DELETED = "the model version was deleted"
    EXPERIMENT_DELETED = "its experiment was deleted"
    RUN_DELETED = "the run that logged it was deleted"
    ORPHAN = "no row in the tracking database claims it"
    EMPTY = "an empty directory that its run or model left behind"


class Kept(str, Enum):
    """Why a place is kept."""

    ACTIVE = "its run is active"
    LIVE_CLAIM = "a live entity still claims it"
    PINNED = "pinned by an operator"
    MALFORMED = "its artifact location is malformed"
    AMBIGUOUS = "its artifact location can be read in more than one way"
    REMOTE = "its artifact location is in storage that is not handled"
    OUTSIDE_ROOTS = "not under a configured artifact root"
    NOT_ITS_OWN = "its artifact location is not a directory of its own"
    RESERVED = "it lies in mlflow-cleanup's own directory"
    SYMLINK = "its path runs through a symbolic link"
    STILL_WRITING = "its run has not ended and may still be writing"
    UNREACHABLE = "its artifact root cannot be seen"
    CLAIMS_UNKNOWN = "not every claim could be read"
    MODEL_OF_DELETED_RUN = (
        "the model is active, only its run was deleted; --cascade models takes it"
    )
    TOO_YOUNG = "something in it was written within the last 3 days"
    SEEN_ONCE = "unclaimed; taken when a full cycle 4 hours later finds it so again"
    NOT_ADOPTED = "the artifact root was not adopted, so nothing in it counts as unclaimed"
    REPORT_ONLY = "not everything about this artifact root is known"
    RELEASED = "an operator restored it by hand"
    BACKLOG = "it was deleted before the first start; --backlog include takes it"
    HELD = "held in place already, until its retention is over"
    FAILING = "too many steps failed in a row under this artifact root"

    @property
    def is_protection(self) -> bool:
        """Tell whether somebody wants the bytes, as against our not knowing enough to act."""
        return self in (Kept.ACTIVE, Kept.LIVE_CLAIM, Kept.PINNED)


@dataclass(frozen=True, slots=True)
class Garbage:
    """Nobody can reach this place through MLflow any more."""

    reason: Gone
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Keep:
    """This place stays; `detail` names who or what stands in the way."""

    reason: Kept
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason.value} ({self.detail})" if self.detail else self.reason.value


Verdict = Garbage | Keep


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entity that left, or that nobody knows, and the place of its bytes.

    `gone` says how it left; `still_writing` is a fact gathered only where an act could not be
    undone. With `cascade` the claim of a model whose run was deleted does not count.
    """

    entity: Entity
    place: Location | Unplaced
    gone: Gone
    name: str | None = None
    experiment_id: str | None = None
    deleted_at: datetime | None = None
    still_writing: bool = False
    cascade: bool = False
