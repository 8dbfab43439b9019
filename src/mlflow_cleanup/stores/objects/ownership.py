"""The owner marker of a root in an object store: an object, written only on a condition.

Of two databases that mark one root at the same moment, the store lets one through, and the other
finds that one's marker.
"""

from __future__ import annotations

from obstore.exceptions import AlreadyExistsError, PreconditionError

from mlflow_cleanup.errors import ForeignOwner, StoreUnreachable
from mlflow_cleanup.stores import marker
from mlflow_cleanup.stores.marker import LARGEST_BYTES, NAME, Owner
from mlflow_cleanup.stores.objects.address import Address
from mlflow_cleanup.stores.objects.bucket import ERRORS, Bucket, Content
from mlflow_cleanup.stores.objects.troubles import Kind, explain


def read(bucket: Bucket, address: Address) -> tuple[Owner | None, Content | None]:
    """Return what the marker says, and its object; None: the bucket is there, but no marker."""
    try:
        content = bucket.read(address.own(NAME), LARGEST_BYTES)
        if content is None:
            require_bucket(bucket, address)
            return None, None
    except ERRORS as error:
        raise unreachable(address, error) from error
    if len(content.body) > LARGEST_BYTES:
        raise ForeignOwner(address.root, "the marker is too large to be one")
    return marker.decoded(address.root, content.body), content


def write(bucket: Bucket, address: Address, owner: Owner, over: Content | None) -> None:
    """Write the marker where there is none, or over the one that was read; and read it again."""
    if over is None:
        mode: object = "create"
    else:
        mode = {"e_tag": over.e_tag} | ({"version": over.version} if over.version else {})
    body = owner.encode()
    try:
        bucket.write(address.own(NAME), body, mode)
        found = bucket.read(address.own(NAME), LARGEST_BYTES)
    except (AlreadyExistsError, PreconditionError) as error:
        raise StoreUnreachable(
            address.root, "another process wrote its owner marker at the same moment"
        ) from error
    except ERRORS as error:
        raise StoreUnreachable(
            address.root, f"its owner marker cannot be written ({explain(error).text})"
        ) from error
    if found is None or found.body != body:
        raise StoreUnreachable(
            address.root, "its owner marker is not what was written there just now"
        )


def unreachable(address: Address, error: BaseException) -> StoreUnreachable:
    """Say that a root cannot be seen, and why."""
    trouble = explain(error)
    return StoreUnreachable(address.root, trouble.text or trouble.kind.value)


def require_bucket(bucket: Bucket, address: Address) -> None:
    """Raise unless the bucket itself is there: missing objects look alike in a missing bucket."""
    try:
        for _ in bucket.pages(address.own()):
            return
    except ERRORS as error:
        trouble = explain(error)
        text = trouble.text if trouble.kind is not Kind.MISSING else "there is no such bucket"
        raise StoreUnreachable(address.root, text) from error
