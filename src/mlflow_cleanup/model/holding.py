"""What the tracking database says of one entity's bytes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mlflow_cleanup.model.entity import Entity
from mlflow_cleanup.model.verdict import Gone


@dataclass(frozen=True, slots=True)
class Holding:
    """An entity that left, or whose run did, and the location of its bytes as stored.

    `text` is any client's text. `experiment_id` and `name` are for showing.
    """

    entity: Entity
    text: str | None
    gone: Gone
    name: str | None = None
    experiment_id: str | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Holdings:
    """The holdings of everything that left, with the places of all experiments, dead ones too.

    `unknown` names columns that may hold artifact locations and are not known here.
    """

    departed: tuple[Holding, ...] = ()
    experiments: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
