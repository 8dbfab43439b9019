"""The owner marker: which tracking database an artifact root belongs to.

It also tells a root from the empty directory that is left when a file system is not mounted: a root
that once carried the marker and does not now cannot be seen.

A copy of a database has the same experiments as the original, its ledger too where that was copied
along, and in another container both may lie at the same path. So each start writes a new token into
the marker and remembers it in the ledger: whoever comes second refuses. A database elsewhere counts
as moved only when it is the same file, with its ledger, and nothing is left where it was.

How the marker is read and written is each store's own business; what it says is here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache

from mlflow_cleanup.errors import ForeignOwner, StoreUnreachable
from mlflow_cleanup.model.entity import plain
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.model.snapshot import BackendIdentity

NAME = "owner.json"

LARGEST_BYTES = 1 << 16
"""No marker is larger; what is does not get read to its end."""

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Owner:
    """What the marker says: where the tracking database was, and by what it is recognised.

    `ledger` is the id of the ledger that wrote it; `root` where the root was then. `is_adopted`:
    an operator said that no other database uses this root. `token` is a new one at every start;
    `file` is the database's device and inode.
    """

    database: str
    identity: BackendIdentity
    ledger: str | None = None
    root: str | None = None
    is_adopted: bool = False
    token: str | None = None
    file: str | None = None

    def is_ours(self, ours: Owner, tokens: AbstractSet[str]) -> bool:
        """Tell whether this marker was written for the database and with the ledger of `ours`."""
        if not self.identity.is_same_as(ours.identity):
            return False
        is_there = self.database == ours.database or not os.path.exists(self.database)
        if self.token is None:
            return is_there  # written by an early version
        if self.ledger != ours.ledger or self.token not in tokens:
            return False
        return self.database == ours.database or (is_there and self.file == ours.file)

    def says_the_same_as(self, other: Owner) -> bool:
        """Tell whether both name the same places and the same ledger."""
        return (self.database, self.ledger, self.root, self.file) == (
            other.database,
            other.ledger,
            other.root,
            other.file,
        )

    def encode(self) -> bytes:
        """Write as JSON, with the format's number."""
        content = {
            "format": _FORMAT,
            "database": self.database,
            "experiments": dict(self.identity.anchors),
            "ledger": self.ledger,
            "root": self.root,
            "adopted": self.is_adopted,
            "token": self.token,
            "file": self.file,
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
            return cls(
                plain(str(told["database"])),
                BackendIdentity(anchors),
                _text(told.get("ledger")),
                _text(told.get("root")),
                told.get("adopted") is True,
                _text(told.get("token")),
                _text(told.get("file")),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ForeignOwner(root, f"the marker cannot be read: {error}") from error


@lru_cache(maxsize=64)
def decoded(root: str, content: bytes) -> Owner:
    """Understand each content once: it is looked at before every step."""
    return Owner.decode(root, content)


def require(
    root: str, found: Owner | None, owner: Owner, tokens: AbstractSet[str], *, expected: bool
) -> Owner | None:
    """Return the marker found at `root`, which is ours, or None where none is expected yet."""
    if found is None and expected:
        raise StoreUnreachable(
            root,
            f"its marker {RESERVED}/{NAME} is missing, as when a file system is not mounted. If "
            f"the root was emptied on purpose, run `mlflow-cleanup adopt {root}`",
        )
    if found is not None and not found.is_ours(owner, tokens):
        raise ForeignOwner(root, found.database)
    return found


def _time(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _text(value: object) -> str | None:
    return plain(value) if isinstance(value, str) else None
