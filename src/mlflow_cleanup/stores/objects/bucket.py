"""One bucket: listing, reading, writing and deleting by exact keys.

obstore does the work. Its paths are not keys, though: it cannot name a key with an empty part, a
part `.` or `..` or a control character, a listing breaks off at the first of them, and a last slash
is lost. So a listing that breaks off goes on with `Exact`, which names everything, where there is
one; and what is left after a removal goes the same way.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import obstore
from obstore.exceptions import BaseError, InvalidPathError

from mlflow_cleanup.stores.objects.troubles import Kind, Told, Trouble
from mlflow_cleanup.stores.objects.versions import Archive

PAGE = 1_000
HEADS_TOGETHER = 32

ERRORS = (BaseError, OSError, ValueError, Told)
"""Everything that obstore raises; `explain` says what it means."""

_REPLACED = "\ufffd"
"""What some stores tell in place of a character that their answers cannot hold."""

_UNNAMEABLE = re.compile(r"//|^/|(?:^|/)\.{1,2}(?:/|$)|[\x00-\x1f\x7f]")


class Found(NamedTuple):
    """An object: its key, its size in bytes, and when it was written by the store's clock."""

    key: str
    size: int
    written_at: float


class Content(NamedTuple):
    """A small object as it was read, with what tells this version of it from others."""

    body: bytes
    e_tag: str | None
    version: str | None


class Unnameable(Exception):
    """Something lies there whose key cannot be told, and there is no other way to ask for it."""


class Exact(Protocol):
    """Names every key, slower than obstore does."""

    def pages(self, prefix: str, after: str) -> Iterator[list[Found]]:
        """List what begins with `prefix` and sorts after `after`."""
        ...

    def delete(self, keys: Sequence[str]) -> dict[str, str]:
        """Delete objects; returns why, for each that would not go."""
        ...


def is_nameable(key: str) -> bool:
    """Tell whether obstore gives and takes this key as it is."""
    return not key.endswith("/") and _UNNAMEABLE.search(key) is None


