"""Opening the store of a root in a bucket, whosever interface it speaks."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet

from obstore.exceptions import BaseError

from mlflow_cleanup.errors import StoreUnreachable
from mlflow_cleanup.stores.marker import Owner
from mlflow_cleanup.stores.objects.address import Address, Cloud, address_of
from mlflow_cleanup.stores.objects.bucket import Bucket
from mlflow_cleanup.stores.objects.store import ObjectStore
from mlflow_cleanup.stores.objects.troubles import explain


def open_objects(  # noqa: PLR0913 - what a store must know is given, never asked for
    root: str,
    owner: Owner,
    *,
    is_marked: bool,
    tokens: AbstractSet[str],
    wait: Callable[[float], object],
    purges_versions: bool = False,
) -> ObjectStore:
    """Open a root's store; nothing is asked of it yet. Raises `StoreUnreachable`."""
    address = address_of(root)
    try:
        bucket = _open_bucket(address)
    except (BaseError, OSError, ValueError) as error:
        # Whatever is wrong with the settings: a file that is not there, a key that is none.
        raise StoreUnreachable(root, f"its settings: {explain(error).text}") from error
    return ObjectStore(
        address,
        bucket,
        owner,
        is_marked=is_marked,
        tokens=tokens,
        wait=wait,
        purges_versions=purges_versions,
    )


def _open_bucket(address: Address) -> Bucket:
    match address.cloud:
        case Cloud.S3:
            from mlflow_cleanup.stores.objects import s3

            return s3.open_bucket(address)
        case Cloud.GCS:
            from mlflow_cleanup.stores.objects import gcs

            return gcs.open_bucket(address)
        case Cloud.AZURE:
            from mlflow_cleanup.stores.objects import azure

            return azure.open_bucket(address)
