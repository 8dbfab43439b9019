"""Holding what our process did in one step against the laws, file by file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from mlflow_cleanup.ledger.items import HELD
from mlflow_cleanup.model.item import Item, ItemState, Size
from mlflow_cleanup.model.location import RESERVED
from tests.kit.world import World
from tests.stories.estate_files import AT_HOME, File, Files, Whereabouts
from tests.stories.estate_laws import Act, Laws
from tests.stories.estate_rows import Standing


class Judge:
    """Knows where everything was before a step, and looks where it is after."""

    done: ClassVar[Counter[str]] = Counter()
    """What ever happened, over all stories: a test in which nothing happens shows nothing."""

    def __init__(self, world: World, laws: Laws, files: Files, time_s: Callable[[], float]) -> None:
        self._world, self._laws, self._files, self._time_s = world, laws, files, time_s
        self._gone: list[File] = []
        self._items: dict[str, Item] = {}
        self._claimed: set[str] = set()

    def begin(self) -> None:
        """Remember what is held, and what is due, before a step."""
        self._items = {item.id: item for item in self._world.items()}
        self._claimed = {id_ for id_, item in self._items.items() if self._claim_on(item)}
        for file in self._files.where:
            if file.held_since_s is not None:
                held_s = self._time_s() - file.held_since_s
                file.is_due |= held_s >= self._laws.retention_s

    def judge(self, act: Act) -> None:
        """Look where every file is now, and object to what had to stay."""
        self._laws.wall_s = self._world.clock.wall_s
        before, after = self._files.where, self._files.find(self._world.items())
        for file, was in before.items():
            self._judge(file, was, after.get(file), act)
        self._gone += before.keys() - after.keys()
        self._note(after)

    def check_brake(self, act: Act) -> None:
        """A full cycle takes no more of a root than was agreed; call it before `judge`."""
        after = self._files.find(self._world.items())
        usual = Act("cycle", takes_runs=True, begun=act.begun)
        for root in self._laws.roots:
            here = [file for file in self._files.at_home() if root in file.path.parents]
            taken = [
                file
                for file in here
                if after.get(file) != AT_HOME and self._laws.against_taking(file, usual)
            ]
            most = self._world.settings.terms.most_share * _bytes(here)
            assert _bytes(taken) <= most, f"{_bytes(taken)} bytes went at once from {root}"

    def check_books(self, *, is_exact: bool) -> None:
        """What was freed is what is gone, and what was told is the history."""
        freed, gone = self._world.ledger.items.freed(), Size(len(self._gone), _bytes(self._gone))
        assert freed.bytes <= gone.bytes
        if is_exact:
            assert freed == gone
            history = [kind for kind in self._world.history() if kind != "adopted"]
            assert self._world.told() == history

    def check_order(self) -> None:
        """After an undisturbed cycle nothing is open, and the trash holds what nobody claims."""
        items = {item.id: item for item in self._world.items()}
        held = {id_ for id_, item in items.items() if item.state in HELD}
        for state in (ItemState.QUARANTINING, ItemState.RESTORING):
            assert state not in {item.state for item in items.values()}
        trash = {
            place.name
            for root in self._laws.roots
            for place in (root / RESERVED / "trash").glob("*")
        }
        assert trash == held
        for file, where in self._files.where.items():
            if where != AT_HOME and items[where].state is not ItemState.CONFLICT:
                claim = self._claim_on(items[where])
                assert claim is None, f"{file} is kept from {claim}"

    def check_nothing_is_left(self, act: Act) -> None:
        """After an undisturbed full cycle, what has a row that says it left is in the trash."""
        for file in self._files.at_home():
            around = [one for one in self._laws.rows.things if one.path in file.path.parents]
            if any(self._laws.rows.standing(one) is Standing.LEFT for one in around):
                assert self._laws.against_taking(file, act), f"{file} was left behind"

    def _judge(self, file: File, was: str, now: str | None, act: Act) -> None:
        if now == was:
            return
        if was == AT_HOME or now not in (AT_HOME, None):
            objection = self._laws.against_taking(file, act)
            assert objection is None, f"a {act.name} took {file}: {objection}"
            self._note_taken(file, act)
        if now == AT_HOME:
            self.done["given back"] += 1
        if now is None:
            item = None if was == AT_HOME else self._items[was]
            objection = self._against_going(file, item, act)
            assert objection is None, f"a {act.name} lost {file}: {objection}"
            self.done["purged"] += 1

    def _against_going(self, file: File, item: Item | None, act: Act) -> str | None:
        if item is None:
            return "nothing could be undone" if self._laws.retention_s or not act.purges else None
        is_rest = item.state is ItemState.CONFLICT
        # What is claimed in the middle of a step may have gone right before.
        claim = self._claim_on(item) if item.id in self._claimed else None
        if claim is not None and not (is_rest and act.purged_by_hand):
            return f"it is claimed by {claim}"
        if {item.id, item.entity.id} & act.purged_by_hand:
            return None
        if is_rest or not act.purges:
            return "it was not to be purged"
        return None if file.is_due else "its retention is not over"

    def _claim_on(self, item: Item) -> str | None:
        path = Path(item.location.path)
        thing = next((one for one in self._laws.rows.things if one.path == path), None)
        claim = self._laws.keeping(path, thing)
        return claim.holder if claim else None

    def _note_taken(self, file: File, act: Act) -> None:
        around = [one for one in self._laws.rows.things if one.path in file.path.parents]
        lawful = [one for one in around if self._laws.objection(one, file, act) is None]
        for thing in lawful:
            standing = self._laws.rows.standing(thing)
            self.done[f"{thing.sort.value} taken, {standing.name}"] += 1
            if standing is Standing.SOFT:
                self._laws.cascaded.add(thing)

    def _note(self, after: Whereabouts) -> None:
        for file, where in after.items():
            if where == AT_HOME:
                file.held_since_s, file.is_due = None, False
            elif self._files.where.get(file) != where:
                file.held_since_s, file.is_due = self._time_s(), False
        self._files.where = after
        at_home = {file for file, where in after.items() if where == AT_HOME}
        self._laws.cascaded -= {
            thing
            for thing in self._laws.cascaded
            if any(thing.path in file.path.parents for file in at_home)
        }


def _bytes(files: list[File]) -> int:
    return sum(len(file.data) for file in files)
