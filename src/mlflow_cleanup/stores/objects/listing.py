"""Listing a root: one flat pass over its keys, which makes one value for each directory.

Keys come sorted, so that everything below one directory comes in one piece: a directory is done as
soon as a key lies elsewhere, and only those on the way to the key at hand are kept. Each is told
after what lies in it. A store that does not sort tells a directory in several parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from mlflow_cleanup.model.inventory import Listed
from mlflow_cleanup.stores.base import Mark
from mlflow_cleanup.stores.objects.bucket import Found

WhichExist = Callable[[Sequence[str]], AbstractSet[str]]
"""Tells of which keys there is an object of exactly this key."""


@dataclass(slots=True)
class _Open:
    """A directory that keys still come of."""

    name: str
    files: int = 0
    bytes: int = 0
    newest: float = 0.0
    has_directories: bool = False
    marked_files: int = 0
    marked_bytes: int = 0


class Grouping:
    """Makes directories of keys. `mark` tells names apart; `left_out` is a name at the top."""

    def __init__(self, base: str, mark: Mark | None, left_out: str | None) -> None:
        self._base, self._mark, self._left_out = len(base), mark, left_out
        self._way = [_Open("")]
        self._parts: list[str] = []
        self._at: str | None = None

    def add(self, page: Iterable[Found], lag_s: float) -> Iterator[Listed]:
        """Take up objects; yields the directories that are done by then.

        `lag_s` is how far the store's clock is behind ours.
        """
        mark, base = self._mark, self._base
        here = self._way[-1]
        for key, size, written_at in page:
            above, slash, name = key[base:].rpartition("/")
            directory = above if slash else None
            if directory != self._at:
                yield from self._turn_to(directory)
                here = self._way[-1]
            newest = written_at + lag_s
            here.newest = max(here.newest, newest)
            if not name and not size:
                continue  # a directory's own object
            here.files += 1
            here.bytes += size
            if mark is not None and mark(name):
                here.marked_files += 1
                here.marked_bytes += size

    def rest(self) -> Iterator[Listed]:
        """Yield what is open still, the root last."""
        while self._way:
            yield from self._leave()

    def _turn_to(self, directory: str | None) -> Iterator[Listed]:
        """Go from the directory at hand to another one; `None` is the root."""
        parts = [] if directory is None else directory.split("/")
        common = 0
        for ours, theirs in zip(self._parts, parts, strict=False):
            if ours != theirs:
                break
            common += 1
        while len(self._parts) > common:
            yield from self._leave()
        for name in parts[common:]:
            if self._parts or name != self._left_out:
                self._way[-1].has_directories = True
            self._way.append(_Open(name))
            self._parts.append(name)
        self._at = directory

    def _leave(self) -> Iterator[Listed]:
        one, inside = self._way.pop(), tuple(self._parts)
        if self._parts:
            self._parts.pop()
        if inside and inside[0] == self._left_out:
            return
        marked = one.marked_files, one.marked_bytes
        yield Listed(
            inside, one.files, one.bytes, one.newest, one.has_directories, *marked, 0, one.newest
        )


def with_markers(page: list[Found], which_exist: WhichExist) -> list[Found]:
    """Give the objects of directories their last slash back, which obstore takes away.

    Only what has no bytes can be one; whether it is has to be asked.
    """
    doubtful = [one.key for one in page if not one.size and not one.key.endswith("/")]
    if not doubtful:
        return page
    slashed = set(doubtful) - which_exist(doubtful)
    return [one._replace(key=f"{one.key}/") if one.key in slashed else one for one in page]
