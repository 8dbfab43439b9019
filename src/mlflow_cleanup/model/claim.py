"""Who says "these bytes are mine", and the index that answers it for one place.

Claims are compared as paths of normalised locations. The index errs on the side of more claims: a
claim is entered under every spelling known for it, and under every run id its text mentions.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mlflow_cleanup.model.entity import Entity

# A run id as one word of a path or URI; `m-<hex>` and `tr-<hex>` are other entities' ids.
_RUN_ID = re.compile(r"(?<![0-9A-Za-z-])[0-9a-f]{32}(?![0-9A-Za-z])")


@dataclass(frozen=True, slots=True)
class Claim:
    """One live entity's hold on a place: `text` as stored, `paths` as resolved (may be none)."""

    holder: Entity
    text: str
    paths: tuple[str, ...] = ()

    def mentioned_runs(self) -> list[str]:
        """List the run ids that stand in the text, whatever the scheme or host around them."""
        return _RUN_ID.findall(self.text)


@dataclass(slots=True)
class ClaimIndex:
    """Every live claim at one moment, asked in O(depth + log n).

    `containers` are live entities that hold others (experiments) or may be as large as a disk
    (datasets that live runs used): they protect what they equal or lie inside of, but not what they
    contain, as everything lies in some experiment's directory.
    `fold` maps a path to the form under which two spellings of one place are equal: identity on
    case-sensitive file systems, case and Unicode folding elsewhere.
    """

    claims: Iterable[Claim]
    containers: Iterable[Claim] = ()
    pinned: frozenset[Entity] = frozenset()
    fold: Callable[[str], str] = str
    _by_path: dict[str, Claim] = field(init=False)
    _by_run: dict[str, Claim] = field(init=False)
    _inner: dict[str, Claim] = field(init=False)
    _sorted: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._by_path, self._by_run = {}, {}
        for claim in self.claims:
            for path in claim.paths:
                self._by_path.setdefault(self.fold(path), claim)
            for run_id in claim.mentioned_runs():
                self._by_run.setdefault(run_id, claim)
        inner = dict(self._by_path)
        for claim in self.containers:
            for path in claim.paths:
                inner.setdefault(self.fold(path), claim)
            for run_id in claim.mentioned_runs():
                self._by_run.setdefault(run_id, claim)
        self._inner, self._sorted = inner, sorted(inner)
        self.claims = self.containers = ()

    def on_place(self, path: str) -> Claim | None:
        """Return a live claim that equals, contains or lies inside `path`, or None."""
        path = self.fold(path)
        return self._at_or_above(path) or self._below(path)

    def on_run(self, run_id: str) -> Claim | None:
        """Return a live claim whose text names this run, or None."""
        return self._by_run.get(run_id)

    def _at_or_above(self, path: str) -> Claim | None:
        while path:
            if (claim := self._by_path.get(path)) is not None:
                return claim
            path = path.rpartition("/")[0]
        return self._by_path.get("/")

    def _below(self, path: str) -> Claim | None:
        if (claim := self._inner.get(path)) is not None:
            return claim
        inside = path.rstrip("/") + "/"
        position = bisect_left(self._sorted, inside)
        if position < len(self._sorted) and self._sorted[position].startswith(inside):
            return self._inner[self._sorted[position]]
        return None
