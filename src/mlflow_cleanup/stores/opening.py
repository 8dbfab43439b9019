"""Which store an artifact root needs, by the scheme of its name."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet

from mlflow_cleanup.stores.base import ArtifactStore
from mlflow_cleanup.stores.local.store import LocalStore
from mlflow_cleanup.stores.marker import Owner
from mlflow_cleanup.stores.objects.address import is_object_root


def open_store(  # noqa: PLR0913 - what a store must know is given, never asked for
    root: str,
    owner: Owner,
    *,
    is_marked: bool = False,
    tokens: AbstractSet[str] = frozenset(),
    wait: Callable[[float], object],
    listers: int = 0,
    purges_versions: bool = False,
) -> ArtifactStore:
    """Open the store of an artifact root; nothing is asked of it yet.

    `owner` is what its marker must say, with one of `tokens`; `is_marked` whether a marker was
    written there before, so that its absence means the root cannot be seen. `wait` pauses between
    attempts. `listers` are processes that help to list a large local root; `purges_versions` lets
    a purge remove what a bucket keeps as versions, too.
    """
    if is_object_root(root):
        from mlflow_cleanup.stores.objects.opening import open_objects

        return open_objects(
            root,
            owner,
            is_marked=is_marked,
            tokens=tokens,
            wait=wait,
            purges_versions=purges_versions,
        )
    return LocalStore(root, owner, is_marked=is_marked, tokens=tokens, wait=wait, listers=listers)
