"""Removing several items at once, where that is faster than one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from mlflow_cleanup.errors import CleanupError
from mlflow_cleanup.model.item import Item
from mlflow_cleanup.stores.base import ArtifactStore, KeepGoing, Purged
from mlflow_cleanup.stores.pace import Pace

AT_ONCE = 4
"""More than so many wait for the same journal, on ext4."""

FEW = 8
"""For so few a thread is not begun."""

Removed = tuple[Item, Purged | Exception]


@dataclass(slots=True)
class Workers:
    """Has stores purge items, in threads or here, as is found to be faster; tells in their order.

    `expected` is how many are going to come. Only stores are used in the threads: ledger and
    database stay with whoever asks.
    """

    store_of: Callable[[str], ArtifactStore]
    keep_going: KeepGoing
    expected: int
    _pace: Pace = field(init=False, default_factory=Pace)
    _pool: ThreadPoolExecutor | None = field(init=False, default=None)
    _begun: deque[tuple[Item, Future[Purged]]] = field(init=False, default_factory=deque)

    def remove(self, item: Item) -> Iterator[Removed]:
        """Begin to remove an item; yields those that are done by now, this one maybe later."""
        if self.expected <= FEW or not self._pace.together:
            yield from self.rest()
            yield self._done(item, lambda: self._purge(item))
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="purge")
        self._begun.append((item, self._pool.submit(self._purge, item)))
        if len(self._begun) > AT_ONCE:
            yield self._next()

    def rest(self) -> Iterator[Removed]:
        """Wait for all that was begun."""
        while self._begun:
            yield self._next()

    def close(self) -> None:
        """End the threads; what they have begun they finish."""
        if self._pool is not None:
            self._pool.shutdown()

    def _next(self) -> Removed:
        item, future = self._begun.popleft()
        return self._done(item, future.result)

    def _done(self, item: Item, result: Callable[[], Purged]) -> Removed:
        try:
            purged = result()
        except (CleanupError, OSError) as error:
            return item, error
        self._pace.count(purged.freed.files + 1)
        return item, purged

    def _purge(self, item: Item) -> Purged:
        store = self.store_of(item.location.root)
        store.check()
        return store.purge(item, self.keep_going)
