"""The owner marker of a local root: a file in our own directory, never read through a link."""

from __future__ import annotations

import errno
from collections.abc import Set as AbstractSet

from mlflow_cleanup.errors import ForeignOwner, StoreUnreachable, UnsafePlace
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.stores import marker
from mlflow_cleanup.stores.local.directory import Directory, descend
from mlflow_cleanup.stores.marker import NAME, Owner


def read(root: Directory) -> Owner | None:
    """Return the marker's content, None where there is none."""
    try:
        with descend(root, [RESERVED]) as ours:
            return marker.decoded(root.path, ours.read(NAME))
    except FileNotFoundError:
        return None
    except (UnsafePlace, OSError) as error:
        if getattr(error, "errno", None) == errno.EFBIG:
            raise ForeignOwner(root.path, "the marker is too large to be one") from error
        raise StoreUnreachable(root.path, f"its owner marker cannot be read ({error})") from error


def write(root: Directory, owner: Owner) -> None:
    """Write the marker, in place of any that is there."""
    try:
        with descend(root, [RESERVED], make=True) as ours:
            ours.write(NAME, owner.encode())
    except (UnsafePlace, OSError) as error:
        raise StoreUnreachable(
            root.path, f"its owner marker cannot be written ({error})"
        ) from error


def require(
    root: Directory, owner: Owner, tokens: AbstractSet[str], *, expected: bool
) -> Owner | None:
    """Return the marker, which is ours, or None where none is expected yet; raise otherwise."""
    return marker.require(root.path, read(root), owner, tokens, expected=expected)
