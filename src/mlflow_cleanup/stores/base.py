"""The contract that every artifact store keeps; `tests/contracts` is its test suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from mlflow_cleanup.model.inventory import Listed, Unseen
from mlflow_cleanup.model.item import Held, Item, Size
from mlflow_cleanup.model.location import Location

KeepGoing = Callable[[], bool]
"""Asked now and then during long work; False means: stop where you are, it goes on later."""


Mark = Callable[[str], bool]
"""Tells file names apart while they are listed."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What lies where, for one item: the answer that a restart after a crash needs."""

    at_origin: bool
    in_trash: bool


@dataclass(frozen=True, slots=True)
class Restored:
    """The outcome of a restore; `collisions` are paths inside the item that stayed in the trash."""

    collisions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Purged:
    """The outcome of a purge: what was really freed, and what would not go.

    `complete` means that nothing is left, verified by looking; `failures` are paths with reasons.
    `unfreed` says why the bytes of what is gone are not freed, where they are not.
    """

    freed: Size
    complete: bool
    failures: tuple[str, ...] = field(default=())
    unfreed: str | None = None


class Unfinished(NamedTuple):
    """Something that was begun to be written and is neither finished nor given up.

    `begun_at` is in Unix seconds; `bytes` is what giving it up frees, `id` the store's own name.
    """

    path: str
    id: str
    begun_at: float
    bytes: int


class ArtifactStore(Protocol):
    """One artifact root. Nothing outside of it is ever touched, and no symbolic link is followed.

    Every method is safe to call again after a crash. Each raises `StoreUnreachable` when the root
    itself cannot be seen, which is never the same as finding nothing, and `UnsafePlace` when a path
    runs through a link, a mount point or a file.
    """

    @property
    def root(self) -> str:
        """The root as locations name it: an absolute real path, or a URI without a last slash."""
        ...

    def check(self) -> None:
        """Raise `StoreUnreachable` unless the root can be seen and has no other owner's marker."""
        ...

    def mark(self, token: str | None = None, *, was_at: str | None = None) -> None:
        """Write the owner marker where there is none yet, or where ours says something outdated.

        With a new token it is written anew, and only that token counts from then on. `was_at` is
        where items still say that the root is, which the marker goes on saying.
        """
        ...

    def adopt(self, token: str | None = None, *, alone: bool = False) -> None:
        """Write the owner marker whatever is there: the operator has said whose root this is.

        `alone`: and that no other database uses it.
        """
        ...

    def moved_from(self) -> str | None:
        """Return where the root was when its marker was written; None: here, or it has none."""
        ...

    def quarantine(
        self, location: Location, item_id: str, note: Mapping[str, str] | None
    ) -> Held | None:
        """Take what lies at `location` out of sight, reversibly, in one step; None: nothing there.

        The note of origin is written before the move; None for what is purged at once. Raises
        `QuarantineFailed` when the bytes are still where they were.
        """
        ...

    def restore(self, item: Item) -> Restored:
        """Put an item's bytes back at their origin. Nothing that lies there is overwritten."""
        ...

    def purge(self, item: Item, keep_going: KeepGoing) -> Purged:
        """Remove an item's bytes for good; what is already gone is not an error."""
        ...

    def find(self, item: Item) -> Presence:
        """Look where an item's bytes are."""
        ...

    def held_ids(self) -> frozenset[str]:
        """Name every item of which the trash holds something, known to the ledger or not."""
        ...

    def tidy(self, item: Item) -> None:
        """Remove what an interrupted step left empty; whatever holds bytes stays."""
        ...

    def exists(self, location: Location) -> bool:
        """Tell whether something lies at `location`."""
        ...

    def holds_file(self, location: Location, name: str) -> bool:
        """Tell whether a file of this name, and no link, lies directly in `location`."""
        ...

    def measure(self, what: Item | Location, keep_going: KeepGoing) -> Size | None:
        """Count the files and bytes of a held item or at a place; None when told to stop before."""
        ...

    def listing(self, mark: Mark | None, keep_going: KeepGoing) -> Iterator[Listed | Unseen]:
        """Yield every directory under the root, our own excepted, and what could not be seen.

        Each comes on one side of all that lies in it: before, or in a store without directories
        after.
        `mark` tells file names apart, see `Listed.marked`. Told to stop, it ends with the root as
        not seen: what was not listed is not known.
        """
        ...

    def own_listing(self, keep_going: KeepGoing) -> Iterator[Listed | Unseen]:
        """Yield in the same way what lies in our own directory, which `listing` leaves out.

        `inside` is `(item id, …)` for what an item holds, and empty for everything else.
        """
        ...

    def is_adopted(self) -> bool:
        """Tell whether an operator said that nothing but this database uses the root."""
        ...

    def remove_empty(self, location: Location) -> bool:
        """Remove a directory that is empty; False when it is not, or not there."""
        ...

    def newest_write(self, location: Location) -> float | None:
        """Return the newest modification time under `location`, in Unix seconds; None: nothing."""
        ...

    def newest_times(self, location: Location) -> tuple[float, float] | None:
        """Return that, and the newest time at which anything there was changed.

        The second is the inode's (on Windows a file's beginning): copying sets modification times
        back, but not this one.
        """
        ...

    def keeps_versions(self) -> bool:
        """Tell whether what is removed is kept as a version, so that nothing is freed by that."""
        ...

    def unfinished(self, keep_going: KeepGoing) -> Iterator[Unfinished]:
        """Yield what was begun to be written under the root and never finished, however old.

        Nothing in a store that has no such thing, or that cannot tell.
        """
        ...

    def give_up(self, unfinished: Unfinished) -> bool:
        """Remove something unfinished for good; False when it is not there any more."""
        ...
