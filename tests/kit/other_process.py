"""Another process that works on a database, as MLflow's server does, and as another user would."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

_WRITER = """
import json, sqlite3, sys

connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
for line in sys.stdin:
    try:
        rows = [connection.execute(query).fetchall() for query in json.loads(line)]
        print(json.dumps(rows), flush=True)
    except sqlite3.Error as error:
        print(json.dumps(str(error)), flush=True)
connection.close()
"""

_GIVE_UP = """
import os
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""


class OtherProcess:
    """A process with one open connection, which does as it is told, then answers."""

    def __init__(self, database: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, *queries: str) -> list[list[Any]]:
        """Execute statements one after the other; returns the rows of each."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(queries) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if isinstance(answer, str):
            raise AssertionError(answer)
        return answer

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> OtherProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()


@contextmanager
def open_directory() -> Iterator[Path]:
    """Make a directory that every user can look into (pytest's own are for one user only)."""
    directory = Path(tempfile.mkdtemp(prefix="mlflow-cleanup-test-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def as_plain_user(prepare: str, script: str, *arguments: str) -> str:
    """Run a script without privileges and return what it prints.

    `prepare` runs before they are given up and imports what the script needs: the interpreter's own
    files may lie where only root can read them.
    """
    told = subprocess.run(
        [sys.executable, "-c", prepare + _GIVE_UP + script, *arguments],
        capture_output=True,
        check=False,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout
