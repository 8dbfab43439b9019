"""The owner marker: which tracking database an artifact root belongs to.

It also tells a root from the empty directory that is left when a file system is not mounted: a root
that once carried the marker and does not now cannot be seen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from mlflow_cleanup.errors import ForeignOwner, StoreUnreachable, UnsafePlace
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.model.snapshot import BackendIdentity
from mlflow_cleanup.stores.local.directory import Directory, descend

NAME = "owner.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Owner:
    """What the marker says: where the tracking database was, and by what it is recognised."""

    database: str
    identity: BackendIdentity

    def encode(self) -> bytes:
        """Write as JSON, with the format's number."""
        content = {
            "format": _FORMAT,
            "database": self.database,
            "experiments": dict(self.identity.anchors),
        }
        return json.dumps(content, indent=2, sort_keys=True).encode()

    @classmethod
    def decode(cls, root: str, content: bytes) -> Owner:
        """Read a marker; one that cannot be understood is somebody else's."""
        try:
            told = json.loads(content)
            anchors = {str(key): _time(value) for key, value in told["experiments"].items()}
            if told["format"] != _FORMAT:
                raise ValueError(f"format {told['format']!r}")
            return cls(str(told["database"]), BackendIdentity(anchors))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ForeignOwner(root, f"the marker cannot be read: {error}") from error


def read(root: Directory) -> Owner | None:
    """Return the marker's content, None where there is none."""
    try:
        with descend(root, [RESERVED]) as ours:
            return Owner.decode(root.path, ours.read(NAME))
    except FileNotFoundError:
        return None
    except (UnsafePlace, OSError) as error:
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


def require(root: Directory, owner: Owner, *, expected: bool) -> None:
    """Raise unless the marker is ours, or is missing where none is expected yet."""
    found = read(root)
    if found is None and expected:
        raise StoreUnreachable(
            root.path,
            f"its marker {RESERVED}/{NAME} is missing, as when a file system is not mounted. If "
            f"the root was emptied on purpose, run `mlflow-cleanup adopt {root.path}`",
        )
    if found is not None and not found.identity.is_same_as(owner.identity):
        raise ForeignOwner(root.path, found.database)


def _time(value: object) -> int | None:
    return value if isinstance(value, int) else None
