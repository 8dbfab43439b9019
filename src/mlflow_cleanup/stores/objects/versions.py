"""What a bucket keeps beside the objects that are seen: their versions, and unfinished uploads.

obstore has no words for either; where there is no `Exact` that has them, nothing is said of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from mlflow_cleanup.model.item import Size
from mlflow_cleanup.stores.base import KeepGoing, Unfinished
from mlflow_cleanup.stores.objects.troubles import cleaned


class Version(NamedTuple):
    """One version of an object, or a marker that says that it was deleted (0 bytes)."""

    key: str
    id: str
    size: int


class Archive(Protocol):
    """Sees versions and uploads below a prefix."""

    def keeps_versions(self) -> bool:
        """Tell whether the bucket keeps versions of what is deleted now."""
        ...

    def versions(self, prefix: str) -> Iterator[list[Version]]:
        """List every version and deletion marker, a page at a time."""
        ...

    def delete_versions(self, versions: Sequence[Version]) -> dict[str, str]:
        """Delete versions for good; returns why, for each key that would not go."""
        ...

    def uploads(self, prefix: str) -> Iterator[Unfinished]:
        """List unfinished uploads, by their keys, with the bytes of their parts."""
        ...

    def abort(self, upload: Unfinished) -> bool:
        """End an upload and free its parts; False when it is not there any more."""
        ...


class Emptied(NamedTuple):
    """The outcome of removing versions."""

    freed: Size
    complete: bool
    failures: dict[str, str]


def remove_versions(archive: Archive, prefix: str, keep_going: KeepGoing) -> Emptied:
    """Remove every version and marker below a prefix, and look whether all are gone."""
    before, failures = Size(), dict[str, str]()
    for page in archive.versions(prefix):
        before += _size(page)
        if keep_going():
            failures.update(archive.delete_versions(page))
    left = sum((_size(page) for page in archive.versions(prefix)), Size())
    is_gone = not left.files
    freed = Size(before.files - left.files, before.bytes - left.bytes)
    shown = {key: cleaned(why) for key, why in list(failures.items())[:20]}
    return Emptied(freed, is_gone, {} if is_gone else shown)


def _size(page: Sequence[Version]) -> Size:
    return Size(len(page), sum(one.size for one in page))
