"""What a store lists under one root: sizes and ages by place, and what could not be seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mlflow_cleanup.model.entity import Entity
from mlflow_cleanup.model.item import Size

_NOTHING = Size()


class Listed(NamedTuple):
    """One directory: what lies directly in it.

    `files` and `bytes` count its files and links; `newest` is the newest modification time among
    them and its own (Unix seconds). `marked_files` and `marked_bytes` are the part of them whose
    names the lister was asked to tell apart; `shared_bytes` are those of files with other names,
    which are not in `bytes`; `changed` is the newest time at which anything about them was changed:
    copies often keep the modification times of their originals. A tuple of plain values, as there
    is one for every directory.
    """

    inside: tuple[str, ...]
    files: int
    bytes: int
    newest: float
    has_directories: bool
    marked_files: int = 0
    marked_bytes: int = 0
    shared_bytes: int = 0
    changed: float = 0.0

    @property
    def size(self) -> Size:
        """Its files and what removing them frees."""
        return Size(self.files, self.bytes, self.shared_bytes)

    @property
    def marked(self) -> Size:
        """The part of `size` that was told apart."""
        return Size(self.marked_files, self.marked_bytes)

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing at all is in it."""
        return not self.files and not self.has_directories


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
    size: Size = _NOTHING
    newest: float = 0.0
    marked: Size = _NOTHING
    changed: float = 0.0


@dataclass(frozen=True, slots=True)
class Inventory:
    """One root. `foreign` holds what has no recognised shape, by its first directory.

    `marked` are directories in it that have an owner marker of their own, whosever it is.
    """

    root: str
    places: Mapping[tuple[str, ...], Place]
    foreign: Mapping[str, Size]
    total: Size
    unseen: tuple[Unseen, ...] = ()
    marked: frozenset[tuple[str, ...]] = frozenset()
