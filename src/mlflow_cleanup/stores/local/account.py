"""The account of one attempt to remove a tree."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlflow_cleanup.model.item import Size
from mlflow_cleanup.stores.base import KeepGoing

_SHOWN_FAILURES = 20


@dataclass(slots=True)
class Removal:
    """What an attempt freed, what would not go, and whether it was told to stop."""

    keep_going: KeepGoing
    freed: Size = field(default_factory=Size)
    failures: list[str] = field(default_factory=list)
    stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, freed: Size) -> None:
        """Take down what was freed; two walkers may tell at once."""
        with self._lock:
            self.freed += freed

    def failed(self, path: str, error: Exception | str) -> None:
        """Take down what would not go; only the first few are kept to be shown."""
        with self._lock:
            if len(self.failures) < _SHOWN_FAILURES:
                self.failures.append(f"{path}: {getattr(error, 'strerror', None) or error}")


def shown(failures: Iterable[str]) -> tuple[str, ...]:
    """Make paths printable: names on disk need not be valid text."""
    return tuple(item.encode("utf-8", "backslashreplace").decode() for item in failures)
