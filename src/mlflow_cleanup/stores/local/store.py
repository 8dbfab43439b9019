"""The local store: quarantine is one rename into a trash on the same file system."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import replace

from mlflow_cleanup.errors import ForeignOwner, QuarantineFailed, StoreUnreachable, UnsafePlace
from mlflow_cleanup.model.globs import Globs
from mlflow_cleanup.model.inventory import Listed, Unseen
from mlflow_cleanup.model.item import Held, Item, Size
from mlflow_cleanup.model.location import RESERVED, Location
from mlflow_cleanup.stores.base import KeepGoing, Mark, Presence, Purged, Restored, Unfinished
from mlflow_cleanup.stores.local import marker, walk
from mlflow_cleanup.stores.local.account import Removal, shown
from mlflow_cleanup.stores.local.crew import list_together
from mlflow_cleanup.stores.local.directory import (
    HAS_DIR_FD,
    Directory,
    descend,
    exists,
    is_plain_directory,
    is_plain_name,
    open_root,
)
from mlflow_cleanup.stores.local.listing import list_root
from mlflow_cleanup.stores.local.removal import remove_tree
from mlflow_cleanup.stores.local.trash import (
    CONTENT,
    NOTE,
    TRASH,
    held_by,
    put_back,
    remove_trash,
    rename_away,
)
from mlflow_cleanup.stores.marker import Owner


class LocalStore:
    """One artifact root on a local file system.

    `owner` is what its marker must say, with one of `tokens`; `is_marked` whether a marker was
    written there before, so that its absence means the root cannot be seen. `wait` pauses between
    attempts to remove. `listers` are processes that help to list a large root.
    """

    def __init__(  # noqa: PLR0913 - what it must know is given, never asked for
        self,
        root: str,
        owner: Owner,
        *,
        is_marked: bool = False,
        tokens: AbstractSet[str] = frozenset(),
        wait: Callable[[float], object],
        by_descriptor: bool = HAS_DIR_FD,
        listers: int = 0,
    ) -> None:
        self._root, self._owner, self._wait = root, replace(owner, root=root), wait
        self._is_marked, self._tokens, self._by_descriptor = is_marked, tokens, by_descriptor
        self._known, self._alone = tokens, set[tuple[str, ...]]()
        self._listers = listers

    @property
    def root(self) -> str:
        """The absolute real path of the root."""
        return self._root

    def check(self) -> None:
        """See `ArtifactStore.check`."""
        with self._open() as root:
            marker.require(root, self._owner, self._tokens, expected=self._is_marked)

    def mark(self, token: str | None = None, *, was_at: str | None = None) -> None:
        """See `ArtifactStore.mark`."""
        with self._open() as root:
            found = marker.require(root, self._owner, self._tokens, expected=self._is_marked)
            ours = replace(
                self._owner,
                root=was_at or self._root,
                is_adopted=found is not None and found.is_adopted,
                token=token or (found.token if found else None),
            )
            if found is None or found.token != ours.token or not found.says_the_same_as(ours):
                marker.write(root, ours)
        self._alone.clear()
        self._is_marked = True
        if token is not None:
            self._tokens = {token}

    def moved_from(self) -> str | None:
        """See `ArtifactStore.moved_from`."""
        with self._open() as root:
            found = marker.require(root, self._owner, self._tokens, expected=self._is_marked)
        return None if found is None or found.root == self._root else found.root

    def adopt(self, token: str | None = None, *, alone: bool = False) -> None:
        """See `ArtifactStore.adopt`."""
        with self._open() as root:
            marker.write(root, replace(self._owner, is_adopted=alone, token=token))
        self._is_marked = True
        if token is not None:
            self._tokens = {token}

    def quarantine(
        self, location: Location, item_id: str, note: Mapping[str, str] | None
    ) -> Held | None:
        """See `ArtifactStore.quarantine`."""
        parents, name = _split(location.inside)
        with self._open() as root:
            self._require_alone(root, location.inside)
            try:
                with descend(root, parents) as parent:
                    held = self._move_away(root, parent, name, item_id, note)
            except FileNotFoundError:
                held = None
            if held is not Held.IN_PLACE:
                _remove_if_empty(root, parents)
        return held

    def restore(self, item: Item) -> Restored:
        """See `ArtifactStore.restore`."""
        parents, name = _split(item.location.inside)
        with self._open() as root:
            if item.held is Held.IN_PLACE:
                return Restored()
            try:
                held = descend(root, self._trash_of(item))
            except FileNotFoundError:
                return Restored()
            collisions: list[str] = []
            with held as trash:
                if exists(trash, CONTENT):
                    self._remake_parent(root, parents, trash)
                    with descend(root, parents) as parent:
                        collisions = put_back(trash, parent, name)
            if not collisions:
                remove_trash(root, item.id)
        return Restored(shown(collisions))

    def purge(self, item: Item, keep_going: KeepGoing) -> Purged:
        """See `ArtifactStore.purge`."""
        with self._open() as root:
            parents, name = _split(self._held_at(item))
            try:
                held = descend(root, parents)
            except FileNotFoundError:
                return Purged(Size(), complete=True)
            with held as parent:
                removal = Removal(keep_going)
                if exists(parent, name):
                    removal = remove_tree(parent, name, keep_going, self._wait)
                is_gone = not exists(parent, name)
            if is_gone and item.held is Held.TRASH:
                remove_trash(root, item.id)
            elif is_gone:
                _remove_if_empty(root, parents)
        return Purged(removal.freed, is_gone, () if is_gone else shown(removal.failures))

    def _require_alone(self, root: Directory, inside: Sequence[str]) -> None:
        """Raise ForeignOwner where a directory on the way is another database's root.

        Each is looked at once until the root's own marker is looked at again.
        """
        for depth in range(1, len(inside) - 1):
            above = tuple(inside[:depth])
            if above in self._alone:
                continue
            try:
                with descend(root, above) as directory:
                    found, where = marker.read(directory), directory.path
            except FileNotFoundError:
                return  # then nothing is there at all
            if found is not None and not found.is_ours(self._owner, self._known):
                raise ForeignOwner(where, found.database)
            self._alone.add(above)

    def find(self, item: Item) -> Presence:
        """See `ArtifactStore.find`."""
        with self._open() as root:
            return Presence(
                at_origin=_is_there(root, item.location.inside),
                in_trash=_is_there(root, (*self._trash_of(item), CONTENT)),
            )

    def held_ids(self) -> frozenset[str]:
        """See `ArtifactStore.held_ids`."""
        with self._open() as root:
            try:
                with descend(root, (RESERVED, TRASH)) as trash:
                    return frozenset(entry.name for entry in trash.scan())
            except FileNotFoundError:
                return frozenset()

    def tidy(self, item: Item) -> None:
        """See `ArtifactStore.tidy`."""
        parents, _ = _split(item.location.inside)
        with self._open() as root:
            remove_trash(root, item.id)
            _remove_if_empty(root, parents)

    def exists(self, location: Location) -> bool:
        """See `ArtifactStore.exists`."""
        with self._open() as root:
            return _is_there(root, location.inside)

    def holds_file(self, location: Location, name: str) -> bool:
        """See `ArtifactStore.holds_file`."""
        with self._open() as root:
            try:
                with descend(root, location.inside) as place:
                    return stat.S_ISREG(place.lstat(name).st_mode)
            except FileNotFoundError:
                return False

    def measure(self, what: Item | Location, keep_going: KeepGoing) -> Size | None:
        """See `ArtifactStore.measure`."""
        inside = what.inside if isinstance(what, Location) else self._held_at(what)
        with self._open() as root:
            try:
                with descend(root, inside) as top:
                    return walk.measure(top, keep_going)
            except FileNotFoundError:
                return Size()

    def listing(self, mark: Mark | None, keep_going: KeepGoing) -> Iterator[Listed | Unseen]:
        """See `ArtifactStore.listing`."""
        with self._open() as root:
            if self._listers and (mark is None or isinstance(mark, Globs)):
                yield from list_together(root, mark, keep_going, self._listers)
            else:
                yield from list_root(root, mark, keep_going)

    def own_listing(self, keep_going: KeepGoing) -> Iterator[Listed | Unseen]:
        """See `ArtifactStore.own_listing`."""
        with self._open() as root:
            try:
                with descend(root, (RESERVED,)) as ours:
                    for found in list_root(ours, None, keep_going, leave_out=None):
                        if isinstance(found, Unseen):
                            yield found
                        else:
                            yield found._replace(inside=held_by(found.inside))
            except FileNotFoundError:
                return  # nothing was ever done here
            except UnsafePlace as error:
                yield Unseen(error.path, error.detail)

    def is_adopted(self) -> bool:
        """See `ArtifactStore.is_adopted`."""
        with self._open() as root:
            found = marker.require(root, self._owner, self._tokens, expected=self._is_marked)
        return found is not None and found.is_adopted

    def remove_empty(self, location: Location) -> bool:
        """See `ArtifactStore.remove_empty`."""
        parents, name = _split(location.inside)
        with self._open() as root:
            try:
                with descend(root, parents) as above:
                    above.rmdir(name)
            except OSError:
                return False
        return True

    def newest_write(self, location: Location) -> float | None:
        """See `ArtifactStore.newest_write`."""
        found = self.newest_times(location)
        return None if found is None else found[0]

    def newest_times(self, location: Location) -> tuple[float, float] | None:
        """See `ArtifactStore.newest_times`."""
        with self._open() as root:
            try:
                with descend(root, location.inside) as top:
                    status = top.stat()
                    written, changed = status.st_mtime, status.st_ctime
                    for found in walk.walk(top):
                        written = max(written, found.status.st_mtime)
                        changed = max(changed, found.status.st_ctime)
            except FileNotFoundError:
                return None
        return written, changed

    def keeps_versions(self) -> bool:
        """See `ArtifactStore.keeps_versions`: no directory does."""
        return False

    def unfinished(self, keep_going: KeepGoing) -> Iterator[Unfinished]:  # noqa: ARG002 - nothing
        """See `ArtifactStore.unfinished`: a file that is being written is a file."""
        with self._open():
            yield from ()

    def give_up(self, unfinished: Unfinished) -> bool:  # noqa: ARG002 - likewise
        """See `ArtifactStore.give_up`."""
        return False

    @contextmanager
    def _open(self) -> Iterator[Directory]:
        try:
            root = open_root(self._root, by_descriptor=self._by_descriptor)
        except FileNotFoundError as error:
            raise StoreUnreachable(self._root, "it does not exist") from error
        except OSError as error:
            raise StoreUnreachable(self._root, error.strerror or str(error)) from error
        with root:
            yield root

    def _move_away(
        self,
        root: Directory,
        parent: Directory,
        name: str,
        item_id: str,
        note: Mapping[str, str] | None,
    ) -> Held | None:
        status = parent.lstat(name)
        path = os.path.join(parent.path, name)
        if not is_plain_directory(status):
            raise UnsafePlace(path, "it is a link or no directory")
        if status.st_dev != root.stat().st_dev:
            return Held.IN_PLACE
        mode = f"{stat.S_IMODE(parent.stat().st_mode):o}"
        try:
            with descend(root, (RESERVED, TRASH, item_id), make=True) as trash:
                if exists(trash, CONTENT):
                    raise QuarantineFailed(path, "the trash holds this item already")
                if exists(trash, NOTE):
                    trash.unlink(NOTE)  # of a move that did not come to pass
                if note is not None:
                    trash.note(NOTE, json.dumps({**note, "parent_mode": mode}).encode())
                held = rename_away(parent, name, trash)
        except OSError as error:
            remove_trash(root, item_id)
            if not exists(parent, name):
                # Moved before something else failed; or it vanished, and the trash has nothing.
                is_moved = _is_there(root, (RESERVED, TRASH, item_id, CONTENT))
                return Held.TRASH if is_moved else None
            raise QuarantineFailed(path, error.strerror or str(error)) from error
        if held is Held.IN_PLACE:
            remove_trash(root, item_id)
        return held

    def _remake_parent(self, root: Directory, parents: list[str], trash: Directory) -> None:
        """Make the directories that the origin lay in, the last with the mode that it had."""
        if not parents:
            return
        with descend(root, parents, make=True) as parent:
            if any(parent.scan()):
                return  # somebody else's by now
        with suppress(OSError, ValueError, KeyError, TypeError):  # a courtesy; the bytes matter
            mode = int(json.loads(trash.read(NOTE))["parent_mode"], 8) & 0o7777
            with descend(root, parents[:-1]) as above:
                above.chmod(parents[-1], mode)

    def _trash_of(self, item: Item) -> tuple[str, ...]:
        return (RESERVED, TRASH, item.id)

    def _held_at(self, item: Item) -> tuple[str, ...]:
        if item.held is Held.IN_PLACE:
            return item.location.inside
        return (*self._trash_of(item), CONTENT)


def _is_there(root: Directory, inside: tuple[str, ...]) -> bool:
    try:
        with descend(root, inside[:-1]) as parent:
            return exists(parent, inside[-1])
    except FileNotFoundError:
        return False


def _split(inside: tuple[str, ...]) -> tuple[list[str], str]:
    """Split a place into the way to its directory and its name; the root itself has none."""
    if not inside:
        raise UnsafePlace("an artifact root", "it is never moved or removed as a whole")
    if not all(is_plain_name(name) for name in inside):
        raise UnsafePlace("/".join(inside), "it does not lead straight down from the root")
    return list(inside[:-1]), inside[-1]


def _remove_if_empty(root: Directory, parents: list[str]) -> None:
    """Remove the run's own directory when nothing is left in it; never the experiment's."""
    if not parents:
        return
    with suppress(OSError, UnsafePlace), descend(root, parents[:-1]) as above:
        above.rmdir(parents[-1])
