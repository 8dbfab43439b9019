"""The child's first steps: leave a guard behind, then become MLflow.

Run as `python -m mlflow_cleanup.server.child LIFELINE COMMAND…`, where LIFELINE is the reading end
of a pipe whose other end only the parent holds. Without the guard, a parent that is killed outright
would leave MLflow on its port, and the next start would find it busy.
"""

from __future__ import annotations

import os
import signal
import sys
import time

_GRACE_S = 3.0
"""How long MLflow may take to end when nobody is there any more to wait for it."""


def main(arguments: list[str]) -> None:
    """Fork the guard, then run the command in this process's place."""
    lifeline, command = int(arguments[0]), arguments[1:]
    if os.fork() == 0:
        guard(lifeline)
    os.close(lifeline)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted here


def guard(lifeline: int) -> None:
    """Wait until the parent is gone, however it ended, and end the whole process group."""
    os.read(lifeline, 1)  # nothing is ever written: it returns when the other end is closed
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    time.sleep(_GRACE_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
