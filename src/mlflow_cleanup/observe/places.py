"""Where places really are: artifact URIs resolved against the file system as it is now."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Callable, Sequence

from mlflow_cleanup.model.location import (
    RESERVED,
    Location,
    Misread,
    Unplaced,
    Whereabouts,
    place,
    readings,
)

_LONGEST = 4096
"""Characters beyond which no system has a path (Linux's PATH_MAX; others have shorter ones)."""

_DEEP = 100
"""Components up to which a path is resolved step by step; hostile ones are left to the system."""


class Places:
    """Resolves artifact URIs under the given roots; what it learns of links holds for one snapshot.

    `roots` are absolute paths as configured. Looks at the file system, changes nothing.
    """

    def __init__(self, roots: Sequence[str], where: Whereabouts) -> None:
        self._where = where
        self._real: dict[str, str] = {}
        self._links: dict[str, bool] = {}
        spelled = {slashed(root): slashed(os.path.realpath(root)) for root in roots}
        spelled.update({real: real for real in list(spelled.values())})
        # The innermost root first, under each of its two spellings.
        self._roots = sorted(spelled.items(), key=lambda pair: len(pair[0]), reverse=True)

    def locate(self, uri: object) -> Location | Unplaced:
        """Return the one place that `uri` means, or why nothing may be done there."""
        path = place(uri, self._where)
        if isinstance(path, Unplaced):
            return path
        for spelling, real in self._roots:
            inside = _inside(path, spelling)
            if inside is not None:
                return self._under(real, inside, path)
        return Unplaced(Misread.OUTSIDE_ROOTS, path)

    def holder(self, uri: object) -> tuple[str, tuple[str, ...]] | None:
        """Return the root and the names that lead to an experiment, which may be a root itself."""
        found = self.locate(uri)
        if isinstance(found, Location):
            return found.root, found.inside
        path = place(uri, self._where)
        root = None if isinstance(path, Unplaced) else dict(self._roots).get(path)
        return None if root is None else (root, ())

    def claimed(self, text: object) -> tuple[str, ...]:
        """Return every path that a live claim's text may mean, with and without links resolved."""
        paths = readings(text, self._where)
        return tuple(dict.fromkeys([*paths, *(self._resolve(path) for path in paths)]))

    def _under(self, root: str, inside: tuple[str, ...], path: str) -> Location | Unplaced:
        if len(path) > _LONGEST:
            return Unplaced(Misread.MALFORMED, f"a path of {len(path)} characters")
        if not inside:
            return Unplaced(Misread.OUTSIDE_ROOTS, f"{path} is an artifact root itself")
        if RESERVED in inside:
            return Unplaced(Misread.RESERVED, path)
        for depth in range(1, len(inside) + 1):
            if self._is_link(Location(root, inside[:depth]).path):
                return Unplaced(Misread.SYMLINK, path)
        return Location(root, inside)

    def _is_link(self, path: str) -> bool:
        """Tell whether a path is a link; experiments' directories are asked for many times."""
        if path not in self._links:
            self._links[path] = os.path.islink(path)
        return self._links[path]

    def _resolve(self, path: str) -> str:
        """Resolve links; parents are remembered, as thousands of places share them."""
        known = self._real.get(path)
        if known is not None:
            return known
        if len(path) > _LONGEST:
            return path
        if path.count("/") > _DEEP:
            try:
                return slashed(os.path.realpath(path))
            except ValueError:
                return path  # no file has a name that cannot be encoded
        parent, name = posixpath.split(path)
        if parent == path or not name:
            return path
        real = posixpath.join(self._resolve(parent), name)
        if os.path.islink(real):
            real = slashed(os.path.realpath(real))
        self._real[path] = real
        return real


def slashed(path: str) -> str:
    """Write an absolute path with `/` on every system."""
    return os.path.abspath(path).replace(os.sep, "/")


def fold_for(system: str) -> Callable[[str], str]:
    """Return the mapping under which two spellings of one place are equal on this system.

    File systems of macOS and Windows ignore case, those of macOS Unicode normal forms too.
    """
    if system in ("Darwin", "Windows"):
        return lambda path: unicodedata.normalize("NFC", path).casefold()
    return str


def _inside(path: str, root: str) -> tuple[str, ...] | None:
    if path == root:
        return ()
    prefix = root.rstrip("/") + "/"
    return tuple(path[len(prefix) :].split("/")) if path.startswith(prefix) else None
