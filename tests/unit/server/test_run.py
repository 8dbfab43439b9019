from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlflow_cleanup.ledger.lease import Lease, current_holder
from mlflow_cleanup.report.status import history_values
from tests.kit.programs import Program
from tests.kit.stand_in import StandIn
from tests.kit.tracking_db import TrackingFile, run_id

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")

Serve = Callable[..., tuple[Program, StandIn]]


@pytest.fixture
def db(tmp_path: Path) -> TrackingFile:
    """Make the tracking database that MLflow would use in this directory."""
    (tmp_path / "mlartifacts").mkdir()
    return TrackingFile.make(tmp_path / "mlflow.db")


@pytest.fixture
def serve(tmp_path: Path, db: TrackingFile) -> Iterator[Serve]:
    """Start `mlflow-cleanup ui` with a stand-in for MLflow that does as told."""
    assert db.path.exists()
    programs = []

    def begin(*words: str, verb: str = "ui", **told: object) -> tuple[Program, StandIn]:
        stand_in = StandIn(tmp_path, **told)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
        program = Program(
            [sys.executable, "-m", "mlflow_cleanup", verb, *words],
            tmp_path,
            {**kept, **stand_in.environment},
        )
        programs.append(program)
        return program, stand_in

    yield begin
    for program in programs:
        program.end()


def begun(serve: Serve, *words: str, verb: str = "ui", **told: object) -> Program:
    """Start, and wait until both MLflow and the monitor run."""
    program, stand_in = serve(*words, verb=verb, **told)
    program.line("watching")
    stand_in.ready()
    return program


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_with_code_0(
    serve: Serve, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM stop the monitor, then all of MLflow; the lease is given back."""
    program = begun(serve, children=2)

    assert program.stop(number) == 0
    assert current_holder(tmp_path / ".mlflow-cleanup") is None
    told = history_values(tmp_path / ".mlflow-cleanup", 9)
    assert [event["event"] for event in told] == ["started", "stopped"]


@pytest.mark.parametrize(("told", "code"), [({"exit": 7}, 7), ({"signal": 9}, 137)])
def test_the_exit_code_of_an_mlflow_that_ended_is_ours(
    serve: Serve, told: dict[str, int], code: int
) -> None:
    """When MLflow ends by itself, so do we, with its code and nothing of it left behind."""
    program, _ = serve(children=2, **told)

    assert program.ended() == code
    program.ends_alone()
    assert f"ended by itself with exit code {code}" in program.output()


def test_an_address_that_was_taken_is_an_error(serve: Serve) -> None:
    """MLflow ends with 0 where its port was taken; we say what happened, and end with 1."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        program, _ = serve("--port", port, exit=0)

        assert program.ended() == 1
    assert f"another program listens on port {port}" in program.output()


def test_an_mlflow_that_ends_well_ends_us_well(serve: Serve) -> None:
    """Where MLflow ends by itself with 0 and its address is free, so do we."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    program, _ = serve(f"--port={port}", exit=0)

    assert program.ended() == 0


def test_a_second_signal_hurries(serve: Serve) -> None:
    """Who asks twice does not wait for an MLflow that takes its time."""
    program = begun(serve, is_stubborn=True, children=1)
    program.send(signal.SIGTERM)
    program.line("stopping")
    asked_again = time.monotonic()
    program.send(signal.SIGTERM)

    assert program.ended() == 0
    assert time.monotonic() - asked_again < 10
    program.ends_alone()


@pytest.mark.slow
def test_a_stubborn_mlflow_does_not_keep_us(serve: Serve) -> None:
    """An MLflow that ignores SIGTERM is killed after its grace; the exit code is 0 all the same."""
    program = begun(serve, is_stubborn=True, stubborn_children=True, children=1)

    assert program.stop() == 0


def test_arguments_are_split_between_us_and_mlflow(serve: Serve, tmp_path: Path) -> None:
    """Ours come first; the rest arrives at MLflow untouched, under either verb."""
    program, stand_in = serve(
        "--retention",
        "1d",
        "--poll-interval=0.5",
        "--host",
        "::1",
        "--",
        "--retention",
        verb="server",
    )
    program.line("restorable for 1d")

    assert stand_in.ready()["arguments"] == ["server", "--host", "::1", "--retention"]
    assert stand_in.ready()["directory"] == str(tmp_path)
    assert program.stop() == 0


def test_a_run_that_is_deleted_beside_mlflow_is_quarantined(
    serve: Serve, db: TrackingFile, tmp_path: Path
) -> None:
    """The monitor works while MLflow runs: a deleted run's directory goes within moments."""
    place = tmp_path / "mlartifacts" / "0" / run_id(1) / "artifacts"
    place.mkdir(parents=True)
    (place / "model").write_bytes(b"x" * 10)
    db.run(run_id(1))
    program = begun(serve)

    db.set_stage(run_id(1), "deleted")

    program.line(run_id(1), "moved to the trash")
    assert not place.exists()
    assert program.stop() == 0


def test_mlflow_is_not_started_where_the_monitor_cannot_be(serve: Serve, tmp_path: Path) -> None:
    """With the lease in other hands nothing is started, and the exit code says so."""
    with Lease([tmp_path / ".mlflow-cleanup"], "somebody else"):
        program, stand_in = serve()

        assert program.ended() == 5
    assert "somebody else" in program.output()
    assert not stand_in.has_begun


def test_without_mlflow_the_monitor_is_stopped_again(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where MLflow is not installed, the error names that, and the lease is given back."""
    hide = tmp_path / "hide"
    hide.mkdir()
    (hide / "sitecustomize.py").write_text("import sys; sys.modules['mlflow'] = None")
    monkeypatch.setenv("PYTHONPATH", str(hide), prepend=os.pathsep)
    program, stand_in = serve()

    assert program.ended() == 2
    assert "MLflow is not installed" in program.output()
    assert not stand_in.has_begun
    state_dir = tmp_path / ".mlflow-cleanup"
    assert current_holder(state_dir) is None
    assert history_values(state_dir, 1)[0]["event"] == "stopped"


def test_watching_alone_ends_with_a_signal(serve: Serve) -> None:
    """`watch` runs the monitor without MLflow, until it is asked to stop."""
    program, stand_in = serve(verb="watch")
    program.line("watching")

    assert program.stop(signal.SIGINT) == 0
    assert not stand_in.has_begun


def test_watching_needs_a_database(serve: Serve, db: TrackingFile) -> None:
    """`watch` beside nothing says so at once."""
    db.path.unlink()
    program, _ = serve(verb="watch")

    assert program.ended() == 2
    assert "there is no tracking database" in program.output()
