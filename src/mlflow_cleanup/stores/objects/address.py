"""Where an artifact root lies in an object store, and the exact keys below it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from mlflow_cleanup.errors import StoreUnreachable, UnsafePlace
from mlflow_cleanup.model.location import RESERVED

_URI = re.compile(r"(?P<scheme>[a-z0-9]+)://(?P<authority>[^/]+)(?:/(?P<prefix>.*))?", re.DOTALL)
_AZURE = re.compile(r"(?P<container>[^@]+)@(?P<account>[^.@]+)\.(?P<suffix>.+)")


class Cloud(str, Enum):
    """Whose interface a store speaks; the value is the scheme of its roots."""

    S3 = "s3"
    GCS = "gs"
    AZURE = "wasbs"


@dataclass(frozen=True, slots=True)
class Address:
    """A root taken apart: `bucket` is Azure's container, `account` and `suffix` are Azure's only.

    `base` is what the key of everything below the root begins with: empty, or ending with a slash.
    """

    root: str
    cloud: Cloud
    bucket: str
    base: str
    account: str = ""
    suffix: str = ""

    def key(self, inside: Sequence[str]) -> str:
        """Return the key of a place below the root, without a last slash.

        Raises `UnsafePlace` for the root itself, for what is our own, and for names that could be
        read as leading elsewhere.
        """
        where = self.root + "/" + "/".join(inside)
        if not inside or inside == ("",):
            raise UnsafePlace(self.root, "an artifact root is never removed as a whole")
        if inside[0] == RESERVED:
            raise UnsafePlace(where, "it is mlflow-cleanup's own")
        if any("/" in name or name in (".", "..") for name in inside):
            raise UnsafePlace(where, "it does not lead straight down from the root")
        return self.base + "/".join(inside)

    def below(self, inside: Sequence[str]) -> str:
        """Return what the keys of everything in a place begin with: exactly it and a slash."""
        return self.key(inside) + "/"

    def own(self, name: str = "") -> str:
        """Return the key of something in our own directory, or what all of them begin with."""
        return f"{self.base}{RESERVED}/{name}"


def is_object_root(root: str) -> bool:
    """Tell whether a root's name says that it lies in an object store."""
    return root.partition("://")[0] in {cloud.value for cloud in Cloud} and "://" in root


def address_of(root: str) -> Address:
    """Take a root's URI apart, which is never decoded; raises StoreUnreachable."""
    match = _URI.fullmatch(root)
    if match is None or not is_object_root(root):
        raise StoreUnreachable(root, "it names no bucket")
    cloud, bucket, prefix = Cloud(match["scheme"]), match["authority"], match["prefix"] or ""
    base = f"{prefix}/" if prefix else ""
    if cloud is not Cloud.AZURE:
        return Address(root, cloud, bucket, base)
    parts = _AZURE.fullmatch(bucket)
    if parts is None:
        raise StoreUnreachable(root, "it names no container of an account")
    return Address(root, cloud, parts["container"], base, parts["account"], parts["suffix"])
