from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from mlflow_cleanup.model.item import Item
from mlflow_cleanup.stores.base import Presence, Restored
from tests.kit.children import as_nobody
from tests.kit.faults import Fate, killed_at
from tests.kit.grounds import (
    INSIDE,
    LOCAL_BUILDERS,
    NOTE,
    LocalGround,
    always,
    item_at,
    place,
)
from tests.kit.trees import File, Link, Seen, Tree, files_of, look, plant

AFTER = pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])

TREE: Tree = {
    "a": File(b"1"),
    "d": {"b": File(b"22", 0o600), "e": {"c": File(b"333")}},
    "link": Link("d"),
}
TREE_BYTES = 1 + 2 + 3 + len("d")


@dataclass
class Series:
    """A fresh root for each step at which a process may end."""

    build: Callable[[], LocalGround]
    after: bool

    def each(
        self, prepare: Callable[[LocalGround], None], act: Callable[[LocalGround], object]
    ) -> Iterator[tuple[LocalGround, Fate]]:
        """Prepare a root, act and be killed at one step after the other, and give it over.

        The last one given is that of an act that was not killed any more.
        """
        for step in count(1):
            ground = self.build()
            prepare(ground)
            with killed_at(step, after=self.after) as fate:
                act(ground)
            yield ground, fate
            if not fate.is_dead:
                assert fate.steps == step - 1
                assert step > 2, "nothing was changed at all"
                return


@pytest.fixture(params=LOCAL_BUILDERS.values(), ids=list(LOCAL_BUILDERS))
def build(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], LocalGround]:
    """Give a maker of fresh roots."""
    number = count()
    return lambda: request.param(tmp_path / f"root{next(number)}", monkeypatch)


def fill(ground: LocalGround) -> None:
    """Write the run's artifacts, and those of a neighbour."""
    plant(ground.at(*INSIDE), TREE)
    plant(ground.at("7", "neighbour", "artifacts"), {"kept": File(b"kept")})


def quarantine(ground: LocalGround, item_id: str = "item1") -> object:
    """Quarantine the run's artifacts."""
    return ground.store().quarantine(place(ground), item_id, NOTE)


def item_of(ground: LocalGround, item_id: str = "item1") -> Item:
    """Give the usual item."""
    return item_at(place(ground), item_id)


@AFTER
def test_quarantine_killed_anywhere_loses_nothing(
    build: Callable[[], LocalGround], *, after: bool
) -> None:
    """The bytes are whole at one of two places, `find` knows which, and another try ends well."""
    original: list[Seen] = []

    def prepare(ground: LocalGround) -> None:
        fill(ground)
        original.append(ground.look())

    for ground, _ in Series(build, after).each(prepare, quarantine):
        there = ground.store().find(item_of(ground))
        assert there in (Presence(True, False), Presence(False, True))

        again = quarantine(ground)
        assert (again is None) == there.in_trash
        assert ground.store().find(item_of(ground)) == Presence(False, True)
        assert ground.store().restore(item_of(ground)) == Restored()

        assert ground.look() == original.pop()
        assert look(ground.trash()) == {}


@AFTER
def test_killed_quarantine_that_moved_nothing_is_tidied_away(
    build: Callable[[], LocalGround], *, after: bool
) -> None:
    """Of a quarantine given up before its move nothing stays in the trash; a held item does."""
    for ground, _ in Series(build, after).each(fill, quarantine):
        held = look(ground.held(item_of(ground)))

        ground.store().tidy(item_of(ground))
        ground.store().tidy(item_of(ground))

        assert look(ground.held(item_of(ground))) == held
        if held:
            assert not ground.at(*INSIDE).parent.exists()
        else:
            assert look(ground.trash()) == {}
            assert len(files_of(look(ground.at(*INSIDE)))) == 3


@AFTER
def test_restore_killed_anywhere_is_completed_by_the_next(
    build: Callable[[], LocalGround], *, after: bool
) -> None:
    """Wherever a restore ended, the next one has everything back, once, with its modes."""
    original: list[Seen] = []

    def prepare(ground: LocalGround) -> None:
        fill(ground)
        ground.at(*INSIDE).parent.chmod(0o750)
        original.append(ground.look())
        quarantine(ground)

    def restore(ground: LocalGround) -> object:
        return ground.store().restore(item_of(ground))

    for ground, _ in Series(build, after).each(prepare, restore):
        assert restore(ground) == Restored()
        assert restore(ground) == Restored()

        assert ground.look() == original.pop()
        assert look(ground.trash()) == {}


