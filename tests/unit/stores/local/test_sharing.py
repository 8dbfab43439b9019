"""Two walkers in one tree, from its first directories on, whatever it costs."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings

from mlflow_cleanup.model.item import Size
from mlflow_cleanup.stores.local import emptying
from mlflow_cleanup.stores.local.account import Removal
from mlflow_cleanup.stores.local.directory import HAS_DIR_FD
from mlflow_cleanup.stores.local.emptying import Emptying
from mlflow_cleanup.stores.local.removal import PAUSE_S
from mlflow_cleanup.stores.local.sharing import Pair
from tests.kit.faults import before, fail, killed_at, once
from tests.kit.trees import (
    File,
    Tree,
    files_of,
    look,
    open_descriptors,
    plant,
    plant_deep,
    swept,
    trees,
)
from tests.unit.stores.local.conftest import Site

pytestmark = pytest.mark.skipif(not HAS_DIR_FD, reason="the way of systems with descriptors")

PATIENCE_S = 20.0
SECOND = "second walker"
REFUSED = OSError(errno.EPERM, "Operation not permitted")


class Together:
    """The pace of two walkers; whether they are faster is not asked."""

    together = True

    def count(self, entries: int) -> None:
        """Measure nothing."""


@pytest.fixture(autouse=True)
def pace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Together]:
    """Have two walkers from the beginning, and look that neither thread nor descriptor is left."""
    pace = Together()
    monkeypatch.setattr(emptying, "Pace", lambda: pace)
    few = open_descriptors()
    yield pace
    assert open_descriptors() == few
    assert SECOND not in {thread.name for thread in threading.enumerate()}


class Meeting:
    """Holds each walker at its first call until the other comes; a hook for `before`.

    `meant` says for which names they meet, `happened` whether they did.
    """

    def __init__(self, meant: Callable[[str], bool] = lambda _: True) -> None:
        self.happened = False
        self._meant, self._barrier = meant, threading.Barrier(2)

    def __call__(self, name: str, *_: object, **__: object) -> None:
        """Wait for the other walker unless both have met."""
        if self._meant(name) and not self.happened:
            self._barrier.wait(PATIENCE_S)
            self.happened = True


def is_second() -> bool:
    """Tell whether this is the second walker's thread."""
    return threading.current_thread().name == SECOND


def flat(directories: int) -> dict[str, Tree]:
    """Describe directories of one file of one byte each, with the directory's name."""
    return {str(number): {str(number): File(b"1")} for number in range(directories)}


# ── What two do ──────────────────────────────────────────────────────────────────────────────────


def test_two_walkers_remove_everything_and_count_exactly(site: Site) -> None:
    """Each file goes once and is counted once, whoever removes it."""
    inside: Tree = {
        str(number): {"d": {"x": File(b"333")}, "y": File(b"22")} for number in range(100)
    }
    plant(site.tree, {"a": inside, "b": flat(100), "c": File(b"1")})
    meeting = Meeting(lambda name: name != "c")

    with before("unlink", meeting):
        removal = site.remove()

    assert removal.freed == Size(301, 601)
    assert (removal.failures, removal.stopped, site.waits) == ([], False, [])
    assert meeting.happened
    assert look(site.path) == {}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=trees())
def test_whatever_the_tree_nothing_is_left(site: Site, tree: Tree) -> None:
    """A tree of any shape is removed by two walkers, and each of its files counted."""
    plant(site.tree, {"a": tree, "b": tree, "c": {"d": tree, "e": tree}})
    seen = look(site.tree)
    contents = [content for kind, _, content in seen.values() if kind in ("file", "link")]

    removal = site.remove()

    assert removal.freed == Size(len(contents), sum(map(len, contents)))
    assert (removal.failures, look(site.path)) == ([], {})


