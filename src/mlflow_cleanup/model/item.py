"""One location taken out of use, and the states it goes through."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from mlflow_cleanup.model.entity import Entity
from mlflow_cleanup.model.location import Location


class ItemState(str, Enum):
    """Where an item stands in its life; the -ing states are intents that a crash can leave open."""

    QUARANTINING = "quarantining"
    QUARANTINED = "quarantined"
    PURGING = "purging"
    PURGED = "purged"
    RESTORING = "restoring"
    RESTORED = "restored"
    CONFLICT = "conflict"
    """Restored as far as nothing collided; the rest is in the trash, never purged by itself."""
    ABANDONED = "abandoned"
    """Nothing was there to move, or the move was given up before it began."""


class Held(str, Enum):
    """How a store keeps a quarantined item's bytes."""

    TRASH = "trash"
    IN_PLACE = "in place"
    """No rename was possible (another file system): the bytes wait where they are."""


@dataclass(frozen=True, slots=True)
class Size:
    """What was measured: number of files and bytes that removing them frees.

    `shared` are the bytes of files that have other names as well, which frees nothing. Two sizes
    are the same without them: they are there for telling how much it is that would go.
    """

    files: int = 0
    bytes: int = 0
    shared: int = field(default=0, compare=False)

    def __add__(self, other: Size) -> Size:
        return Size(self.files + other.files, self.bytes + other.bytes, self.shared + other.shared)

    @property
    def whole(self) -> int:
        """The bytes of all files, whatever other names they have."""
        return self.bytes + self.shared


@dataclass(frozen=True, slots=True)
class Item:
    """One location taken out of use.

    `quarantined_s` is ledger time, the only measure of retention; `quarantined_at` is for people.
    `deleted_at` is when MLflow says that its entity was deleted. `size` is None until measured.
    `retry_s` is ledger time before which a failed purge waits.
    """

    id: str
    entity: Entity
    location: Location
    state: ItemState
    reason: str
    held: Held = Held.TRASH
    name: str | None = None
    experiment_id: str | None = None
    deleted_at: datetime | None = None
    quarantined_at: datetime | None = None
    quarantined_s: float = 0.0
    size: Size | None = None
    attempts: int = 0
    retry_s: float = 0.0
    error: str | None = None
    by_hand: bool = False
