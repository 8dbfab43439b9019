"""A writer of metrics beside whatever is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.kit.machine import environment

_PROGRAM = Path(__file__).parents[1] / "row_writer.py"


class Writer:
    """A writer that logs metrics of an active run for as long as something else is done.

    It pauses between two of them, or writes as fast as it can.
    """

    def __init__(self, database: Path, run_id: str, pause_s: float = 0.0) -> None:
        self.took_ms: list[float] = []
        self._process = subprocess.Popen(
            [sys.executable, str(_PROGRAM), str(database), run_id, str(pause_s)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Writer:
        if self._process.stdout is None or not self._process.stdout.readline():
            raise RuntimeError("the writer failed; its error is above")
        return self

    def __exit__(self, *_: object) -> None:
        output, _rest = self._process.communicate("stop\n")
        self.took_ms = json.loads(output)
