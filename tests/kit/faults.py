"""System calls that fail, or never return, at a chosen moment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

CHANGES = (
    "rename",
    "replace",
    "link",
    "unlink",
    "mkdir",
    "rmdir",
    "chmod",
    "fchmod",
    "fsync",
)
"""The calls of `os` that change what lies on the disk, or make it durable."""


class Killed(BaseException):
    """The process ended here. Not an `Exception`, so that nothing tidies up after it."""


@dataclass
class Fate:
    """How many changes were made, and whether the process lives still."""

    steps: int = 0
    is_dead: bool = False


@contextmanager
def killed_at(step: int, *, after: bool) -> Iterator[Fate]:
    """End the process (raise Killed) before or after its `step`-th change; then nothing works."""
    fate = Fate()

    def mortal(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever `os` takes and gives
            if fate.is_dead:
                raise Killed
            fate.steps += 1
            fate.is_dead = fate.steps == step
            if fate.is_dead and not after:
                raise Killed
            result = real(*args, **named)
            if fate.is_dead:
                raise Killed
            return result

        return call

    with ExitStack() as stack:
        for name in CHANGES:
            stack.enter_context(mock.patch.object(os, name, mortal(getattr(os, name))))
        try:
            yield fate
        except Killed:
            assert fate.is_dead


@contextmanager
def before(call: str, hook: Callable[..., None]) -> Iterator[None]:
    """Run `hook` with the same arguments before each call of `os.<call>`; it may raise."""
    real = getattr(os, call)

    def hooked(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever `os` takes and gives
        hook(*args, **named)
        return real(*args, **named)

    with mock.patch.object(os, call, hooked):
        yield


def fail(error: OSError, *, when: str | None = None, times: int = 1_000_000) -> Callable[..., None]:
    """Make a hook that raises for the name `when` (None: for any), only so many times."""
    left = [times]

    def hook(name: str, *_: object, **__: object) -> None:
        if left[0] > 0 and when in (None, os.path.basename(name)):
            left[0] -= 1
            raise error

    return hook


def once(hook: Callable[[], None], *, when: str) -> Callable[..., None]:
    """Make a hook that runs at the first call for the name `when`."""
    done: list[bool] = []

    def hooked(name: str | bytes | int, *_: object, **__: object) -> None:
        if not done and isinstance(name, str) and os.path.basename(name) == when:
            done.append(True)
            hook()

    return hooked
