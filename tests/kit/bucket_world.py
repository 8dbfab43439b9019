"""A world whose artifacts lie in a bucket of a real S3 server, under a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_cleanup.model.objects import bucket_of
from tests.kit.object_grounds import Objects
from tests.kit.tracking_db import Value
from tests.kit.world import USUAL, Run, World, content

PREFIX = "team/mlflow"


@dataclass
class BucketWorld:
    """A story's world, and the bucket beside it, looked at and filled without our store."""

    world: World
    objects: Objects
    prefix: str

    @classmethod
    def make(
        cls,
        home: Path,
        objects: Objects,
        prefix: str = PREFIX,
        **changes: Any,  # noqa: ANN401 - settings of any type
    ) -> BucketWorld:
        """Build a world whose server keeps proxied artifacts under a prefix of the bucket."""
        root = f"{objects.uri}/{prefix}"
        settings = {"roots": (root,), "artifacts_destination": root, **changes}
        return cls(World.make(home, **settings), objects, prefix)

    @property
    def root(self) -> str:
        """The artifact root."""
        return f"{self.objects.uri}/{self.prefix}"

    @property
    def bucket(self) -> str:
        """What the bucket or container is called."""
        return bucket_of(self.objects.uri)

    def run(
        self,
        files: Mapping[str, int] | None = None,
        *,
        uri: Value = USUAL,
        experiment: str = "0",
        **columns: Value,
    ) -> Run:
        """Add an active run with objects of the given sizes, by default one of 10 bytes."""
        run = self.world.run({}, id_=None, uri=uri, experiment=experiment, **columns)
        for name, size in ({"model.bin": 10} if files is None else files).items():
            self.put(f"{experiment}/{run.id}/artifacts/{name}", size)
        return run

    def put(self, inside: str, size: int = 10) -> None:
        """Store an object somewhere under the prefix."""
        self.objects.put(f"{self.prefix}/{inside}", content(inside, size))

    def files(self, run: Run | None = None, experiment: str = "0") -> dict[str, int]:
        """Say what lies under the prefix, our own aside, or in one run's place, with sizes."""
        below = f"{self.prefix}/" + (f"{experiment}/{run.id}/artifacts/" if run else "")
        return {
            key.removeprefix(below): len(data)
            for key, data in self.objects.read().items()
            if key.startswith(below) and "/.mlflow-cleanup/" not in key
        }
