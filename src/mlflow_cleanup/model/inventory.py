"""What a store lists under one root: sizes and ages by place, and what could not be seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlflow_cleanup.model.entity import Entity
from mlflow_cleanup.model.item import Size


@dataclass(frozen=True, slots=True)
class Listed:
    """One directory: what lies directly in it.

    `size` counts its files and links; `newest` is the newest modification time among them and its
    own (Unix seconds). `marked` is the part of `size` whose names the lister was asked to tell
    apart.
    """

    inside: tuple[str, ...]
    size: Size
    newest: float
    has_directories: bool
    marked: Size = field(default_factory=Size)

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing at all is in it."""
        return not self.size.files and not self.has_directories


@dataclass(frozen=True, slots=True)
class Unseen:
    """A directory that could not be listed, and why: nothing in it is judged."""

    path: str
    why: str


@dataclass(slots=True)
class Place:
    """Everything below one directory of a recognised shape, or one that is only its empty shell."""

    entity: Entity
    inside: tuple[str, ...]
    above: tuple[str, ...]
    is_shell: bool
    size: Size = field(default_factory=Size)
    newest: float = 0.0
    marked: Size = field(default_factory=Size)


@dataclass(frozen=True, slots=True)
class Inventory:
    """One root. `foreign` holds what has no recognised shape, by its first directory."""

    root: str
    places: Mapping[tuple[str, ...], Place]
    foreign: Mapping[str, Size]
    total: Size
    unseen: tuple[Unseen, ...] = ()
