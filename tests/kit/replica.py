"""A monitor in a process of its own, one of two that stand by for each other.

`python -m tests.kit.replica` reads its settings from standard input, writes a line for each thing
that happens, and ends when standard input does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mlflow_cleanup import Event, MLflowDatabaseMonitor, Settings
from mlflow_cleanup.config import database_of, ledger_server_of
from tests.kit.programs import until


@dataclass
class Replica:
    """One such process, and what it said so far."""

    process: subprocess.Popen[str]
    lines: list[str]
    _listener: threading.Thread = field(init=False)

    @classmethod
    def start(cls, *, backend: str, root: Path, ledger: str, home: Path) -> Replica:
        """Start one; it may not be at work yet."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.replica"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        told = {"backend": backend, "root": str(root), "ledger": ledger, "home": str(home)}
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()
        made = cls(process, [])
        made._listener = threading.Thread(target=made._listen, daemon=True)
        made._listener.start()
        return made

    def says(self, words: str, times: int = 1) -> str:
        """Wait until it has said something so often, and return the last such line."""

        def heard() -> list[str]:
            found = [line for line in self.lines if words in line]
            return found if len(found) >= times else []

        return until(heard, f"{words!r} from process {self.process.pid}", 60)[-1]

    def pause(self) -> None:
        """Stop it as it is, as a machine that hangs is."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it without any goodbye."""
        self.process.kill()
        self.process.wait(30)

    def end(self) -> None:
        """Let it end in order, unless it has."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self.process.poll() is None:
            self.go_on()
            self.process.stdin.close()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        self._listener.join(30)
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))


def _say(event: Event) -> None:
    print(event.kind.value, event.entity or "", event.detail, flush=True)  # noqa: T201


def main() -> None:
    """Run a monitor that stands by."""
    told = json.loads(sys.stdin.readline())
    settings = Settings(
        database=database_of(told["backend"], told["home"]),
        roots=(told["root"],),
        artifacts_destination=told["root"],
        working_directory=told["home"],
        state_dir=Path(told["home"], "not used"),
        poll_interval_s=0.1,
        ledger=ledger_server_of(told["ledger"]),
    )
    with MLflowDatabaseMonitor(settings, on_event=_say, stands_by=True):
        sys.stdin.read()


if __name__ == "__main__":
    main()
