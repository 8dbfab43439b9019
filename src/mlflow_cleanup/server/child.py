"""The child's first steps on Linux: end with the parent, then become MLflow.

Run as `python -m mlflow_cleanup.server.child PARENT_PID COMMAND…`. Without it, a parent that is
killed outright would leave MLflow on its port, and the next start would find it busy.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> None:
    """Ask for SIGTERM at the parent's death, then run the command in this process's place."""
    parent, command = int(arguments[0]), arguments[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)  # it died before we could ask
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted here


if __name__ == "__main__":
    main(sys.argv[1:])
