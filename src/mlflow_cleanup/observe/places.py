"""Where places really are: artifact URIs resolved against the file system as it is now.

A place in an object store is where its name says: nothing there is looked at, and nothing leads on.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import NamedTuple

from mlflow_cleanup.model.location import (
    RESERVED,
    Location,
    Misread,
    Unplaced,
    Whereabouts,
    place,
    readings,
)
from mlflow_cleanup.model.objects import (
    home_of,
    is_object,
    is_object_root,
    may_be_one,
    object_root,
)
from mlflow_cleanup.model.shape import ARTIFACTS

_LONGEST = 4096
"""Characters beyond which no system has a path (Linux's PATH_MAX; others have shorter ones)."""

_DEEP = 100
"""Components up to which a path is resolved step by step; hostile ones are left to the system."""


_PLAIN_NAMES = re.compile(
    r"(?:mlflow-artifacts:|file://|(?:s3|gs)://[a-z0-9][a-z0-9.-]+)?"
    r"(?:/[0-9A-Za-z_-][0-9A-Za-z_.-]*)+"
)
"""Text that can be read in one way only, and still can when plain names are added to it."""

Inside = tuple[str, ...]


class _Above(NamedTuple):
    """What thousands of claims share: a path above their own two names, and where it really is."""

    path: str
    real: str
    listed: Container[Inside]
    inside: Inside


class Places:
    """Resolves artifact URIs under the given roots; what it learns of links holds for one snapshot.

    `roots` are absolute paths or places in object stores as configured. Looks at the file system,
    changes nothing. `listed` are places under each real root that a listing went down to, so that
    no link leads there.
    """

    def __init__(
        self,
        roots: Sequence[str],
        where: Whereabouts,
        listed: Mapping[str, Container[Inside]] | None = None,
    ) -> None:
        self._where = where
        self._listed = listed or {}
        self._above: dict[str, tuple[_Above, ...] | None] = {}
        self._real: dict[str, str] = {}
        self._links: dict[str, bool] = {}
        self._followed: dict[str, str] = {}
        spelled = {spelled_out(root): real_root(root) for root in roots}
        spelled.update({real: real for real in list(spelled.values())})
        self._homes = tuple(dict.fromkeys(filter(None, map(home_of, spelled))))
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
        if isinstance(text, str) and (found := self._claimed_usually(text)) is not None:
            return found
        paths = self._readings(text)
        return tuple(dict.fromkeys([*paths, *(self._resolve(path) for path in paths)]))

    def links_moved(self) -> bool:
        """Tell whether a link that a claim's text led through leads elsewhere by now."""
        return any(_real(link) != target for link, target in self._followed.items())

    def bases(self, text: str) -> tuple[str, ...]:
        """Return every path that an experiment's plain location may mean, links resolved or not."""
        known = self._all_above(text) or ()
        return tuple(dict.fromkeys(path for one in known for path in (one.path, one.real)))

    def linked_runs(self, text: str) -> Iterator[str]:
        """Name what lies in an experiment's plain location by a link, or has its artifacts so.

        Looks at each entry that no listing went down to.
        """
        for one in self._all_above(text) or ():
            if is_object(one.real):
                continue  # no store has links
            try:
                with os.scandir(one.real) as entries:
                    for entry in entries:
                        if (*one.inside, entry.name, ARTIFACTS) in one.listed:
                            continue
                        if entry.is_symlink() or os.path.islink(f"{entry.path}/{ARTIFACTS}"):
                            yield entry.name
            except OSError:
                continue  # not there, or not to be seen: nothing below it is taken either

    def _claimed_usually(self, text: str) -> tuple[str, ...] | None:
        """Do the same for `…/<id>/artifacts` after plain names; None for any other text."""
        above, _, last = text.rpartition("/")
        above, _, name = above.rpartition("/")
        if last != ARTIFACTS or not name.isascii() or not name.replace("-", "").isalnum():
            return None
        if above not in self._above:
            self._above[above] = self._all_above(above)
        known = self._above[above]
        if known is None:
            return None
        inside = (name, ARTIFACTS)
        paths = [f"{one.path}/{name}/{ARTIFACTS}" for one in known]
        for one, path in zip(known, tuple(paths), strict=True):
            if one.inside + inside not in one.listed:
                real = self._resolve(path)
            elif one.real == one.path:
                continue
            else:
                real = f"{one.real}/{name}/{ARTIFACTS}"
            if real not in paths:
                paths.append(real)
        return tuple(paths)

    def _all_above(self, text: str) -> tuple[_Above, ...] | None:
        if not is_plain(text):
            return None
        return tuple(self._real_above(path) for path in self._readings(text))

    def _readings(self, text: object) -> tuple[str, ...]:
        """Return what a text may mean, in a root's bucket under each name that it is known by."""
        paths = readings(text, self._where)
        others = [
            home + path.removeprefix(own)
            for path in paths
            if (own := home_of(path))
            for home in self._homes
            if may_be_one(own, home)
        ]
        return (*dict.fromkeys((*paths, *others)),) if others else paths

    def _real_above(self, path: str) -> _Above:
        real = self._resolve(path)
        for root, listed in self._listed.items():
            if (inside := _inside(real, root)) is not None:
                return _Above(path, real, listed, inside)
        return _Above(path, real, (), ())

    def _under(self, root: str, inside: tuple[str, ...], path: str) -> Location | Unplaced:
        if len(path) > _LONGEST:
            return Unplaced(Misread.MALFORMED, f"a path of {len(path)} characters")
        if not inside:
            return Unplaced(Misread.OUTSIDE_ROOTS, f"{path} is an artifact root itself")
        if RESERVED in inside:
            return Unplaced(Misread.RESERVED, path)
        if is_object(root):
            return Location(root, inside)
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
        if len(path) > _LONGEST or is_object(path):
            return path
        if path.count("/") > _DEEP:
            if (real := _real(path)) != path:
                self._followed[path] = real
            return real
        parent, name = posixpath.split(path)
        if parent == path or not name:
            return path
        real = posixpath.join(self._resolve(parent), name)
        if os.path.islink(real):
            link, real = real, _real(real)
            self._followed[link] = real
        self._real[path] = real
        return real


def _real(path: str) -> str:
    try:
        return slashed(os.path.realpath(path))
    except ValueError:
        return path  # no file has a name that cannot be encoded


def is_plain(text: str) -> bool:
    """Tell whether a location is read in one way only, with plain names added to it too."""
    return _PLAIN_NAMES.fullmatch(text) is not None


def slashed(path: str) -> str:
    """Write an absolute path with `/` on every system."""
    return os.path.abspath(path).replace(os.sep, "/")


def absolute_root(root: str) -> str:
    """Write a root as an absolute path, or as its place in an object store; raises BadUsage."""
    return object_root(root) if is_object_root(root) else os.path.abspath(root)


def spelled_out(root: str) -> str:
    """Write a root as paths are compared, whatever links lead to it."""
    return object_root(root) if is_object_root(root) else slashed(root)


def real_root(root: str) -> str:
    """Return the one name of an artifact root: its real path, or its place in an object store."""
    return object_root(root) if is_object_root(root) else slashed(os.path.realpath(root))


def is_not_made_yet(root: str) -> bool:
    """Tell whether MLflow may yet make a root, by its first artifact; in a bucket there is none."""
    return not is_object(root) and not os.path.lexists(root)


def fold_for(system: str) -> Callable[[str], str]:
    """Return the mapping under which two spellings of one place are equal on this system.

    File systems of macOS and Windows ignore case, those of macOS Unicode normal forms too. Keys in
    an object store are what they are.
    """
    if system in ("Darwin", "Windows"):
        return lambda path: (
            path if is_object(path) else unicodedata.normalize("NFC", path).casefold()
        )
    return str


def _inside(path: str, root: str) -> tuple[str, ...] | None:
    if path == root:
        return ()
    prefix = root.rstrip("/") + "/"
    return tuple(path[len(prefix) :].split("/")) if path.startswith(prefix) else None
