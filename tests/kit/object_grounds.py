"""Artifact roots in object stores, for tests; filled and looked at without the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from mlflow_cleanup.model.location import RESERVED, Location
from mlflow_cleanup.stores.base import ArtifactStore
from mlflow_cleanup.stores.marker import Owner
from mlflow_cleanup.stores.opening import open_store
from tests.kit.grounds import OURS
from tests.kit.servers.azurite import ACCOUNT, Azurite
from tests.kit.servers.gcs import FakeGCS
from tests.kit.servers.seaweedfs import KEY, SECRET, SeaweedFS


class Objects(Protocol):
    """One bucket of a server, spoken to without the store."""

    uri: str

    def put(self, key: str, content: bytes) -> None:
        """Store an object."""
        ...

    def read(self) -> dict[str, bytes]:
        """Read every object, by its key."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object."""
        ...

    def take_away(self) -> None:
        """Remove the whole bucket; what it holds is remembered."""
        ...

    def bring_back(self) -> None:
        """Make the bucket again with all that it held."""
        ...


@dataclass
class ObjectGround:
    """A prefix in a bucket. `waits` takes down the pauses that the store asked for."""

    objects: Objects
    prefix: str
    waits: list[float] = field(default_factory=list)
    moves: bool = False
    has_directories: bool = False
    parents_first: bool = False
    takes_any_bytes: bool = False
    takes_control_characters: bool = True
    connections: int = 4

    def __post_init__(self) -> None:
        self.root = f"{self.objects.uri}/{self.prefix}"

    def store(self, owner: Owner = OURS, *, is_marked: bool = False) -> ArtifactStore:
        """See `Ground.store`."""
        return open_store(self.root, owner, is_marked=is_marked, wait=self.waits.append)

    def put(self, location: Location, files: Mapping[str, bytes]) -> None:
        """See `Ground.put`."""
        for name, content in files.items():
            self.objects.put("/".join((self.prefix, *location.inside, name)), content)

    def files(self) -> dict[str, bytes]:
        """See `Ground.files`."""
        below = f"{self.prefix}/"
        found = {
            key.removeprefix(below): content
            for key, content in self.objects.read().items()
            if key.startswith(below)
        }
        return {key: content for key, content in found.items() if key.split("/")[0] != RESERVED}

    def hide(self) -> None:
        """See `Ground.hide`."""
        self.objects.take_away()

    def reveal(self) -> None:
        """See `Ground.reveal`."""
        self.objects.bring_back()

    def lose_marker(self) -> None:
        """See `Ground.lose_marker`."""
        self.objects.delete(f"{self.prefix}/{RESERVED}/owner.json")

    def adopt(self) -> None:
        """See `Ground.adopt`."""
        self.store().adopt(alone=True)

    def elsewhere(self) -> ObjectGround:
        """See `Ground.elsewhere`: copied under another prefix, and removed here."""
        other = f"{self.prefix}-elsewhere"
        for key, content in self.objects.read().items():
            if key.startswith(f"{self.prefix}/"):
                self.objects.put(other + key.removeprefix(self.prefix), content)
                self.objects.delete(key)
        return ObjectGround(self.objects, other)

    def put_outside(self, content: bytes) -> None:
        """See `Ground.put_outside`."""
        self.objects.put("outside/theirs", content)

    def read_outside(self) -> bytes:
        """See `Ground.read_outside`."""
        return self.objects.read()["outside/theirs"]

    def touch(self, *_: object) -> None:
        """See `Ground.touch`; never asked of a store without directories."""
        raise NotImplementedError

    def make(self, *_: object) -> None:
        """See `Ground.make`; likewise."""
        raise NotImplementedError

    def link(self, *_: object) -> None:
        """See `Ground.link`; likewise."""
        raise NotImplementedError

    def second_name(self, *_: object) -> None:
        """See `Ground.second_name`; likewise."""
        raise NotImplementedError

    def unlistable(self, *_: object) -> AbstractContextManager[None]:
        """See `Ground.unlistable`; likewise."""
        raise NotImplementedError

    def vanishing(self, *_: object) -> AbstractContextManager[None]:
        """See `Ground.vanishing`; likewise."""
        raise NotImplementedError