def test_one_who_is_done_comes_to_the_other(site: Site) -> None:
    """Where one part is small, its walker goes on in the larger part, however deep that lies."""
    plant(site.tree, {"small": {"s": File(b"s")}, "large": {"below": flat(40)}})
    seen: set[threading.Thread] = set()
    both = threading.Event()

    def wait_for_the_other(name: str, **_: object) -> None:
        if name != "s":
            seen.add(threading.current_thread())
            if len(seen) == 2:
                both.set()
            both.wait(PATIENCE_S / 100)

    with before("unlink", wait_for_the_other):
        removal = site.remove()

    assert both.is_set()
    assert removal.freed == Size(41, 41)
    assert look(site.path) == {}


def test_two_deep_trees_are_removed_with_few_directories_open(site: Site) -> None:
    """Each walker has one directory open, whose listing is another, however deep it is."""
    few, most = open_descriptors(), 0
    with swept(site.tree):
        for name in ("a", "b"):
            plant_deep(site.tree / name, 300)

        def look_at_descriptors(*_: object, **__: object) -> None:
            nonlocal most
            most = max(most, open_descriptors() - few)

        meeting = Meeting()
        with before("unlink", meeting), before("rmdir", look_at_descriptors):
            removal = site.remove()

        assert meeting.happened
        assert removal.freed == Size(600, 600 * len(b"leaf"))
        assert look(site.path) == {}
    # Beside the parent of the tree, for each: the directory, the one entered or left, its listing.
    assert most <= 1 + 2 * 3


def test_bytes_of_a_file_count_when_both_walkers_remove_a_name_of_it(site: Site) -> None:
    """Of two names removed at one moment one is the last: it frees the bytes, the other nothing."""
    plant(site.tree, {"a": {"x": File(b"12345")}, "b": {}})
    (site.tree / "b" / "x").hardlink_to(site.tree / "a" / "x")
    barrier = threading.Barrier(2)

    def meet_if_possible(*_: object, **__: object) -> None:
        with suppress(threading.BrokenBarrierError):
            barrier.wait(0.5)

    with before("unlink", meet_if_possible):
        removal = site.remove()

    assert removal.freed == Size(2, 5)


def test_where_one_is_faster_the_other_steps_aside(site: Site, pace: Together) -> None:
    """Once two are slower than one, one leaves the rest to the other, and comes again if asked."""
    plant(site.tree, flat(60))
    meeting = Meeting()
    order: list[threading.Thread] = []

    def change_pace(name: str, **_: object) -> None:
        meeting(name)
        order.append(threading.current_thread())
        pace.together = False

    with before("rmdir", change_pace):
        removal = site.remove()

    assert removal.freed == Size(60, 60)
    assert len(set(order)) == 2
    assert len(set(order[2:])) == 1


def test_second_walker_is_asked_again(site: Site, pace: Together) -> None:
    """One who stepped aside is there when two are faster again."""
    plant(site.tree, flat(300))
    meeting, back = Meeting(), threading.Event()
    order: list[threading.Thread] = []

    def change_pace(name: str, **_: object) -> None:
        meeting(name)
        order.append(threading.current_thread())
        pace.together = len(order) > 20
        if len(set(order[20:])) == 2:
            back.set()
        elif pace.together:
            back.wait(PATIENCE_S / 1_000)

    with before("rmdir", change_pace):
        removal = site.remove()

    assert removal.freed == Size(300, 300)
    assert back.is_set()


