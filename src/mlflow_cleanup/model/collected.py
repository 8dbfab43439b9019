"""What became of each row that was to be removed, and of its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mlflow_cleanup.model.target import Target


class Fate(str, Enum):
    """What became of one entity."""

    REMOVED = "removed"
    FILES_REMOVED = "files removed"
    """Its row stays, as only artifacts were to go."""
    HELD = "in the trash"
    """Its row stays until its files are purged."""
    KEPT = "kept"
    FAILED = "failed"
    ABSENT = "not there"
    """Somebody else removed its row meanwhile."""


@dataclass(frozen=True, slots=True)
class Collected:
    """One entity as it was carried out; `reason` says why it stays.

    `scheme` names the kind of storage its bytes are in, where that is none that is handled.
    """

    target: Target
    fate: Fate
    reason: str = ""
    scheme: str | None = None