@dataclass
class S3Objects:
    """A bucket of SeaweedFS."""

    server: SeaweedFS
    bucket: str
    _held: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.uri = f"s3://{self.bucket}"

    def put(self, key: str, content: bytes) -> None:
        """See `Objects.put`."""
        self.server.client.put_object(Bucket=self.bucket, Key=key, Body=content)

    def keys(self) -> list[str]:
        """Name every object."""
        pages = self.server.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def read(self) -> dict[str, bytes]:
        """See `Objects.read`."""
        get: Any = self.server.client.get_object
        return {key: get(Bucket=self.bucket, Key=key)["Body"].read() for key in self.keys()}

    def delete(self, key: str) -> None:
        """See `Objects.delete`."""
        self.server.client.delete_object(Bucket=self.bucket, Key=key)

    def take_away(self) -> None:
        """See `Objects.take_away`."""
        self._held = self.read()
        for key in self._held:
            self.delete(key)
        self.server.client.delete_bucket(Bucket=self.bucket)

    def bring_back(self) -> None:
        """See `Objects.bring_back`."""
        self.server.client.create_bucket(Bucket=self.bucket)
        for key, content in self._held.items():
            self.put(key, content)


@dataclass
class GCSObjects:
    """A bucket of fake-gcs-server."""

    server: FakeGCS
    bucket: str
    _held: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.uri = f"gs://{self.bucket}"

    def put(self, key: str, content: bytes) -> None:
        """See `Objects.put`."""
        self.server.put(self.bucket, key, content)

    def read(self) -> dict[str, bytes]:
        """See `Objects.read`."""
        keys = self.server.keys(self.bucket)
        return {key: self.server.read(self.bucket, key) for key in keys}

    def delete(self, key: str) -> None:
        """See `Objects.delete`."""
        self.server.delete(self.bucket, key)

    def take_away(self) -> None:
        """See `Objects.take_away`."""
        self._held = self.read()
        for key in self._held:
            self.delete(key)
        self.server.delete_bucket(self.bucket)

    def bring_back(self) -> None:
        """See `Objects.bring_back`."""
        self.server.make_bucket(self.bucket)
        for key, content in self._held.items():
            self.put(key, content)


@dataclass
class AzureObjects:
    """A container of Azurite."""

    server: Azurite
    container: str
    _held: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.uri = f"wasbs://{self.container}@{ACCOUNT}.blob.core.windows.net"

    def put(self, key: str, content: bytes) -> None:
        """See `Objects.put`."""
        self.server.put(self.container, key, content)

    def read(self) -> dict[str, bytes]:
        """See `Objects.read`."""
        keys = self.server.keys(self.container)
        return {key: self.server.read(self.container, key) for key in keys}

    def delete(self, key: str) -> None:
        """See `Objects.delete`."""
        self.server.delete(self.container, key)

    def take_away(self) -> None:
        """See `Objects.take_away`."""
        self._held = self.read()
        self.server.delete_container(self.container)

    def bring_back(self) -> None:
        """See `Objects.bring_back`."""
        self.server.make_container(self.container)
        for key, content in self._held.items():
            self.put(key, content)


NewRoot = Callable[[str], ObjectGround]
Server = Callable[[pytest.FixtureRequest, pytest.MonkeyPatch], NewRoot]


def on_s3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> NewRoot:
    """Give roots on SeaweedFS, found as MLflow would find it."""
    server: SeaweedFS = request.getfixturevalue("s3_server")
    use_s3(server.endpoint, monkeypatch)
    return lambda prefix: ObjectGround(S3Objects(server, server.bucket()), prefix)


def use_s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment that MLflow's users set for a server of their own."""
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


def on_gcs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> NewRoot:
    """Give roots on fake-gcs-server, found as Google's own library finds it."""
    server: FakeGCS = request.getfixturevalue("gcs_server")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.endpoint)
    return lambda prefix: ObjectGround(GCSObjects(server, server.bucket()), prefix)


def on_azure(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> NewRoot:
    """Give roots on Azurite, with the connection string of MLflow's users."""
    server: Azurite = request.getfixturevalue("azure_server")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", server.connection_string)

    def build(prefix: str) -> ObjectGround:
        objects = AzureObjects(server, server.container())
        return ObjectGround(objects, prefix, takes_control_characters=False)  # Azurite's own limit

    return build


OBJECT_BUILDERS: dict[str, Server] = {"s3": on_s3, "gcs": on_gcs, "azure": on_azure}
"""Every kind of object store; each name is a test's parameter."""