def test_other_may_be_quicker_to_take_the_last_names(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where names are gone between a look and a grasp, the walker goes on with what there is."""
    plant(site.tree, {"a": flat(3)})
    taken: list[str] = []

    def take_all(_: Emptying, todo: list[str]) -> None:
        taken.extend(todo)
        todo.clear()
        for name in taken:
            shutil.rmtree(site.tree / "a" / name)

    monkeypatch.setattr(Emptying, "_share", take_all)

    removal = site.remove()

    assert sorted(taken) == ["0", "1", "2"]
    assert (removal.failures, site.waits, look(site.path)) == ([], [], {})


# ── What goes wrong ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("moved", ["tree", "tree/shared", "tree/shared/mine"])
def test_tree_moved_while_two_walk_takes_nothing_with_it(site: Site, moved: str) -> None:
    """Where the place of either walker, or of both, is moved, nothing of its new home goes."""
    below = {str(number): {"e": {str(number): File(b"1")}} for number in range(5)}
    plant(site.tree, {"shared": {"mine": below, "yours": below}})
    theirs: Tree = {"e": {"z": File(b"z")}, "0": {}, "1": {}, "mine": {}, "yours": {}, "shared": {}}
    new_home = plant(site.path / "new home", theirs)
    intact = look(new_home)
    left: list[set[str]] = []
    meeting = Meeting()

    def move() -> None:
        (site.path / moved).rename(new_home / "moved")

    with before("rmdir", once(move, when="e")), before("unlink", meeting):
        removal = site.remove(wait=lambda _: left.append(set(look(site.path))))

    after = look(new_home)
    assert meeting.happened
    assert {path: what for path, what in after.items() if not path.startswith("moved")} == intact
    assert left  # a second attempt was needed: the first told that something was moved
    assert removal.freed.files + len(files_of(after)) - 1 == 10
    assert not site.tree.exists()


def test_moved_tree_ends_the_attempt_of_both(site: Site) -> None:
    """When one walker finds that it was moved, the other goes no further either."""
    plant(site.tree, {"a": {"victim": {"v": File(b"1")}}, "b": flat(50)})
    inside, ended = threading.Event(), threading.Event()
    left: list[int] = []

    def hold(name: str, **_: object) -> None:
        if name == "v":
            inside.wait(PATIENCE_S)
            (site.tree / "a" / "victim").rename(site.path / "victim")
        else:
            inside.set()
            ended.wait(PATIENCE_S)

    real = Pair.end

    def end(pair: Pair) -> None:
        real(pair)
        ended.set()

    with pytest.MonkeyPatch.context() as patch, before("unlink", hold):
        patch.setattr(Pair, "end", end)
        removal = site.remove(wait=lambda _: left.append(len(files_of(look(site.tree)))))

    assert left == [49]  # the second attempt had the rest
    assert (removal.freed, removal.failures) == (Size(51, 51), [])


@pytest.mark.parametrize("which", ["first", "second"])
def test_failure_of_either_walker_is_told(site: Site, which: str) -> None:
    """What will not go for one of the walkers stays, with its reason, and is no less to blame."""
    plant(site.tree, flat(40))
    meeting = Meeting()
    stuck: list[str] = []

    def refuse(name: str, **_: object) -> None:
        if name in stuck or (not stuck and is_second() == (which == "second")):
            stuck.append(name)
            raise REFUSED

    with before("unlink", refuse), before("unlink", meeting):
        removal = site.remove()

    (name,) = set(stuck)
    assert f"{site.tree}/{name}/{name}: Operation not permitted" in removal.failures
    assert removal.freed == Size(39, 39)
    assert files_of(look(site.tree)) == {f"{name}/{name}": b"1"}
    assert site.waits == [PAUSE_S] * 2


@pytest.mark.parametrize("which", ["first", "second"])
def test_walker_that_cannot_go_back_ends_the_attempt(site: Site, which: str) -> None:
    """An error on the way up is told; what both left is removed by the next attempt."""
    plant(site.tree, flat(40))
    meeting = Meeting()
    failed: list[str] = []

    def cannot_go_up(name: str, *_: object, **__: object) -> None:
        if name == ".." and not failed and is_second() == (which == "second"):
            failed.append(name)
            raise OSError(errno.EIO, "Input/output error")

    told: list[list[str]] = []
    real = Removal.failed

    def tell(removal: Removal, path: str, error: Exception | str) -> None:
        real(removal, path, error)
        told.append(list(removal.failures))

    with (
        pytest.MonkeyPatch.context() as patch,
        before("unlink", meeting),
        before("open", cannot_go_up),
    ):
        patch.setattr(Removal, "failed", tell)
        removal = site.remove()

    assert len(failed) == 1
    assert any("Input/output error" in line for line in told[0])
    assert (removal.freed, removal.failures, site.waits) == (Size(40, 40), [], [PAUSE_S])
    assert look(site.path) == {}


class Broken(Exception):
    """Something that nobody foresaw."""


@pytest.mark.parametrize("which", ["first", "second"])
def test_unforeseen_error_of_either_walker_is_raised(site: Site, which: str) -> None:
    """An error of either ends both, and is raised to whoever wanted the tree removed."""
    plant(site.tree, flat(400))
    meeting = Meeting()

    def break_(*_: object, **__: object) -> None:
        if is_second() == (which == "second"):
            raise Broken

    with before("rmdir", break_), before("unlink", meeting), pytest.raises(Broken):
        site.remove()

    assert meeting.happened
    assert site.tree.exists()
    assert site.remove().failures == []
    assert look(site.path) == {}


def test_told_to_stop_both_stop_and_a_later_removal_finishes(site: Site) -> None:
    """Whichever walker hears that it is to stop, both do; the two parts are the whole."""
    plant(site.tree, {"a": flat(50), "b": flat(50)})
    meeting = Meeting()
    asked: list[bool] = []

    def is_to_go_on() -> bool:
        asked.append(len(asked) != 30)
        return asked[-1]

    with before("unlink", meeting):
        first = site.remove(keep_going=is_to_go_on)
    left = len(files_of(look(site.tree)))
    second = site.remove()

    assert first.stopped
    assert len(asked) <= 30 + 2  # who was told, and what the other had begun
    assert meeting.happened
    assert 0 < left < 100
    assert (first.freed, second.freed) == (Size(100 - left, 100 - left), Size(left, left))
    assert (second.failures, site.waits, look(site.path)) == ([], [], {})


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
def test_killed_anywhere_a_later_removal_finishes(site: Site, *, after: bool) -> None:
    """Wherever the process ends while two walk, what is left is removed later."""
    tree: Tree = {"a": flat(2), "b": {"c": flat(2), "d": File(b"1")}}
    for step in count(1):
        plant(site.tree, tree)
        with killed_at(step, after=after) as fate:
            site.remove()
        left = len(files_of(look(site.tree)))

        if fate.is_dead:
            assert site.remove().freed == Size(left, left)
        assert look(site.path) == {}
        if not fate.is_dead:
            assert step > 12
            return


# ── What is not to be had ────────────────────────────────────────────────────────────────────────


def test_without_threads_one_walker_does_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no thread, the tree goes all the same."""
    plant(site.tree, {"a": flat(10), "b": flat(10)})
    refused: list[bool] = []

    def refuse(_: threading.Thread) -> None:
        refused.append(True)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    removal = site.remove()

    assert refused == [True]
    assert (removal.freed, removal.failures) == (Size(20, 20), [])
    assert look(site.path) == {}


def test_without_descriptors_one_walker_does_it(site: Site) -> None:
    """Where no more directories can be opened for a second walker, the first does everything."""
    plant(site.tree, {"a": flat(10), "b": flat(10)})
    calls: list[int] = []

    def refuse_all_but_the_first(directory: int) -> None:
        calls.append(directory)
        if len(calls) > 1:
            raise OSError(errno.EMFILE, "Too many open files")

    with before("dup", refuse_all_but_the_first):
        removal = site.remove()

    assert len(calls) > 2
    assert (removal.freed, removal.failures) == (Size(20, 20), [])
    assert look(site.path) == {}


def test_small_trees_see_no_second_walker(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's usual handful of files is removed before a thread would be started."""
    monkeypatch.undo()
    plant(site.tree, {"a": flat(2), "b": flat(2)})
    monkeypatch.setattr(threading.Thread, "start", fail(REFUSED))

    assert site.remove().freed == Size(4, 4)


def test_measured_pace_removes_a_larger_tree(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the pace that is really measured a tree goes whole, whatever that finds."""
    monkeypatch.undo()
    monkeypatch.setattr("mlflow_cleanup.stores.pace.TRIAL_S", 0.002)
    monkeypatch.setattr("mlflow_cleanup.stores.pace.KEPT_S", 0.004)
    plant(site.tree, {str(number): flat(20) for number in range(20)})

    removal = site.remove()

    assert (removal.freed, removal.failures) == (Size(400, 400), [])
    assert look(site.path) == {}
