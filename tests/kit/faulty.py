"""A store that fails on purpose, or lets something happen just before or after one of its steps."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mlflow_cleanup.cycle import Workplace
from mlflow_cleanup.stores.base import ArtifactStore

Hook = Callable[[], object]


def io_error() -> OSError:
    """Return what a failing disk says."""
    return OSError(errno.EIO, os.strerror(errno.EIO))


@dataclass
class Faults:
    """What is to go wrong, by the name of a store's method; empty: nothing does.

    A hook runs once and is gone; a failure stays until `heal`. `calls` counts what was asked.
    """

    failures: dict[str, Callable[[], Exception]] = field(default_factory=dict)
    answers: dict[str, Callable[[], Any]] = field(default_factory=dict)
    """What the next call of a method answers, in place of what the store would."""
    calls: Counter[str] = field(default_factory=Counter)
    _before: dict[str, list[Hook]] = field(default_factory=dict)
    _after: dict[str, list[Hook]] = field(default_factory=dict)

    def fail(self, method: str, error: Callable[[], Exception] = io_error) -> None:
        """Let every call of a method fail, before it has done anything."""
        self.failures[method] = error

    def heal(self, *methods: str) -> None:
        """Let methods work again; none named: all."""
        for method in methods or tuple(self.failures):
            self.failures.pop(method, None)

    def before(self, method: str, hook: Hook) -> None:
        """Run `hook` once, right before the next call of a method."""
        self._before.setdefault(method, []).append(hook)

    def after(self, method: str, hook: Hook) -> None:
        """Run `hook` once, right after the next call of a method that did not fail."""
        self._after.setdefault(method, []).append(hook)

    def forget_hooks(self) -> None:
        """Let no hook wait any longer for a call that never came."""
        self._before.clear()
        self._after.clear()

    def around(self, method: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - any method's
        """Make one call, with what was arranged for it."""
        self.calls[method] += 1
        for hook in self._before.pop(method, ()):
            hook()
        if method in self.failures:
            raise self.failures[method]()
        result = self.answers.pop(method, call)()
        for hook in self._after.pop(method, ()):
            hook()
        return result


class FaultyStore:
    """A real store with faults around each of its methods."""

    def __init__(self, store: ArtifactStore, faults: Faults) -> None:
        self._store, self._faults = store, faults

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the real store has
        found = getattr(self._store, name)
        if not callable(found):
            return found
        return lambda *values, **named: self._faults.around(name, lambda: found(*values, **named))


class FaultyWorkplace(Workplace):
    """A workplace whose stores are faulty ones; `faults` is set after it was made."""

    faults: Faults

    def store_of(self, root: str) -> Any:  # noqa: ANN401 - stands in for the local store
        """Return the store of an artifact root, with faults around it."""
        return FaultyStore(super().store_of(root), self.faults)
