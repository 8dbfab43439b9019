"""When something may be taken, and when it may go for good: the rules, and nothing of the program.

An objection is a sentence that says why something had to stay; None: it was lawful.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from mlflow_cleanup.model.shape import MODEL_FILE
from tests.stories.estate_files import File
from tests.stories.estate_rows import Claim, Experiment, Rows, Sort, Standing, Thing

OLD_ENOUGH_S = timedelta(days=3).total_seconds()
APART_S = timedelta(hours=4).total_seconds()
QUIET_S = timedelta(hours=1).total_seconds()


@dataclass(frozen=True)
class Look:
    """A full cycle's look at everything, by which it may take what no row claims.

    `unclaimed` are the places that nobody claimed then, and no row knew; `left` those whose rows
    said that they left.
    """

    at_s: float
    unclaimed: frozenset[Path]
    claimed: frozenset[Path]
    left: frozenset[Path]
    cascades: bool
    at_once: bool


@dataclass(frozen=True)
class Act:
    """What our process does in one step, and so what it may do."""

    name: str
    takes_runs: bool = False
    """It may take deleted runs, and known ones whose rows are gone."""
    look: Look | None = None
    """It may take whatever else a full cycle may."""
    purges: bool = False
    """It may purge what is due."""
    purged_by_hand: frozenset[str] = frozenset()
    """It may purge these, whatever their age."""
    begun: frozenset[File] = frozenset()
    """The files that were there when it began; others came in the middle."""


@dataclass
class Looks:
    """Since when each place has been seen unclaimed, without a break."""

    first_s: dict[Path, float] = field(default_factory=dict)
    _claimed_s: dict[Path, float] = field(default_factory=dict)

    def note(self, look: Look, *, is_sure: bool = True) -> None:
        """Note a look that was acted on; one that may not have counted lets nothing begin anew."""
        for path in look.unclaimed:
            if self._claimed_s.get(path, -1.0) <= look.at_s:
                self.first_s[path] = min(look.at_s, self.first_s.get(path, look.at_s))
        for path in look.claimed if is_sure else ():
            self.first_s.pop(path, None)
            self._claimed_s[path] = max(look.at_s, self._claimed_s.get(path, look.at_s))


@dataclass
class Laws:
    """What every objection is based on; all of it is the story's own and goes on changing."""

    rows: Rows
    roots: tuple[Path, ...]
    looks: Looks = field(default_factory=Looks)
    adopted: set[Path] = field(default_factory=set)
    released: set[Thing] = field(default_factory=set)
    """What an operator restored by hand."""
    known_runs: set[Thing] = field(default_factory=set)
    """The runs that some cycle may have seen."""
    cascaded: set[Thing] = field(default_factory=set)
    """Live models of deleted runs that an operator's word took."""
    retention_s: float = 7 * 86_400.0
    wall_s: float = 0.0
    files_at_home: frozenset[File] = frozenset()

    def root_of(self, path: Path) -> Path | None:
        """Return the artifact root that a path lies under."""
        return next((root for root in self.roots if root in path.parents), None)

    def keeping(self, place: Path, thing: Thing | None = None) -> Claim | None:
        """Return a claim that keeps a whole directory, or None."""
        return next(
            (
                claim
                for claim in self.rows.claims()
                if claim.covers(place)
                and (claim.only is None or claim.only is thing)
                and (claim.softly is None or claim.softly not in self.cascaded)
            ),
            None,
        )

    def against_taking(self, file: File, act: Act) -> str | None:
        """Object to a file's leaving its place: some directory around it had to be garbage."""
        around = [thing for thing in self.rows.things if thing.path in file.path.parents]
        if not around:
            return "it is foreign"
        objections = [self.objection(thing, file, act) for thing in around]
        return None if None in objections else "; ".join(filter(None, objections))

    def is_orphaned(self, thing: Thing) -> bool:
        """Tell whether no row knows a place, nor ever kept it back, and nobody claims it."""
        is_unknown = thing.sort is not Sort.COPY and self.rows.standing(thing) is Standing.NO_ROW
        return is_unknown and self.keeping(thing.path, thing) is None

    def is_where_mlflow_writes(self, thing: Thing) -> bool:
        """Tell a place below an experiment from a copy that somebody keeps elsewhere."""
        depth = 2 if thing.sort is Sort.RUN else 3
        base = thing.path.parents[depth - 1]
        is_usual = base.parent in self.roots and re.fullmatch(r"\d+", base.name) is not None
        bases = {one.base for one in self.rows.experiments if one.has_row}
        return is_usual or base in bases

    def newest_s(self, thing: Thing, files: Iterable[File]) -> float:
        """Return when a place was last written to."""
        return max((one.written_s for one in files if thing.path in one.path.parents), default=0.0)

    def objection(self, thing: Thing, file: File, act: Act) -> str | None:
        """Object to an entity's whole place being taken."""
        standing = self.rows.standing(thing)
        is_cascade = standing is Standing.SOFT and act.look is not None and act.look.cascades
        claim = self._claim_against(thing, is_cascade=is_cascade)
        if self.root_of(thing.path) is None:
            return f"{thing} lies outside the roots"
        if claim is not None:
            return f"{thing} is claimed by {claim.holder}"
        if thing in self.released:
            return f"{thing} was restored by hand"
        if thing.sort is Sort.COPY and (reason := self._against_copy(thing, file, act.begun)):
            return reason
        if (reason := self._against_hurry(thing, act)) is not None:
            return reason
        is_known = standing is Standing.LEFT or thing in self.known_runs
        if thing.sort is Sort.RUN and act.takes_runs and is_known:
            return None
        if act.look is None:
            return f"{thing} is a full cycle's business, not that of a {act.name}"
        if standing is Standing.LEFT or is_cascade or thing.path in act.look.left:
            return None
        return self._against_orphan(thing, act, act.look)

    def _claim_against(self, thing: Thing, *, is_cascade: bool) -> Claim | None:
        if not is_cascade or thing in self.cascaded:
            return self.keeping(thing.path, thing)
        self.cascaded.add(thing)
        try:
            return self.keeping(thing.path, thing)
        finally:
            self.cascaded.discard(thing)

    def _against_copy(self, copy: Thing, file: File, begun: Iterable[File]) -> str | None:
        """What has a shape of its own stays whose it is, also below or around a copy."""
        for thing in self.rows.things:
            if thing.sort is Sort.COPY or thing.path not in file.path.parents:
                continue
            return f"{file.path.name} is {thing}'s, not {copy}'s"
        if not any(one.path == copy.path / MODEL_FILE for one in (*begun, file)):
            return f"no model lies in {copy} by itself"
        holder = next((one for one in self.rows.experiments if _holds(copy.path, one)), None)
        return f"{copy} is where experiment {holder.id} lies" if holder else None

    def _against_hurry(self, thing: Thing, act: Act) -> str | None:
        """Where nothing can be undone, a run that may be writing still is waited for."""
        is_over = thing.has_row and thing.has_ended
        if self.retention_s or thing.sort is not Sort.RUN or is_over:
            return None
        if act.look is not None and act.look.at_once and not thing.has_row:
            return None
        quiet_s = self.wall_s - self.newest_s(thing, act.begun)
        return f"{thing} may be writing still" if quiet_s < QUIET_S else None

    def _against_orphan(self, thing: Thing, act: Act, look: Look) -> str | None:
        root = self.root_of(thing.path)
        if thing.sort is Sort.COPY:
            return f"{thing} is nobody's, and has no shape"
        if not self.is_where_mlflow_writes(thing):
            return f"{thing} lies where no experiment does"
        if root not in self.adopted:
            return f"{thing} lies under a root that was not adopted"
        if look.at_once:
            return None
        if self.wall_s - self.newest_s(thing, act.begun) < OLD_ENOUGH_S:
            return f"{thing} was written to lately"
        first_s = self.looks.first_s.get(thing.path)
        if first_s is None or look.at_s - first_s < APART_S:
            return f"{thing} was not seen unclaimed twice, far enough apart"
        return None


def _holds(place: Path, one: Experiment) -> bool:
    return one.has_row and place in (one.base, *one.base.parents)
