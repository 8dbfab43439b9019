from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlflow_cleanup.errors import ServerMissing
from mlflow_cleanup.server.process import MLflowCommand, MLflowProcess
from tests.kit.programs import MARK, Program, living, until
from tests.kit.stand_in import StandIn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")

CALM = threading.Event()  # nobody is in a hurry
COMMAND = MLflowCommand("ui", ("--port", "5001", "--app-name", "a b"), ("127.0.0.1", "5001"))


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Mark every process that a test starts, and end what is left of them."""
    found = uuid.uuid4().hex
    monkeypatch.setenv(MARK, found)
    yield found
    for process in living(found):
        os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str
) -> Callable[..., tuple[MLflowProcess, StandIn]]:
    """Start a stand-in for MLflow that does as told, and wait until it runs."""
    assert mark

    def begin(**told: object) -> tuple[MLflowProcess, StandIn]:
        stand_in = StandIn(tmp_path, **told)
        for name, value in stand_in.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.syspath_prepend(stand_in.package.parent)  # so that it is found to be installed
        process = MLflowProcess(COMMAND)
        stand_in.ready()
        return process, stand_in

    return begin


Start = Callable[..., tuple[MLflowProcess, StandIn]]


def test_mlflow_is_started_with_its_own_arguments(start: Start) -> None:
    """The verb and every argument arrive as they are, in this directory, in a group of its own."""
    process, stand_in = start()
    ready = stand_in.ready()

    assert ready["arguments"] == ["ui", "--port", "5001", "--app-name", "a b"]
    assert ready["directory"] == os.getcwd()
    assert ready["pid"] == ready["group"] == process.pid
    process.end(CALM)


def test_the_whole_group_ends(start: Start, mark: str) -> None:
    """When MLflow is ended, every process that it started ends with it."""
    process, _ = start(children=3)
    assert len(living(mark)) == 5  # itself, its three children, and the guard

    process.end(CALM)

    assert process.ended.is_set()
    assert process.exit_code == 128 + signal.SIGTERM
    assert living(mark) == []


def test_what_mlflow_leaves_behind_ends_too(start: Start, mark: str) -> None:
    """Where MLflow has ended by itself, its job consumers are ended after it."""
    process, _ = start(children=3, exit=0)
    assert process.ended.wait(20)
    assert len(living(mark)) == 4  # its three children, and the guard

    process.end(CALM)

    assert living(mark) == []
    assert process.exit_code == 0


def test_stubborn_children_are_killed(start: Start, mark: str) -> None:
    """A process that does not listen to SIGTERM is ended all the same, soon."""
    process, _ = start(children=2, stubborn_children=True)
    begun = time.monotonic()

    process.end(CALM)

    until(lambda: not living(mark), "nothing of it left", 2.0)
    assert time.monotonic() - begun < 10


def test_a_stubborn_mlflow_is_killed_after_its_grace(start: Start, mark: str) -> None:
    """What does not end when asked to is killed when its time is over."""
    process, _ = start(is_stubborn=True, children=1)

    process.end(CALM, grace_s=0.3)

    assert process.ended.wait(5)
    assert process.exit_code == 128 + signal.SIGKILL
    until(lambda: not living(mark), "nothing of it left", 2.0)


def test_mlflow_has_time_to_end_by_itself(start: Start, mark: str) -> None:
    """Within its grace nothing is forced: it ends with its own code."""
    process, stand_in = start(lingers_s=1.0, exit=0)

    process.end(CALM)

    assert stand_in.was_asked
    assert process.exit_code == 0
    assert living(mark) == []


def test_in_a_hurry_everything_ends_at_once(start: Start, mark: str) -> None:
    """Who is in a hurry waits neither for MLflow's grace nor for its children's."""
    process, _ = start(lingers_s=60, children=2, stubborn_children=True)
    hurry = threading.Event()
    hurry.set()
    begun = time.monotonic()

    process.end(hurry)

    assert process.exit_code == 128 + signal.SIGKILL
    until(lambda: not living(mark), "nothing of it left", 2.0)
    assert time.monotonic() - begun < 8


def test_hurry_may_come_while_mlflow_is_waited_for(start: Start, mark: str) -> None:
    """The grace is cut short from the moment that somebody asks again."""
    process, _ = start(lingers_s=60)
    hurry = threading.Event()
    ending = threading.Thread(target=process.end, args=(hurry,))
    ending.start()

    hurry.set()

    ending.join(8)
    assert not ending.is_alive()
    assert living(mark) == []


@pytest.mark.parametrize(
    ("told", "code"),
    [({"exit": 0}, 0), ({"exit": 7}, 7), ({"signal": 9}, 137), ({"signal": 15}, 143)],
)
def test_the_exit_code_is_mlflows_own(start: Start, told: dict[str, int], code: int) -> None:
    """An exit code is taken over; a signal counts as in a shell."""
    process, _ = start(**told)

    assert process.ended.wait(20)
    assert process.exit_code == code
    process.end(CALM)


def test_ending_twice_is_harmless(start: Start) -> None:
    """What has ended can be ended again."""
    process, _ = start()
    process.end(CALM)
    process.end(CALM)

    assert process.exit_code == 128 + signal.SIGTERM


PARENT = """
from mlflow_cleanup.server.process import MLflowCommand, MLflowProcess
MLflowProcess(MLflowCommand("ui", (), ("127.0.0.1", "1"))).ended.wait()
"""


def kill_the_parent_of(stand_in: StandIn, directory: Path) -> None:
    """Start it under a process of its own, kill that one outright, and wait until all has ended."""
    environment = {**os.environ, **stand_in.environment}
    program = Program([sys.executable, "-c", PARENT], directory, environment)
    try:
        stand_in.ready()
        program.send(signal.SIGKILL)
        program.ended()
        program.until(lambda: not program.family(), "MLflow has ended too")
    finally:
        program.end()


@pytest.mark.parametrize("stubborn", [False, True])
def test_mlflow_ends_with_a_parent_that_was_killed(tmp_path: Path, stubborn: bool) -> None:
    """Where the program is killed outright, nothing stays behind on MLflow's port."""
    stand_in = StandIn(tmp_path, children=2, stubborn_children=stubborn, is_stubborn=stubborn)

    kill_the_parent_of(stand_in, tmp_path)

    assert stand_in.has_begun


