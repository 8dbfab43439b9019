from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from mlflow_cleanup.model.globs import Globs
from mlflow_cleanup.model.inventory import Listed, Unseen
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.stores.local import crew, lister
from mlflow_cleanup.stores.local.crew import list_together, spare_cores
from mlflow_cleanup.stores.local.directory import HAS_DIR_FD, Directory, open_root
from mlflow_cleanup.stores.local.listing import Listing, Piece, list_root
from tests.kit.children import as_nobody
from tests.kit.grounds import LocalGround, always, times
from tests.kit.trees import File, Link, Tree, open_descriptors, plant, plant_deep, swept, trees
from tests.unit.stores.local.conftest import Open

Found = list["Listed | Unseen"]

WIDE: Tree = {
    str(experiment): {
        str(run): {"artifacts": {"a.ckpt": File(b"1"), "model": {"b": File(b"22")}}}
        for run in range(20)
    }
    for experiment in range(4)
}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes be started for small trees too, and answer in small pieces."""
    monkeypatch.setattr(crew, "STARTS_AFTER", 2)
    monkeypatch.setattr(crew, "_LOOK_EVERY", 1)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Take down which processes are started."""
    started: list[subprocess.Popen[bytes]] = []
    start = crew._start

    def note(words: list[str]) -> subprocess.Popen[bytes]:
        started.append(start(words))
        return started[-1]

    monkeypatch.setattr(crew, "_start", note)
    return started


def in_order(found: Found) -> list[str]:
    """Put what was found in an order of its own, as each way has another."""
    return sorted(map(repr, found))


def shared(root: Directory, listers: int = 1) -> tuple[Found, Found]:
    """List with others, waiting for them after each step; returns what we found, and what they."""
    listing, others = Listing(root, None), crew.Crew(root, None, listers)
    mine: Found = [listing.begin(RESERVED)]
    theirs: Found = []
    while True:
        others.hand_out(listing)
        if (found := listing.step()) is not None:
            mine.append(found)
        elif not others.is_busy:
            break
        others.wait()
        theirs += others.collect(listing)
    others.close()
    return mine, theirs