class Bucket:
    """A bucket as obstore sees it, helped out by `exact` where that is not all.

    `why_not_exact` says what to do where there is none. `archive` sees versions and unfinished
    uploads; `endpoint` is a URL at which the store's clock can be read. `without_bulk` opens the
    bucket for a server that deletes only one key at a time.
    """

    def __init__(  # noqa: PLR0913 - what a kind of store offers is given by who opens it
        self,
        store: Any,  # noqa: ANN401 - one of obstore's
        exact: Exact | None,
        why_not: str = "",
        *,
        endpoint: str = "",
        archive: Archive | None = None,
        without_bulk: Callable[[], Any] | None = None,
    ) -> None:
        self._store, self.exact, self.why_not_exact = store, exact, why_not
        self.endpoint, self.archive = endpoint, archive
        self._without_bulk = without_bulk
        self.why_no_archive = why_not or "its versions cannot be removed in this kind of store"

    def pages(
        self, prefix: str, start_over: Callable[[], object] | None = None
    ) -> Iterator[list[Found]]:
        """List all objects whose keys begin with `prefix`, which is empty or ends with a slash.

        Where it has to go on in another way, it goes on after the last key, in the order of code
        points, which not every store need have; or calls `start_over`, and begins again.

        Keys that end with a slash have lost it, that of the prefix itself excepted, unless
        something else could not be named either. Raises `Unnameable` where a part of it cannot be
        listed.
        """
        last = ""
        if not prefix or is_nameable(prefix[:-1]):
            try:
                for page in _ending(self._named(prefix)):
                    yield page
                    last = page[-1].key if page else last
            except InvalidPathError as error:
                if self.exact is None:
                    raise Unnameable(self.why_not_exact) from error
            else:
                return
        if start_over is not None:
            start_over()
        yield from self.exact_pages(prefix, "" if start_over is not None else last)

    def exact_pages(self, prefix: str, after: str = "") -> Iterator[list[Found]]:
        """List by the other way, which names everything."""
        if self.exact is None:
            raise Unnameable(self.why_not_exact)
        for page in _ending(self.exact.pages(prefix, after)):
            yield _below(page, prefix)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; raises at the first that would not go."""
        obstore.delete(self._store, list(keys))

    def do_without_bulk(self) -> bool:
        """Delete one key with each request from now on; False where that is so already."""
        if self._without_bulk is None:
            return False
        self._store, self._without_bulk = self._without_bulk(), None
        return True

    async def delete_one(self, key: str) -> None:
        """Delete one object, several at once."""
        await obstore.delete_async(self._store, key)

    def has_object(self, key: str) -> bool:
        """Tell whether there is an object of exactly this key."""
        try:
            obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        return True

    def which_exist(self, keys: Sequence[str]) -> frozenset[str]:
        """Tell of which keys there is an object, asked for several at once."""
        return asyncio.run(self._which_exist(keys))

    async def _which_exist(self, keys: Sequence[str]) -> frozenset[str]:
        turns = asyncio.Semaphore(HEADS_TOGETHER)

        async def one(key: str) -> bool:
            async with turns:
                try:
                    await obstore.head_async(self._store, key)
                except FileNotFoundError:
                    return False
            return True

        found = await asyncio.gather(*map(one, keys))
        return frozenset(key for key, is_there in zip(keys, found, strict=True) if is_there)

    def version_of(self, key: str) -> str | None:
        """Return an object's version; None where the store keeps none, or the key has none."""
        if not is_nameable(key):
            return None
        try:
            version: str | None = obstore.head(self._store, key)["version"]
        except FileNotFoundError:
            return None
        return version

    def keeps_versions(self, version: str | None) -> bool:
        """Tell whether what is deleted is kept as a version, by a version of something there.

        "null" is what versions are called that were written before the bucket kept any, and while
        it keeps no new ones: then it is asked, and where it cannot be, nothing counts as freed.
        """
        if version == "null" and self.archive is not None:
            return self.archive.keeps_versions()
        return version is not None

    def read(self, key: str, at_most: int) -> Content | None:
        """Read a small object, no more than a byte over `at_most`; None: it is not there."""
        try:
            answer = obstore.get(self._store, key)
        except FileNotFoundError:
            return None
        meta = answer.meta
        too_large = meta["size"] > at_most
        body = b" " * (at_most + 1) if too_large else bytes(answer.bytes())
        return Content(body, meta["e_tag"], meta["version"])

    def write(self, key: str, body: bytes, mode: Any) -> None:  # noqa: ANN401 - obstore's own
        """Write a small object on a condition; see obstore's `PutMode`."""
        obstore.put(self._store, key, body, mode=mode, use_multipart=False)

    def _named(self, prefix: str) -> Iterator[list[Found]]:
        for rows in obstore.list(self._store, prefix[:-1] or None, chunk_size=PAGE):
            page = [
                Found(row["path"], row["size"], row["last_modified"].timestamp()) for row in rows
            ]
            if any(_REPLACED in one.key for one in page):
                raise InvalidPathError("a name holds what XML cannot tell")
            yield _below(page, prefix)


def _ending(pages: Iterable[list[Found]]) -> Iterator[list[Found]]:
    """Let no store go on for ever: one that names a page again as its own next lists nothing."""
    before = None
    for page in pages:
        if page and (ends := (page[0].key, page[-1].key)) == before:
            raise Told(Trouble(Kind.OTHER, "it lists the same objects again and again"))
        if page:
            before = ends
        yield page


def _below(page: list[Found], prefix: str) -> list[Found]:
    """Keep to what begins exactly so; the prefix without its slash can only be its own object."""
    return [
        one if one.key != prefix[:-1] else one._replace(key=prefix)
        for one in page
        if one.key.startswith(prefix) or (prefix and one.key == prefix[:-1])
    ]
