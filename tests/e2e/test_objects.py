"""A real MLflow server that keeps its artifacts in a bucket of a real S3 server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.kit.object_grounds import S3Objects
from tests.kit.programs import until
from tests.kit.rest import Run
from tests.kit.server import Site
from tests.kit.servers.seaweedfs import KEY, SECRET, SeaweedFS

pytestmark = pytest.mark.e2e

FILES = {"a.txt": b"a" * 10, "plots/b c.txt": b"b" * 100, "plots/ä+&=.txt": b"c" * 1_000}
PREFIX = "team/x"


@pytest.fixture(scope="module")
def objects(s3_server: SeaweedFS) -> S3Objects:
    """A bucket of its own."""
    return S3Objects(s3_server, s3_server.bucket())


@pytest.fixture(scope="module")
def environment(objects: S3Objects) -> Mapping[str, str]:
    """What MLflow's users set for a server of their own."""
    return {
        "MLFLOW_S3_ENDPOINT_URL": objects.server.endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture(scope="module")
def in_bucket(
    tmp_path_factory: pytest.TempPathFactory,
    used_database: Path,
    objects: S3Objects,
    environment: Mapping[str, str],
) -> Iterator[Site]:
    """A site where `mlflow-cleanup ui` runs with MLflow's flags for a bucket."""
    site = Site(tmp_path_factory.mktemp("in-bucket"))
    shutil.copyfile(used_database, site.database)
    site.serve(
        *("--artifact-root", f"{objects.uri}/direct"),
        *("--artifacts-destination", f"{objects.uri}/{PREFIX}/"),
        environment=environment,
    )
    yield site
    site.close()


def objects_of(objects: S3Objects, run: Run, prefix: str = PREFIX) -> dict[str, bytes]:
    """Read what lies in a run's place."""
    below = f"{prefix}/{run.experiment}/{run.id}/artifacts/"
    found = objects.read()
    return {key.removeprefix(below): found[key] for key in found if key.startswith(below)}


def test_proxied_run_is_held_and_comes_back(in_bucket: Site, objects: S3Objects) -> None:
    """Delete in MLflow holds the objects in place, Restore lets go of them, byte for byte."""
    mlflow = in_bucket.tracking
    run = mlflow.log_run(FILES)
    assert objects_of(objects, run) == FILES

    mlflow.delete(run)
    until(lambda: in_bucket.events(run) == ["quarantined"], "the run is held")
    (item,) = in_bucket.held()
    assert (item["held"], item["origin"], item["files"]) == (
        "in place",
        f"{objects.uri}/{PREFIX}/0/{run.id}/artifacts",
        3,
    )
    mlflow.restore(run)
    until(lambda: in_bucket.events(run) == ["quarantined", "restored"], "the run is back")

    assert {name: mlflow.download(run, name) for name in FILES} == FILES
    assert in_bucket.held() == []


def test_purge_removes_just_the_runs_objects(
    in_bucket: Site, objects: S3Objects, environment: Mapping[str, str]
) -> None:
    """`trash purge` beside the monitor: the objects are gone, another run's are not."""
    mlflow = in_bucket.tracking
    run, other = mlflow.log_run(FILES), mlflow.log_run(FILES)
    mlflow.delete(run)
    until(lambda: in_bucket.events(run) == ["quarantined"], "the run is held")

    said = in_bucket.say("trash", "purge", run.id, "--yes", environment=environment)

    assert said.code == 0, said
    assert objects_of(objects, run) == {}
    assert objects_of(objects, other) == FILES
    (purged,) = (item for item in in_bucket.history(run) if item["event"] == "purged")
    assert (purged["files"], purged["bytes"]) == (3, 1_110)


def test_run_that_clients_write_directly_is_held(in_bucket: Site, objects: S3Objects) -> None:
    """An experiment with a place in a bucket of its own, under a root that was named."""
    mlflow = in_bucket.tracking
    experiment = mlflow.create_experiment(f"{objects.uri}/direct/mine")
    run = mlflow.create_run(experiment)
    assert run.artifact_uri == f"{objects.uri}/direct/mine/{run.id}/artifacts"
    objects.put(f"direct/mine/{run.id}/artifacts/a", b"abc")
    mlflow.finish(run)

    mlflow.delete(run)
    until(lambda: in_bucket.events(run) == ["quarantined"], "the run is held")

    assert objects.read()[f"direct/mine/{run.id}/artifacts/a"] == b"abc"


def test_place_that_nobody_named_is_left_alone(in_bucket: Site, objects: S3Objects) -> None:
    """A client's own place in a bucket counts only where an operator named it."""
    mlflow = in_bucket.tracking
    run = mlflow.create_run(mlflow.create_experiment(f"{objects.uri}/elsewhere"))
    objects.put(f"elsewhere/{run.id}/artifacts/a", b"abc")

    mlflow.delete(run)
    until(lambda: run.id in in_bucket.kept(), "the run is kept")

    assert in_bucket.kept()[run.id].startswith("not under a configured artifact root")


def test_verbs_read_a_bucket(
    in_bucket: Site, objects: S3Objects, environment: Mapping[str, str]
) -> None:
    """`plan`, `usage` and `doctor` with the server's flag see what lies there."""
    in_bucket.tracking.log_run(FILES)
    where = ("--artifacts-destination", f"{objects.uri}/{PREFIX}")

    plan, usage, doctor = (
        in_bucket.say(verb, *where, "--json", environment=environment)
        for verb in ("plan", "usage", "doctor")
    )

    roots = {root["root"]: root for root in plan.json()["roots"]}
    assert roots[f"{objects.uri}/{PREFIX}"]["live_places"] >= 1
    assert usage.json()["bytes"] >= 1_110
    found = [one for one in doctor.json() if one["subject"] == f"root {objects.uri}/{PREFIX}"]
    assert [one["level"] for one in found] == ["good"]


def test_gc_empties_a_bucket(
    site: Site, objects: S3Objects, environment: Mapping[str, str]
) -> None:
    """`mlflow-cleanup gc` without a server: objects first, then the row."""
    destination = ("--artifacts-destination", f"{objects.uri}/gc")
    words = ("mlflow", "ui", *destination, "--workers", "1", "--port", str(site.port))
    server = site.healthy(site.start(*words, environment=environment))
    run, other = (site.tracking.log_run(FILES) for _ in range(2))
    site.tracking.delete(run)
    server.end()

    said = site.say("gc", *destination, "--yes", "--json", environment=environment)

    assert said.code == 0, said
    assert objects_of(objects, run, "gc") == {}
    assert objects_of(objects, other, "gc") == FILES
    assert said.json()["counts"]["removed"] == 1
