"""Where the bytes under the artifact roots are, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from mlflow_cleanup.model.inventory import Inventory, Unseen
from mlflow_cleanup.model.item import Size


class Kind(str, Enum):
    """What bytes are; every byte is of one kind."""

    RUN = "run artifacts"
    MODEL = "logged models"
    TRACE = "traces"
    CHECKPOINT = "checkpoints"
    QUARANTINED = "quarantined"
    ORPHANED = "orphaned"
    FOREIGN = "foreign"
    OWN = "mlflow-cleanup"
    """Our own markers and notes, the trash's content aside."""


class By(str, Enum):
    """What bytes can be added up by."""

    KIND = "kind"
    EXPERIMENT = "experiment"
    USER = "user"
    RUN = "run"


class Owner(NamedTuple):
    """Whose an entity is, as far as MLflow says so."""

    experiment_id: str | None = None
    run_id: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose the entities are that were asked for, by id, and what MLflow calls the experiments."""

    of: Mapping[str, Owner] = field(default_factory=dict)
    experiments: Mapping[str, str] = field(default_factory=dict)


class Portion(NamedTuple):
    """Some bytes of one kind and one owner."""

    kind: Kind
    owner: Owner
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class RootContent:
    """One root as it was listed: its inventory, what an item holds in the trash, what else is ours.

    `problem` says why it is not certain what is orphaned.
    """

    inventory: Inventory
    trash: Mapping[str, Size] = field(default_factory=dict)
    own: Size = field(default_factory=Size)
    unseen: tuple[Unseen, ...] = ()
    problem: str | None = None

    @property
    def total(self) -> Size:
        """Everything under the root."""
        return sum(self.trash.values(), self.inventory.total + self.own)


@dataclass(frozen=True, slots=True)
class Row:
    """What was added up for one `key`: an id, a user, a kind; None is for what has none.

    `checkpoint_bytes` are the part of `bytes` that checkpoints take.
    """

    key: str | None
    files: int
    bytes: int
    checkpoint_bytes: int
    name: str | None = None
    experiment_id: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """The rows by one dimension that are shown, and what the others come to: `count` of them."""

    rows: tuple[Row, ...]
    count: int = 0
    rest: Size = field(default_factory=Size)


@dataclass(frozen=True, slots=True)
class Usage:
    """Where the bytes are. Every table adds up to the roots' totals."""

    made_at: datetime
    database: str
    roots: tuple[RootContent, ...]
    tables: Mapping[By, Table]

    @property
    def total(self) -> Size:
        """Everything under the roots."""
        return sum((root.total for root in self.roots), Size())
