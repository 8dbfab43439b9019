"""The main loop of `ui`: monitor first, then MLflow, then wait for either's end or a signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

from mlflow_cleanup.monitor import MLflowDatabaseMonitor
from mlflow_cleanup.server.process import MLflowCommand, MLflowProcess

_TURN_S = 0.5  # a wait without time-out cannot be interrupted by Ctrl-C on Windows
_MONITOR_STOPS_S = 60.0

Say = Callable[[str], None]


class Signals:
    """Ctrl-C and SIGTERM, counted: the first asks for an orderly end, the second hurries it."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.hurried = threading.Event()

    def install(self) -> None:
        """Take over the signals; handlers only set events, so they cannot deadlock."""
        for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked.is_set():
            self.hurried.set()
        self.asked.set()


def serve(monitor: MLflowDatabaseMonitor, command: MLflowCommand, say: Say) -> int:
    """Run MLflow with the monitor beside it; return the exit code to end with.

    0 after Ctrl-C or SIGTERM, else the code with which MLflow ended by itself; 1 where that is 0
    because its address was taken (MLflow 3.17 says so on stderr, but not with its exit code).
    """
    signals = Signals()
    signals.install()
    monitor.start()
    try:
        mlflow = MLflowProcess(command)
    except BaseException:
        monitor.stop(_MONITOR_STOPS_S)
        raise
    while not signals.asked.is_set() and not mlflow.ended.wait(_TURN_S):
        pass
    by_itself = mlflow.ended.is_set() and not signals.asked.is_set()
    if by_itself:
        say(f"MLflow ended by itself with exit code {mlflow.exit_code}; stopping")
    else:
        say("stopping: finishing the step in hand, then ending MLflow")
    _stop(monitor, mlflow, signals, say)
    if not by_itself:
        return 0
    if mlflow.exit_code == 0 and command.is_address_taken():
        say(f"another program listens on port {command.address[1]}; choose one with --port")
        return 1
    return mlflow.exit_code


def watch(monitor: MLflowDatabaseMonitor, say: Say) -> int:
    """Run the monitor alone until a signal comes."""
    signals = Signals()
    signals.install()
    monitor.start()
    while not signals.asked.wait(_TURN_S):
        pass
    say("stopping: finishing the step in hand")
    monitor.stop(_MONITOR_STOPS_S)
    return 0


def _stop(
    monitor: MLflowDatabaseMonitor, mlflow: MLflowProcess, signals: Signals, say: Say
) -> None:
    if not monitor.stop(_MONITOR_STOPS_S):
        say("the monitor is still in the middle of a step; the next start finishes it")
    mlflow.end(signals.hurried)