def test_many_find_what_one_does(
    opened: Open, tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    """The same directories with the same figures, each once, in whatever order."""
    plant(tmp_path, {**WIDE, "link": Link("0"), RESERVED: {"trash": {"x": File()}}})
    root, globs = opened(tmp_path), Globs(("*.ckpt",))

    together = list(list_together(root, globs, always, 2))

    assert in_order(together) == in_order(list(list_root(root, globs, always)))
    assert all(process.returncode is not None for process in processes)


def test_others_tell_of_second_names_too(tmp_path: Path) -> None:
    """All that one listing says of a directory comes back from the others as well."""
    plant(tmp_path, {"root": WIDE})
    for path in sorted((tmp_path / "root").rglob("b")):
        (tmp_path / str(path.stat().st_ino)).hardlink_to(path)
    with open_root(str(tmp_path / "root")) as root:
        mine, theirs = shared(root)

    told = [one for one in (*mine, *theirs) if isinstance(one, Listed)]
    assert theirs
    assert sum(one.shared_bytes for one in told) == 160
    assert any(isinstance(one, Listed) and one.shared_bytes for one in theirs)


def test_others_really_take_a_part(
    opened: Open, tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    """What is found comes from the other processes as well, and from each of them."""
    plant(tmp_path, WIDE)
    root = opened(tmp_path)

    mine, theirs = shared(root, listers=2)

    assert in_order(mine + theirs) == in_order(list(list_root(root, None, always)))
    assert theirs
    assert len(processes) == 2


@settings(
    deadline=None,
    max_examples=10,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(tree=trees())
def test_any_tree_is_found_whole(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the names, nothing is lost on the way between processes."""
    top = plant(tmp_path_factory.mktemp("any").resolve(), {"a": tree, "b": tree, "c": tree})
    for by_descriptor in {True, False} if HAS_DIR_FD else {False}:
        with open_root(str(top), by_descriptor=by_descriptor) as root:
            found = list(list_together(root, None, always, 1))
            assert in_order(found) == in_order(list(list_root(root, None, always)))


def test_killed_process_loses_nothing(
    opened: Open, tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    """What a process that died had been given is listed all the same, and counts once."""
    plant(tmp_path, WIDE)
    root, found = opened(tmp_path), []
    for one in list_together(root, None, always, 1):
        found.append(one)
        if processes and len(found) % 10 == 0:
            processes[0].kill()

    assert len(processes) == 1
    assert in_order(found) == in_order(list(list_root(root, None, always)))


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing is stopped so here")
def test_process_that_stays_silent_is_done_without(
    opened: Open,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    processes: list[subprocess.Popen[bytes]],
) -> None:
    """One that was stopped holds nobody up for ever, and what it was given is listed here."""
    monkeypatch.setattr(crew, "PATIENCE_S", 0.2)
    start = crew._start

    def stopped(words: list[str]) -> subprocess.Popen[bytes]:
        process = start(words)
        process.send_signal(signal.SIGSTOP)
        return process

    monkeypatch.setattr(crew, "_start", stopped)
    plant(tmp_path, WIDE)
    root = opened(tmp_path)

    found = list(list_together(root, None, always, 2))

    assert in_order(found) == in_order(list(list_root(root, None, always)))
    assert processes
    assert all(process.returncode is not None for process in processes)


@pytest.mark.skipif(not open_descriptors(), reason="open descriptors cannot be counted here")
def test_work_taken_over_keeps_few_directories_open(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many parts come back: of a comb it is one for each of its teeth."""
    monkeypatch.setattr("mlflow_cleanup.stores.local.listing._OPEN_AT_MOST", 5)
    plant(tmp_path, WIDE)
    root, found = opened(tmp_path), []
    few = open_descriptors()
    listing = Listing(root, None)
    for run in range(20):
        listing.take((("0", str(run)), ["artifacts"]))
    assert open_descriptors() - few <= 5

    while (one := listing.step()) is not None:
        found.append(one)
        assert open_descriptors() - few <= 5
    expected: Found = [
        one
        for one in list_root(root, None, always)
        if isinstance(one, Listed) and one.inside[:1] == ("0",) and len(one.inside) > 2
    ]
    assert in_order(found) == in_order(expected)


@pytest.mark.parametrize("program", ["", "/no/such/python", sys.executable])
def test_process_that_cannot_start_is_done_without(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """Frozen programs have no Python to start, and some places allow no processes."""
    plant(tmp_path, WIDE)
    root = opened(tmp_path)
    monkeypatch.setattr(sys, "executable", program)
    monkeypatch.setattr(crew, "_CODE", "import sys; sys.exit(3)")

    found = list(list_together(root, None, always, 2))

    assert in_order(found) == in_order(list(list_root(root, None, always)))


@pytest.mark.skipif(not HAS_DIR_FD, reason="held by path, the other directory is the root")
def test_root_that_is_another_one_by_now_is_not_listed(
    tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    """A process that finds another directory at the path says nothing about it."""
    plant(tmp_path / "root", WIDE)
    with open_root(str(tmp_path.resolve() / "root"), by_descriptor=True) as root:
        (tmp_path / "root").rename(tmp_path / "before")
        plant(tmp_path / "root", {str(name): {"theirs": File(b"12345")} for name in range(4)})

        mine, theirs = shared(root)

        assert in_order(mine) == in_order(list(list_root(root, None, always)))
    assert theirs == []
    assert [process.returncode for process in processes] == [1]


def test_listing_that_is_given_up_ends_its_processes(
    opened: Open, tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    """Whoever stops taking leaves neither a process nor an open directory behind."""
    plant(tmp_path, WIDE)
    root = opened(tmp_path)
    few = open_descriptors()
    listing = list_together(root, None, always, 2)
    while not processes:
        next(listing)
    listing.close()  # type: ignore[attr-defined]

    assert all(process.returncode is not None for process in processes)
    assert open_descriptors() == few


def test_listing_stops_when_told_to(
    opened: Open, tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    """In the middle, with everything ended."""
    plant(tmp_path, WIDE)

    found = list(list_together(opened(tmp_path), None, times(10), 1))

    assert len(found) < 4 * 20 * 2
    assert all(process.returncode is not None for process in processes)


def test_interrupt_from_the_terminal_is_for_us(
    opened: Open, tmp_path: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    """Ctrl-C goes to every process there; the others go on until they are told."""
    plant(tmp_path, WIDE)
    root, found = opened(tmp_path), []
    for one in list_together(root, None, always, 1):
        found.append(one)
        if processes and len(found) % 40 == 0:
            processes[0].send_signal(signal.SIGINT)

    assert in_order(found) == in_order(list(list_root(root, None, always)))


def test_what_others_cannot_see_is_unseen() -> None:
    """An unreadable directory is told, whoever met it."""

    def body(top: Path) -> None:
        plant(top, WIDE)
        closed = [top / str(one) / "7" for one in range(4)]
        for path in closed:
            path.chmod(0o000)
        with open_root(str(top)) as root:
            found = list(list_together(root, None, always, 1))
            assert in_order(found) == in_order(list(list_root(root, None, always)))
        unseen = [one for one in found if isinstance(one, Unseen)]
        assert sorted(one.path for one in unseen) == sorted(map(str, closed))
        for path in closed:
            path.chmod(0o700)

    as_nobody(body)


@pytest.mark.skipif(not HAS_DIR_FD, reason="this system opens no directories by descriptor")
def test_tree_deeper_than_a_path_can_be_long_is_listed_whole(tmp_path: Path) -> None:
    """However deep the part that was given away lies."""
    with swept(plant_deep(tmp_path.resolve() / "deep", 450)) as deep:
        plant(deep, WIDE)
        with open_root(str(deep), by_descriptor=True) as root:
            found = list(list_together(root, None, always, 1))
            assert in_order(found) == in_order(list(list_root(root, None, always)))


def answers(root: Directory, *pieces: Piece) -> list[lister.Answer]:
    """Ask what a process is asked, in this one."""
    asked, told = io.BytesIO(), io.BytesIO()
    for piece in pieces:
        lister.send(asked, piece)
    asked.seek(0)
    lister.serve(Listing(root, None), asked, told)
    told.seek(0)
    return [lister.Answer(*answer) for answer in iter(lambda: lister.receive(told), None)]


def test_large_piece_is_answered_in_parts(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of a piece comes back, to be shared out anew; all of it is found in the end."""
    monkeypatch.setattr(lister, "AT_ONCE", 7)
    plant(tmp_path, WIDE)
    root, found = opened(tmp_path), []
    todo: list[Piece] = [((), ["0", "1"]), (("2",), ["5"])]
    while todo:
        [answer] = answers(root, todo.pop())
        assert len(answer.found) <= 7
        found += answer.found
        todo += answer.rest

    expected = {
        one.inside
        for one in list_root(root, None, always)
        if isinstance(one, Listed)
        and (one.inside[:1] in (("0",), ("1",)) or one.inside[:2] == ("2", "5"))
    }
    assert {one[0] for one in found} == expected
    assert len(found) == len(expected)


def test_piece_whose_directory_is_gone_is_gone(opened: Open, tmp_path: Path) -> None:
    """What vanished since it was given away counts nothing."""
    [answer] = answers(opened(tmp_path), (("gone",), ["a"]))

    assert answer == ([(("gone", "a"), 0, 0, 0.0, True, 0, 0, 0, 0.0)], [])


def test_message_cut_short_is_noticed() -> None:
    """A process that died in the middle of an answer has not answered."""
    whole = io.BytesIO()
    lister.send(whole, ((("a",), ["b", "c"]), [("x", 1, 2.5)]))
    for length in range(1, len(whole.getvalue())):
        with pytest.raises(EOFError):
            lister.receive(io.BytesIO(whole.getvalue()[:length]))
    assert lister.receive(io.BytesIO(whole.getvalue())) == ((("a",), ["b", "c"]), [("x", 1, 2.5)])
    assert lister.receive(io.BytesIO()) is None


def test_store_lists_with_others_what_it_can_hand_over(
    ground: LocalGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function cannot be handed to another process: with one, it lists by itself."""
    asked: list[object] = []

    def together(_: Directory, mark: Globs | None, *__: object) -> Iterator[Listed | Unseen]:
        asked.append(mark)
        return iter(())

    monkeypatch.setattr("mlflow_cleanup.stores.local.store.list_together", together)
    store = ground.store()
    store._listers = 2
    mine: Callable[[str], bool] = lambda _: True  # noqa: E731 - a function without a name
    for mark in (None, Globs(("*.pt",)), mine):
        list(store.listing(mark, always))

    assert asked == [None, Globs(("*.pt",))]


def test_one_core_is_left_to_us() -> None:
    """There is never more than one process for a core, and never many."""
    assert 0 <= spare_cores() <= min(crew.MOST, (os.cpu_count() or 1) - 1)