@AFTER
def test_merging_restore_killed_anywhere_is_completed_by_the_next(
    build: Callable[[], LocalGround], *, after: bool
) -> None:
    """Where something came to lie at the origin, a killed restore still ends as one in one go."""
    newcomers: Tree = {"a": File(b"new"), "d": {"e": {"new": File(b"new")}, "more": File(b"more")}}

    def prepare(ground: LocalGround) -> None:
        fill(ground)
        quarantine(ground)
        plant(ground.at(*INSIDE), newcomers)

    def restore(ground: LocalGround) -> Restored:
        return ground.store().restore(item_of(ground))

    for ground, _ in Series(build, after).each(prepare, restore):
        assert restore(ground) == Restored(("a",))

        assert files_of(look(ground.at(*INSIDE))) == {
            "a": b"new",
            "d/b": b"22",
            "d/e/c": b"333",
            "d/e/new": b"new",
            "d/more": b"more",
        }
        assert files_of(look(ground.held(item_of(ground)))) == {"a": b"1"}


@AFTER
def test_merging_restore_without_collisions_killed_anywhere(
    build: Callable[[], LocalGround], *, after: bool
) -> None:
    """A move that was interrupted half-way is no collision for the next restore."""

    def prepare(ground: LocalGround) -> None:
        fill(ground)
        quarantine(ground)
        plant(ground.at(*INSIDE), {"d": {"e": {"new": File(b"new")}}})

    def restore(ground: LocalGround) -> Restored:
        return ground.store().restore(item_of(ground))

    for ground, _ in Series(build, after).each(prepare, restore):
        assert restore(ground) == Restored()

        assert files_of(look(ground.at(*INSIDE))) == {
            "a": b"1",
            "d/b": b"22",
            "d/e/c": b"333",
            "d/e/new": b"new",
        }
        assert all(path.stat().st_nlink == 1 for path in ground.at(*INSIDE).rglob("[abc]"))
        assert look(ground.trash()) == {}


@AFTER
def test_purge_killed_anywhere_is_completed_by_the_next(
    build: Callable[[], LocalGround], *, after: bool
) -> None:
    """A killed purge is finished by the next one, which counts only what it removed itself."""

    def prepare(ground: LocalGround) -> None:
        fill(ground)
        quarantine(ground)

    def purge(ground: LocalGround) -> object:
        return ground.store().purge(item_of(ground), always)

    for ground, _ in Series(build, after).each(prepare, purge):
        left = files_of(look(ground.held(item_of(ground))))

        purged = ground.store().purge(item_of(ground), always)

        assert (purged.complete, purged.failures) == (True, ())
        assert sum(map(len, left.values())) <= purged.freed.bytes <= TREE_BYTES
        assert look(ground.trash()) == {}
        assert files_of(ground.look()) == {"7/neighbour/artifacts/kept": b"kept"}


@AFTER
def test_purge_killed_anywhere_can_still_be_restored_in_part(
    build: Callable[[], LocalGround], *, after: bool
) -> None:
    """When its entity comes back in the middle of a purge, what is left goes home."""

    def prepare(ground: LocalGround) -> None:
        fill(ground)
        quarantine(ground)

    def purge(ground: LocalGround) -> object:
        return ground.store().purge(item_of(ground), always)

    for ground, _ in Series(build, after).each(prepare, purge):
        left = files_of(look(ground.held(item_of(ground))))

        assert ground.store().restore(item_of(ground)) == Restored()

        assert files_of(look(ground.at(*INSIDE))) == left
        assert look(ground.trash()) == {}


@AFTER
def test_quarantine_of_read_only_artifacts_killed_anywhere(
    *, after: bool, is_by_descriptor: bool
) -> None:
    """Where permissions must be lifted for the move, a kill in between costs no byte either."""

    def body(top: Path) -> None:
        number = count()

        def fresh() -> LocalGround:
            return LocalGround(top / f"root{next(number)}", is_by_descriptor)

        def prepare(ground: LocalGround) -> None:
            fill(ground)
            ground.at(*INSIDE).chmod(0o555)
            ground.at(*INSIDE).parent.chmod(0o555)

        for ground, _ in Series(fresh, after).each(prepare, quarantine):
            there = ground.store().find(item_of(ground))
            assert there in (Presence(True, False), Presence(False, True))
            quarantine(ground)
            assert ground.store().restore(item_of(ground)) == Restored()
            assert files_of(look(ground.at(*INSIDE))) == {"a": b"1", "d/b": b"22", "d/e/c": b"333"}

    as_nobody(body)
