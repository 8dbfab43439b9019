"""Opening the store of a root in a bucket, whosever interface it speaks."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet

from mlflow_cleanup.stores.marker import Owner
from mlflow_cleanup.stores.objects import s3
from mlflow_cleanup.stores.objects.address import address_of
from mlflow_cleanup.stores.objects.store import ObjectStore


def open_objects(
    root: str,
    owner: Owner,
    *,
    is_marked: bool,
    tokens: AbstractSet[str],
    wait: Callable[[float], object],
) -> ObjectStore:
    """Open a root's store; nothing is asked of it yet. Raises `StoreUnreachable`."""
    address = address_of(root)
    bucket = s3.open_bucket(address)
    return ObjectStore(address, bucket, owner, is_marked=is_marked, tokens=tokens, wait=wait)
