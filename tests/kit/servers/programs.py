"""Programs that come inside of wheels, and processes that end with who started them."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from tests.kit.servers import absent, wait_until

Command = Callable[[Path], Sequence[str]]
"""Makes the command line of a server whose files are to lie in a directory."""

Answers = Callable[[], bool]
"""Asks a server whether it can be used by now."""


def program_of(package: str, beginning: str) -> str:
    """Find a program that an installed package brought; its name begins so."""
    try:
        files = metadata.distribution(package).files or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name.startswith(beginning) and "bin" in file.parts:
            return str(Path(str(file.locate())).resolve())
    return absent(package, f"pip install {package}")


@contextmanager
def running(
    command: Command, answers: Answers, what: str, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in a temporary directory from when it answers until the end of the block.

    `env` is added to the environment.
    """
    with tempfile.TemporaryDirectory(prefix="server-") as home:
        with Path(home, "log").open("wb") as log:
            process = subprocess.Popen(
                command(Path(home)),
                cwd=home,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            try:
                wait_until(answers, lambda: process.poll() is None, what)
            except AssertionError as error:
                said = Path(home, "log").read_text(errors="replace")[-2_000:]
                raise AssertionError(f"{error}: {said}") from error
            yield process
        finally:
            process.kill()  # what it holds is thrown away
            process.wait()


def listens(port: int) -> bool:
    """Tell whether somebody answers at a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
