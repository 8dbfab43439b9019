"""What MLflow knows that can own bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class EntityKind(str, Enum):
    """The kinds of entity that own or claim artifact bytes."""

    RUN = "run"
    LOGGED_MODEL = "logged model"
    MODEL_VERSION = "model version"
    TRACE = "trace"
    EXPERIMENT = "experiment"
    DATASET = "dataset"
    PIN = "pin"
    """No entity of MLflow: an operator's word that something stays."""


@dataclass(frozen=True, slots=True, order=True)
class Entity:
    """One thing MLflow knows, by kind and MLflow's own id."""

    kind: EntityKind
    id: str

    def ids(self) -> tuple[str, ...]:
        """Return the id by which others can name it; versions and experiments have none alone."""
        kind = self.kind
        is_named = kind is EntityKind.RUN or kind in _NAMED_BY_ID  # looking up takes a while
        return (self.id,) if is_named else ()

    def __str__(self) -> str:
        return f"{self.kind.value} {self.id}"


_NAMED_BY_ID = frozenset({EntityKind.RUN, EntityKind.LOGGED_MODEL, EntityKind.TRACE})


def plain(value: object) -> str:
    """Make text printable: a client may have put anything there, and such an id fits no place."""
    text = str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def run(run_id: str) -> Entity:
    """Name a run as an entity."""
    return Entity(EntityKind.RUN, run_id)
