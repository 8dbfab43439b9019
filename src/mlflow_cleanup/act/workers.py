"""Removing several items at once, where that is faster than one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
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
    """Has stores purge items, in threads or here, as is found to be faster.

    `expected` is how many are going to come. Only stores are used in the threads: ledger and
    database stay with whoever asks.
    """

    store_of: Callable[[str], ArtifactStore]
    keep_going: KeepGoing
    expected: int
    _pace: Pace = field(init=False, default_factory=Pace)
    _pool: ThreadPoolExecutor | None = field(init=False, default=None)
    _begun: list[tuple[Item, Future[Purged]]] = field(init=False, default_factory=list)

    def make_room(self) -> Iterator[Removed]:
        """Wait until the next item can be begun at once; yields those that are done by then.

        Called before an item is looked at for the last time: none waits after that look.
        """
        if not self._is_shared:
            yield from self.rest()
        while len(self._begun) >= AT_ONCE:
            done = wait([future for _, future in self._begun], return_when=FIRST_COMPLETED).done
            ended = [one for one in self._begun if one[1] in done]
            self._begun = [one for one in self._begun if one[1] not in done]
            yield from (self._done(item, future.result) for item, future in ended)

    def remove(self, item: Item) -> Iterator[Removed]:
        """Begin to remove an item, now that there is room; yields it if it is done by now."""
        if not self._is_shared:
            yield self._done(item, lambda: self._purge(item))
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="purge")
        self._begun.append((item, self._pool.submit(self._purge, item)))

    def rest(self) -> Iterator[Removed]:
        """Wait for all that was begun."""
        while self._begun:
            item, future = self._begun.pop(0)
            yield self._done(item, future.result)

    def close(self) -> None:
        """End the threads; what they have begun they finish."""
        if self._pool is not None:
            self._pool.shutdown()

    @property
    def _is_shared(self) -> bool:
        return self.expected > FEW and self._pace.together

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
