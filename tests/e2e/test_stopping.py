from __future__ import annotations

import os
import signal
import socket
import time

import pytest

from tests.kit.programs import Living, Program, until
from tests.kit.server import Site

pytestmark = pytest.mark.e2e

FILES = {"a.txt": b"a" * 10, "deep/b.bin": bytes(range(256))}

KILLED = 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_early_with_all_defaults_nothing_of_it_is_left(
    bare_site: Site, number: signal.Signals
) -> None:
    """One signal ends us with code 0 and every MLflow process, job consumers that hang too."""
    site = bare_site
    program = site.start(
        "mlflow_cleanup",
        "ui",
        "--port",
        str(site.port),
        environment={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "true"},
    )
    site.healthy(program)
    consumers = program.until(lambda: _consumers(program), "job consumers", deadline_s=60)
    os.kill(consumers[0].pid, signal.SIGSTOP)
    begun = time.monotonic()

    assert program.stop(number) == 0

    assert time.monotonic() - begun < 30
    assert program.ours("stopping")
    assert "Traceback" not in "".join(program.ours())


def test_taken_port_is_told_with_a_failing_exit_code(site: Site) -> None:
    """When another program listens on the port, MLflow's error is seen, and we say so and fail."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", site.port))
        other.listen()
        program = site.start("mlflow_cleanup", "ui", "--workers", "1", "--port", str(site.port))

        code = program.ended()

    assert code == 1
    assert "address already in use" in program.output()
    assert program.ours("another program listens on port", str(site.port), "--port")
    program.ends_alone()


def test_delete_while_we_were_not_running_is_found_on_the_next_start(site: Site) -> None:
    """A run deleted beside a plain `mlflow ui` is quarantined when we are started again."""
    mlflow = site.tracking
    first = site.serve()
    run, other = mlflow.log_run(FILES), mlflow.log_run(FILES)
    assert first.stop() == 0

    plain = site.serve_plainly()
    mlflow.delete(run)
    plain.end()
    assert site.place_of(run).exists()
    second = site.serve()
    second.line(run.id, "moved to the trash")

    assert not site.place_of(run).exists()
    assert site.place_of(other).exists()
    assert [item["run_id"] for item in site.held()] == [run.id]


def test_killed_outright_we_lose_nothing_and_mlflow_ends_too(site: Site) -> None:
    """After SIGKILL MLflow ends by itself, the port is free, and the next start goes on."""
    mlflow = site.tracking
    killed = site.serve()
    runs = [mlflow.log_run(FILES) for _ in range(5)]
    before = site.tree(runs[0])

    for run in runs[:4]:
        mlflow.delete(run)
    killed.send(signal.SIGKILL)
    assert killed.ended() == -signal.SIGKILL
    killed.until(lambda: not killed.family(), "MLflow has ended too")
    site.serve()
    until(lambda: not any(site.place_of(run).exists() for run in runs[:4]), "all are quarantined")
    for run in runs[:4]:
        mlflow.restore(run)
    until(lambda: not site.held(), "all are back")

    assert [site.tree(run) for run in runs] == [before] * 5
    assert site.trash() == []


def test_mlflow_killed_from_outside_ends_us_with_its_exit_code(site: Site) -> None:
    """When MLflow is killed we stop, say that it ended by itself, and end with its exit code."""
    program = site.serve()
    run = site.tracking.log_run(FILES)
    (mlflow,) = program.children()

    os.kill(mlflow.pid, signal.SIGKILL)

    assert program.ended() == KILLED
    assert program.ours("MLflow ended by itself", str(KILLED))
    assert program.ours("the monitor has stopped")
    program.ends_alone()
    assert site.place_of(run).exists()


def test_second_signal_ends_an_mlflow_that_does_not_react(site: Site) -> None:
    """One more signal ends at once what an orderly end would wait for; nothing is left."""
    program = site.serve()
    (mlflow,) = program.children()
    os.kill(mlflow.pid, signal.SIGSTOP)

    program.send(signal.SIGTERM)
    program.line("the monitor has stopped")
    begun = time.monotonic()
    assert program.stop(signal.SIGINT) == 0

    assert time.monotonic() - begun < 8


def test_stopped_before_mlflow_answers_nothing_of_it_is_left(site: Site) -> None:
    """A signal while MLflow is still starting ends everything with code 0, too."""
    program = site.start("mlflow_cleanup", "ui", "--workers", "1", "--port", str(site.port))
    program.line("watching")
    (child,) = program.until(program.children, "MLflow")

    assert program.stop() == 0

    assert not site.tracking.is_healthy()
    assert child not in program.family()


def _consumers(program: Program) -> list[Living]:
    return [process for process in program.family() if "huey" in process.command]