def test_mlflow_is_asked_before_it_is_killed_after_its_parent(tmp_path: Path) -> None:
    """Nobody waits for it any more, but it has a moment to close what it has open."""
    stand_in = StandIn(tmp_path, lingers_s=0.1)

    kill_the_parent_of(stand_in, tmp_path)

    assert stand_in.was_asked


def test_without_mlflow_the_server_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an environment without MLflow the error says how to install it."""
    monkeypatch.setitem(sys.modules, "mlflow", None)

    with pytest.raises(ServerMissing, match="pip install"):
        COMMAND.words()


def test_an_address_is_taken_while_somebody_listens() -> None:
    """A port on which a program listens is told from a free one, on every interface too."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        for host in ("127.0.0.1", "0.0.0.0", "localhost"):  # noqa: S104 - only asked about
            assert MLflowCommand("ui", (), (host, port)).is_address_taken()

    assert not MLflowCommand("ui", (), ("127.0.0.1", port)).is_address_taken()


@pytest.mark.parametrize(
    "address",
    [
        ("127.0.0.1", "none"),
        ("127.0.0.1", "99999999"),
        ("127.0.0.1", ""),
        ("x" * 100, "1"),
        ("", ""),
    ],
)
def test_an_address_that_makes_no_sense_is_not_taken(address: tuple[str, str]) -> None:
    """MLflow says itself what is wrong with such an address."""
    assert not MLflowCommand("ui", (), address).is_address_taken()
