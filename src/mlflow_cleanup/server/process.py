"""MLflow as a child process whose whole process group is ours to end."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from mlflow_cleanup.errors import ServerMissing

GRACE_S = 15.0
"""How long MLflow may take to end by itself before what is left of its group is killed."""

_LEFT_BEHIND_S = 2.0
_TURN_S = 0.1
_NEW_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows only


@dataclass(frozen=True, slots=True)
class MLflowCommand:
    """What to start: `mlflow ui …` or `mlflow server …`, and where it will listen."""

    verb: str
    arguments: tuple[str, ...]
    address: tuple[str, str]

    def words(self) -> list[str]:
        """Return MLflow's command line; raises ServerMissing."""
        if importlib.util.find_spec("mlflow") is None:
            raise ServerMissing
        return [sys.executable, "-m", "mlflow", self.verb, *self.arguments]

    def is_address_taken(self) -> bool:
        """Tell whether some program listens there now."""
        host, port = self.address
        if host == "0.0.0.0":  # noqa: S104 - compared with, not bound to
            host = "127.0.0.1"
        with socket.socket() as probe:
            probe.settimeout(1.0)
            try:
                return probe.connect_ex((host, int(port))) == 0
            except (OSError, ValueError, OverflowError):
                return False


class MLflowProcess:
    """MLflow in a process group of its own; its output goes where ours goes."""

    def __init__(self, command: MLflowCommand) -> None:
        self._lifeline: int | None = None
        self._process = self._start(command.words())
        self.ended = threading.Event()
        threading.Thread(target=self._wait, name="mlflow-waiter", daemon=True).start()

    @property
    def pid(self) -> int:
        """The child's process id, which is its group's too."""
        return self._process.pid

    @property
    def exit_code(self) -> int:
        """How MLflow ended; a signal counts as 128 and its number, as in a shell."""
        code = self._process.returncode
        return 128 - code if code < 0 else code

    def end(self, hurry: threading.Event | None = None, grace_s: float = GRACE_S) -> None:
        """End MLflow and every process that it started; by force when `hurry` is set."""
        if not self.ended.is_set():
            self._signal(_gentle())
        ends = time.monotonic() + grace_s
        hurry = hurry or threading.Event()
        while not (self.ended.wait(_TURN_S) or hurry.is_set() or time.monotonic() > ends):
            pass
        if hurry.is_set():
            self._signal(_hard())
        self._end_the_rest()
        self.ended.wait(grace_s)
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def _start(self, words: list[str]) -> subprocess.Popen[bytes]:
        if os.name == "nt":
            return subprocess.Popen(words, creationflags=_NEW_GROUP)
        reading, self._lifeline = os.pipe()
        child = [sys.executable, "-m", "mlflow_cleanup.server.child", str(reading), *words]
        try:
            return subprocess.Popen(child, start_new_session=True, pass_fds=[reading])
        finally:
            os.close(reading)

    def _wait(self) -> None:
        self._process.wait()
        self.ended.set()

    def _end_the_rest(self) -> None:
        """Stopped early, MLflow's parent leaves its job consumers behind: end the whole group."""
        if os.name == "nt":
            self._signal(_hard())
            return
        ends = time.monotonic() + _LEFT_BEHIND_S
        self._signal(signal.SIGTERM)
        while _group_is_alive(self.pid) and time.monotonic() < ends:
            time.sleep(0.02)
        self._signal(_hard())

    def _signal(self, number: int) -> None:
        if os.name == "nt":
            _signal_on_windows(self._process, number)
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def _gentle() -> int:
    number: int = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)
    return number


def _hard() -> int:
    number: int = getattr(signal, "SIGKILL", signal.SIGTERM)
    return number


def _group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _signal_on_windows(process: subprocess.Popen[bytes], number: int) -> None:
    """Ask politely with Ctrl-Break; by force, end the whole tree, as no group can be killed."""
    with contextlib.suppress(OSError):
        if number == _gentle():
            process.send_signal(number)
        else:
            tree = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
            subprocess.run(tree, check=False, capture_output=True)
