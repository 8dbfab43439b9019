"""What happened, one value for each thing worth telling; rendering is the report's business."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from mlflow_cleanup.model.entity import Entity
from mlflow_cleanup.model.item import Size


class EventKind(str, Enum):
    """One name for each thing that happens; also the `event` of a history row."""

    STARTED = "started"
    STOPPED = "stopped"
    WAITING = "waiting"
    RESUMED = "resumed"
    BACKLOG = "backlog"
    QUARANTINED = "quarantined"
    RESTORED = "restored"
    CONFLICT = "conflict"
    PURGED = "purged"
    LOST = "lost"
    EMPTY = "empty"
    KEPT = "kept"
    FAILED = "failed"
    REFUSED = "refused"
    BRAKED = "braked"
    SWEPT = "swept"
    COLLECTED = "collected"
    CONFIRMED = "confirmed"
    FORGOTTEN = "forgotten"
    RECOVERED = "recovered"
    ADOPTED = "adopted"
    MOVED = "moved"
    IGNORED = "ignored"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened at `at` (UTC).

    `detail` is a sentence or a path; `size` was measured, never hoped; `due_at` says when
    quarantined bytes are purged. Names and paths may hold any client's text.
    """

    kind: EventKind
    at: datetime
    entity: Entity | None = None
    name: str | None = None
    detail: str = ""
    size: Size | None = None
    due_at: datetime | None = None
    item_id: str | None = None
