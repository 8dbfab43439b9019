"""An Azure Blob server: Azurite, in memory, which checks signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from itertools import count
from pathlib import Path
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen
from xml.etree import ElementTree as ET

from tests.kit.servers import absent, free_port
from tests.kit.servers.programs import listens, running

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account and key that everybody's Azurite has; they open nothing else."""

_PROGRAMS = Path(__file__).parents[3] / ".servers" / "node_modules" / ".bin"


@dataclass
class Azurite:
    """A running server; each test takes a container of its own. Spoken to in its own interface."""

    port: int
    _numbers: count[int] = field(default_factory=count)

    @property
    def endpoint(self) -> str:
        """The account's URL."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        """What MLflow's users set to come here."""
        parts = {"AccountName": ACCOUNT, "AccountKey": KEY, "BlobEndpoint": self.endpoint}
        return ";".join(f"{name}={value}" for name, value in parts.items())

    def container(self) -> str:
        """Make a new container and return its name."""
        name = f"container-{next(self._numbers)}"
        self.make_container(name)
        return name

    def make_container(self, name: str) -> None:
        """Make a container."""
        self._ask("PUT", f"/{name}", {"restype": "container"})

    def delete_container(self, name: str) -> None:
        """Delete a container with all that it holds."""
        self._ask("DELETE", f"/{name}", {"restype": "container"})

    def put(self, container: str, key: str, content: bytes) -> None:
        """Store a blob."""
        self._ask("PUT", f"/{container}/{quote(key, safe='/~')}", {}, content)

    def keys(self, container: str) -> list[str]:
        """Name every blob."""
        answer = self._ask("GET", f"/{container}", {"restype": "container", "comp": "list"})
        told = ET.fromstring(answer)  # noqa: S314 - from the server above
        return [name.text or "" for name in told.iter("Name")]

    def read(self, container: str, key: str) -> bytes:
        """Read a blob."""
        return self._ask("GET", f"/{container}/{quote(key, safe='/~')}", {})

    def delete(self, container: str, key: str) -> None:
        """Delete a blob."""
        self._ask("DELETE", f"/{container}/{quote(key, safe='/~')}", {})

    def _ask(
        self, method: str, where: str, query: Mapping[str, str], body: bytes | None = None
    ) -> bytes:
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
        if body is not None:
            headers["x-ms-blob-type"] = "BlockBlob"
        told = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        asked = "".join(f"\n{name}:{value}" for name, value in sorted(query.items()))
        length = str(len(body) or "") if body is not None else ""
        kind = "application/octet-stream" if body is not None else ""
        about = f"{method}\n\n\n{length}\n\n{kind}" + "\n" * 7
        text = f"{about}{told}/{ACCOUNT}/{ACCOUNT}{where}{asked}"
        made = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(made).decode()}"
        if kind:
            headers["Content-Type"] = kind
        url = f"{self.endpoint}{where}" + (f"?{urlencode(query)}" if query else "")
        request = Request(url, body, headers, method=method)  # noqa: S310 - on loopback
        with urlopen(request) as answer:  # noqa: S310 - on loopback
            content: bytes = answer.read()
        return content


@contextmanager
def azurite() -> Iterator[Azurite]:
    """Run a server until the end of the block."""
    program = shutil.which("azurite-blob", path=str(_PROGRAMS)) or shutil.which("azurite-blob")
    if program is None:
        absent("Azurite", "make servers")
    port = free_port()
    command = [program, "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    with running(lambda _: command, lambda: listens(port), "Azurite"):
        yield Azurite(port)
