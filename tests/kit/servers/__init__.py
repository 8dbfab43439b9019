"""Real servers for tests, each a temporary instance on loopback, ended with who started it."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from typing import NoReturn

import pytest

STARTS_S = 60.0
"""How long a server may take to answer: a second alone, far more on a loaded machine."""


def absent(what: str, how: str) -> NoReturn:
    """Skip as a server's program is not here; where everything must be there, fail."""
    reason = f"{what} is not installed; {how}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """Return a loopback port that nobody listens on, outside the range given to outgoing calls."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until(answers: Callable[[], bool], is_running: Callable[[], bool], what: str) -> None:
    """Ask a server that was started until it answers."""
    ends = time.monotonic() + STARTS_S
    while not answers():
        if not is_running():
            raise AssertionError(f"{what} ended before it answered")
        if time.monotonic() > ends:
            raise AssertionError(f"{what} did not answer within {STARTS_S:g} s")
        time.sleep(0.02)
