"""Removing everything below a prefix, and looking whether it is gone.

A store's word is not enough: a request may be answered well and delete nothing, or half of it. So
what is there is listed again after each round, until nothing is left or a round changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from mlflow_cleanup.model.item import Size
from mlflow_cleanup.stores.base import KeepGoing
from mlflow_cleanup.stores.objects.bucket import ERRORS, Bucket, Exact, Found, Unnameable
from mlflow_cleanup.stores.objects.flow import MOST_TOGETHER, Gate
from mlflow_cleanup.stores.objects.troubles import Kind, Trouble, cleaned, explain

ATTEMPTS = 6
"""Times that a batch is tried while the store says that it is too much: half a minute in all."""

ROUNDS = 5
SHOWN = 20
"""Objects that are asked for one by one, to tell why they would not go."""

STILL_THERE = "it is still there after the store said that it was deleted"
LOOK_AGAIN_S = 1.0
"""Before that is believed: some stores show for a moment what is gone."""

HOPELESS = 10
"""Batches in a row that fail, as where nothing may be deleted at all."""

Batch = list[Found]


@dataclass(slots=True)
class Account:
    """What one removal has seen and done so far."""

    keep_going: KeepGoing
    failures: dict[str, str] = field(default_factory=dict)
    stopped: bool = False
    is_partly_unseen: bool = False
    _in_a_row: int = 0

    def count(self, trouble: Trouble | None) -> None:
        """Take down how a batch went."""
        self._in_a_row = self._in_a_row + 1 if trouble else 0

    @property
    def is_hopeless(self) -> bool:
        """Tell whether so many batches in a row failed that the rest of them would too."""
        return self._in_a_row >= HOPELESS

    def start_over(self) -> None:
        """Forget what failed: what is left is asked for again."""
        self.failures.clear()
        self.is_partly_unseen, self._in_a_row = False, 0

    def failed(self, keys: Iterable[str], why: str) -> None:
        """Take down what would not go; the first few are kept to be shown."""
        for key in keys:
            if len(self.failures) >= SHOWN:
                return
            self.failures.setdefault(key, why)


class Tally:
    """Adds up what is listed."""

    def __init__(self) -> None:
        self.size = Size()

    def add(self, page: Batch) -> None:
        """Add a page."""
        self.size += Size(len(page), sum(one.size for one in page))

    def start_over(self) -> None:
        """Forget what was added: it is listed again."""
        self.size = Size()


@dataclass(frozen=True, slots=True)
class Removed:
    """The outcome: what is gone, whether that is all, and why not, by key."""

    freed: Size
    complete: bool
    failures: dict[str, str]


class Removal:
    """Removes what lies below a prefix. `wait_s` pauses; `gate` is shared by all of one store."""

    def __init__(self, bucket: Bucket, gate: Gate, wait_s: Callable[[float], object]) -> None:
        self._bucket, self._gate, self._wait = bucket, gate, wait_s

    def run(self, prefix: str, keep_going: KeepGoing) -> Removed:
        """Remove; raises obstore's errors where nothing can be listed."""
        account = Account(keep_going)
        first = left = self._round(prefix, account)
        for number in range(ROUNDS):
            if not left.files or account.stopped:
                break
            before, left = left, self._size(prefix, account)
            if not left.files or account.stopped:
                break
            if left.files >= before.files or number == ROUNDS - 1:
                left = self._insist(prefix, account)
                break
            account.start_over()
            self._round(prefix, account)
        if account.stopped:
            left = self._size(prefix, account)
        freed = Size(max(first.files - left.files, 0), max(first.bytes - left.bytes, 0))
        is_gone = not left.files and not account.is_partly_unseen
        return Removed(freed, is_gone, {} if is_gone else account.failures)

    def _round(self, prefix: str, account: Account) -> Size:
        """List and delete all at once; returns what was there."""
        tally = Tally()

        def batches() -> Iterator[list[str]]:
            for page in self._pages(prefix, account):  # what it told first is deleted by then
                tally.add(page)
                # The slash of a directory's own object would be lost on the way: another key.
                yield [one.key for one in page if not one.key.endswith("/")]

        self._in_turn(batches(), account)
        return tally.size

    def _pages(
        self, prefix: str, account: Account, start_over: Callable[[], object] | None = None
    ) -> Iterator[Batch]:
        try:
            yield from self._bucket.pages(prefix, start_over)
        except Unnameable as error:
            account.is_partly_unseen = True
            account.failed([prefix], str(error))

    def _in_turn(self, batches: Iterable[list[str]], account: Account) -> None:
        """Have one batch after the other deleted, several in flight when there are several."""
        pool: ThreadPoolExecutor | None = None
        begun: set[Future[None]] = set()
        waiting: list[str] | None = None
        try:
            for batch in filter(None, batches):
                account.stopped = account.stopped or not account.keep_going()
                if account.stopped or account.is_hopeless:
                    continue  # counted, as it is there
                if waiting is not None:
                    pool = pool or ThreadPoolExecutor(MOST_TOGETHER, "delete")
                    begun.add(pool.submit(self._delete, waiting, account))
                    if len(begun) >= MOST_TOGETHER:
                        begun = wait(begun, return_when=FIRST_COMPLETED).not_done
                waiting = batch
            if waiting is not None and not account.stopped:
                self._delete(waiting, account)
        finally:
            if pool is not None:
                pool.shutdown()

    def _delete(self, keys: list[str], account: Account) -> None:
        """Delete a batch, in smaller ones while the store says that it is too much."""
        parts, attempts = [keys], 0
        while parts and account.keep_going():
            size = self._gate.flow.batch
            part, rest = parts[0][:size], parts[0][size:]
            trouble = self._delete_part(part)
            if trouble is not None and trouble.kind is Kind.BUSY and attempts < ATTEMPTS:
                attempts += 1
                self._wait(self._gate.flow.pause_s)
                continue
            account.count(trouble)
            if trouble is not None:
                account.failed(part, trouble.text)
            parts[:1] = [rest] if rest else []
        if parts:
            account.stopped = True

    def _delete_part(self, keys: list[str]) -> Trouble | None:
        with self._gate as epoch:
            trouble = self._ask(keys)
        if trouble is None:
            self._gate.went_well()
        elif trouble.kind is Kind.BUSY:
            self._gate.was_too_much(epoch)
        elif trouble.kind is Kind.MISSING:
            # Somebody else removed one; some stores then leave the rest of the batch.
            reasons = self._one_by_one(keys)
            return None if not reasons else Trouble(Kind.OTHER, next(iter(reasons.values())))
        return trouble

    def _ask(self, keys: list[str]) -> Trouble | None:
        try:
            self._bucket.delete(keys)
        except ERRORS as error:
            trouble = explain(error)
            if trouble.kind is Kind.NO_BULK and self._bucket.do_without_bulk():
                return self._ask(keys)
            return trouble
        except TypeError:  # what obstore says of a list with a key that it cannot name
            return Trouble(Kind.MISSING, "it cannot be named")
        return None

    def _one_by_one(self, keys: Sequence[str]) -> dict[str, str]:
        """Delete each by itself, several in flight; returns why, for each that would not go."""
        with self._gate:
            return asyncio.run(_each(self._bucket, keys, self._gate.flow.together))

    def _insist(self, prefix: str, account: Account) -> Size:
        """Ask once more for what a round did not move, so that each says why."""
        self._wait(LOOK_AGAIN_S)
        if (exact := self._bucket.exact) is not None:
            for page in self._bucket.exact_pages(prefix):
                self._insist_on(exact, [one.key for one in page], account)
                if len(account.failures) >= SHOWN or not account.keep_going():
                    break
        else:
            page = next(self._pages(prefix, account), [])
            keys = [one.key for one in page[:SHOWN] if not one.key.endswith("/")]
            account.failures.update(self._one_by_one(keys))
        left = self._size(prefix, account)
        if left.files:
            self._explain_silence(prefix, account)
        return left

    def _insist_on(self, exact: Exact, keys: list[str], account: Account) -> None:
        try:
            reasons = exact.delete(keys)
        except ERRORS as error:
            account.failed(keys, explain(error).text)
            return
        for key in keys:
            account.failures.pop(key, None)  # what was said of its batch
        account.failed(reasons, "")
        account.failures.update(
            {key: cleaned(why) for key, why in reasons.items() if key in account.failures}
        )

    def _explain_silence(self, prefix: str, account: Account) -> None:
        """Name what is left without a reason."""
        for one in next(self._pages(prefix, account), [])[:SHOWN]:
            why = STILL_THERE
            if self._bucket.exact is None and not self._bucket.has_object(one.key):
                why = self._bucket.why_not_exact  # named without the slash that it ends with
            account.failures.setdefault(one.key, why)

    def _size(self, prefix: str, account: Account) -> Size:
        tally = Tally()
        for page in self._pages(prefix, account, tally.start_over):
            tally.add(page)
        return tally.size


async def _each(bucket: Bucket, keys: Sequence[str], together: int) -> dict[str, str]:
    turns = asyncio.Semaphore(max(together, 1) * 8)

    async def one(key: str) -> str | None:
        async with turns:
            try:
                await bucket.delete_one(key)
            except ERRORS as error:
                trouble = explain(error)
                return None if trouble.kind is Kind.MISSING else trouble.text
            except TypeError:
                return "it cannot be named"
        return None

    reasons = await asyncio.gather(*map(one, keys))
    return {key: why for key, why in zip(keys, reasons, strict=True) if why is not None}
