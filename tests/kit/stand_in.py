"""A stand-in for MLflow where only its being a process matters: it starts at once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.kit.programs import until

_MAIN = '''
import json, os, signal, subprocess, sys, time

TOLD = json.loads(os.environ["STAND_IN"])
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "


def begin_child():
    """Start a grandchild; it says that it is ready, then sleeps."""
    begins = STUBBORN if TOLD.get("stubborn_children") else "import time; "
    words = [sys.executable, "-c", begins + "print(flush=True); time.sleep(600)"]
    child = subprocess.Popen(words, stdout=subprocess.PIPE)
    child.stdout.readline()
    return child.pid


def linger(number, frame):
    """Say that it was asked to end, and take some time for it."""
    open(TOLD["ready"] + ".asked", "w").close()
    time.sleep(TOLD["lingers_s"])
    sys.exit(TOLD.get("exit", 0))


if "lingers_s" in TOLD:
    signal.signal(signal.SIGTERM, linger)
if TOLD.get("is_stubborn"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
children = [begin_child() for _ in range(TOLD.get("children", 0))]
ready = {
    "pid": os.getpid(),
    "group": os.getpgid(0),
    "arguments": sys.argv[1:],
    "directory": os.getcwd(),
    "children": children,
}
with open(TOLD["ready"] + ".new", "w") as file:
    json.dump(ready, file)
os.replace(TOLD["ready"] + ".new", TOLD["ready"])
if "signal" in TOLD:
    os.kill(os.getpid(), TOLD["signal"])
if "exit" in TOLD and "lingers_s" not in TOLD:
    sys.exit(TOLD["exit"])
while True:
    time.sleep(600)
'''


class StandIn:
    """A package named `mlflow` in a directory of its own, which does as told and says what it is.

    What can be told: `exit` or `signal`, how it ends by itself; `lingers_s` or `is_stubborn`, what
    it makes of SIGTERM; `children`, how many processes it starts, and whether `stubborn_children`.
    """

    def __init__(self, directory: Path, **told: Any) -> None:  # noqa: ANN401 - JSON values
        self.package = directory / "stand-in" / "mlflow"
        self.package.mkdir(parents=True)
        (self.package / "__init__.py").touch()
        (self.package / "__main__.py").write_text(_MAIN, encoding="utf-8")
        self._ready = directory / "stand-in" / "ready.json"
        self.environment = {
            "PYTHONPATH": os.pathsep.join(
                [str(self.package.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "STAND_IN": json.dumps({"ready": str(self._ready), **told}),
        }

    @property
    def has_begun(self) -> bool:
        """Tell whether it runs, or ran."""
        return self._ready.exists()

    @property
    def was_asked(self) -> bool:
        """Tell whether one that lingers was asked to end, as against killed."""
        return self._ready.with_name(f"{self._ready.name}.asked").exists()

    def ready(self) -> dict[str, Any]:
        """Wait until it runs, and return what it says of itself."""
        until(lambda: self.has_begun, "the stand-in runs")
        told: dict[str, Any] = json.loads(self._ready.read_text(encoding="utf-8"))
        return told
