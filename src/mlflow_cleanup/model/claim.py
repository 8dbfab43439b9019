"""Who says "these bytes are mine", and the index that answers it for one place.

Claims are compared as paths of normalised locations. The index errs on the side of more claims: a
claim is entered under every spelling known for it, and under every id its text mentions.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from mlflow_cleanup.model.entity import Entity, run
from mlflow_cleanup.model.location import Location

# The id of a run, model or trace as one word of a path or URI.
_ID = re.compile(r"(?<![0-9A-Za-z-])(?:m-|tr-)?[0-9a-f]{32}(?![0-9A-Za-z])")


@dataclass(frozen=True, slots=True)
class Claim:
    """One live entity's hold on a place: `text` as stored, `paths` as resolved (may be none)."""

    holder: Entity
    text: str
    paths: tuple[str, ...] = ()

    def mentioned_ids(self) -> list[str]:
        """List the ids that stand in the text, whatever the scheme or host around them."""
        own = self.holder.ids()  # the same text, so that it is kept once
        return [*own, *(id_ for id_ in _ID.findall(self.text) if id_ not in own)]


@dataclass(frozen=True, slots=True)
class Crowd:
    """Live runs, each at `<base>/<id>/artifacts`: nearly all there are, told by their ids alone.

    `bases` are the paths of their experiments, under every spelling, each with one of its runs;
    `ids` may have more than those runs, as every live run is claimed by its id.
    """

    bases: Mapping[str, str]
    ids: AbstractSet[str]


@dataclass(slots=True)
class ClaimIndex:
    """Every live claim at one moment, asked in O(depth + log n).

    `containers` are live entities that hold others (experiments) or may be as large as a disk
    (datasets that live runs used): they protect what they equal or lie inside of, but not what they
    contain, as everything lies in some experiment's directory. `crowd` are live runs whose places
    are where MLflow puts them, which makes them claims without being listed.
    `fold` maps a path to the form under which two spellings of one place are equal: identity on
    case-sensitive file systems, case and Unicode folding elsewhere.
    """

    claims: Iterable[Claim]
    containers: Iterable[Claim] = ()
    pinned: frozenset[Entity] = frozenset()
    fold: Callable[[str], str] = str
    crowd: Crowd | None = None
    _by_path: dict[str, Claim] = field(init=False)
    _by_id: dict[str, Claim] = field(init=False)
    _outer: dict[str, Claim] = field(init=False)
    _sorted: list[str] = field(init=False)
    _bases: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self._by_path, self._by_id, self._outer = {}, {}, {}
        for claim in self.claims:
            for path in claim.paths:
                self._by_path.setdefault(self.fold(path), claim)
            for id_ in claim.mentioned_ids():
                self._by_id.setdefault(id_, claim)
        for claim in self.containers:
            for path in claim.paths:
                self._outer.setdefault(self.fold(path), claim)
            for id_ in claim.mentioned_ids():
                self._by_id.setdefault(id_, claim)
        bases = self.crowd.bases if self.crowd else {}
        for base, id_ in bases.items():
            self._outer.setdefault(self.fold(base), Claim(run(id_), base, (base,)))
        self._bases = frozenset(map(self.fold, bases))
        self._sorted = sorted([*self._by_path, *(self._outer.keys() - self._by_path.keys())])
        self.claims = self.containers = ()

    def on_place(self, path: str) -> Claim | None:
        """Return a live claim that equals, contains or lies inside `path`, or None."""
        path = self.fold(path)
        return self._at_or_above(path) or self._below(path)

    def on_id(self, id_: str) -> Claim | None:
        """Return a live claim whose text or holder is named by this id, or None."""
        return self._by_id.get(id_) or self._of_crowd(id_)

    def on(self, place: Location, entity: Entity) -> Claim | None:
        """Return a live claim on an entity's place, or on the entity by name, or None."""
        return self.on_place(place.path) or self.on_id(entity.id)

    def _at_or_above(self, path: str) -> Claim | None:
        while path:
            if (claim := self._by_path.get(path)) is not None:
                return claim
            above, _, name = path.rpartition("/")
            if above in self._bases and (claim := self._of_crowd(name)) is not None:
                return claim
            path = above
        return self._by_path.get("/")

    def _of_crowd(self, id_: str) -> Claim | None:
        if self.crowd is None or id_ not in self.crowd.ids:
            return None
        return Claim(run(id_), id_)

    def _below(self, path: str) -> Claim | None:
        if (claim := self._by_path.get(path) or self._outer.get(path)) is not None:
            return claim
        inside = path.rstrip("/") + "/"
        position = bisect_left(self._sorted, inside)
        if position < len(self._sorted) and self._sorted[position].startswith(inside):
            found = self._sorted[position]
            return self._by_path.get(found) or self._outer[found]
        return None
