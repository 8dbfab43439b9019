"""Verbs on an artifact root in a bucket of a real S3 server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.bucket_world import BucketWorld
from tests.kit.object_grounds import OBJECT_BUILDERS
from tests.kit.servers.seaweedfs import SeaweedFS
from tests.unit.cli.conftest import Say


@pytest.fixture
def bucket(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BucketWorld]:
    """A world of today in a bucket, seen once already; its database is in the working directory."""
    objects = OBJECT_BUILDERS["s3"](request, monkeypatch)("").objects
    made = BucketWorld.make(tmp_path / "home", objects)
    made.world.clock.wall_s = time.time()  # the verbs read the real clock
    made.run({"large": 10_000})
    made.world.cycle()
    monkeypatch.chdir(made.world.home)
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", made.root)
    yield made
    made.world.close()


def findings(say: Say, *words: str) -> list[tuple[str, str, str]]:
    """Ask the doctor."""
    told: list[dict[str, Any]] = json.loads(say("doctor", "--json", *words).stdout)
    return [(one["level"], one["subject"], one["text"]) for one in told]


class TestDoctor:
    """What the doctor finds."""

    def test_says_that_nothing_is_moved(self, bucket: BucketWorld, say: Say) -> None:
        """A root that answers is good, and what that means there is said."""
        found = {subject: (level, text) for level, subject, text in findings(say)}

        level, text = found[f"root {bucket.root}"]
        assert level == "good"
        assert "held in place" in text

    def test_names_what_is_wrong(
        self, bucket: BucketWorld, say: Say, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A secret that is none, and a bucket that is not there, are told as such."""
        missing = f"{bucket.objects.uri}-missing/x"
        found = {one[1]: one for one in findings(say, "--artifact-root", missing)}
        assert found[f"root {missing}"][0] == "bad"
        assert "bucket" in found[f"root {missing}"][2].lower()

        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "no-secret-at-all")
        found = {one[1]: one for one in findings(say)}
        assert found[f"root {bucket.root}"][0] == "bad"
        assert "unreachable" in found[f"root {bucket.root}"][2]
        assert "no-secret-at-all" not in str(found)

    def test_says_that_a_bucket_keeps_versions(
        self, bucket: BucketWorld, say: Say, s3_server: SeaweedFS
    ) -> None:
        """What is purged there frees nothing, unless versions are to go too."""
        root = f"s3://{s3_server.bucket(versioned=True)}/x"
        notes = [one for one in findings(say, "--artifact-root", root) if one[1] == f"root {root}"]
        assert [level for level, _, _ in notes] == ["good", "note"]
        assert "keeps versions" in notes[1][2]

        told = findings(say, "--artifact-root", root, "--purge-versions")
        assert [one[0] for one in told if one[1] == f"root {root}"] == ["good"]
        assert [one[0] for one in told if one[1] == f"root {bucket.root}"] == ["good"]

    def test_counts_what_lies_elsewhere(self, bucket: BucketWorld, say: Say) -> None:
        """Experiments in buckets that nobody named, and in storage that is not handled."""
        for number, text in enumerate(("s3://other/a", "s3://other/b", "hdfs://h/x"), start=5):
            bucket.world.db.experiment(str(number), text)

        found = [text for _, subject, text in findings(say) if subject == "elsewhere"]

        assert len(found) == 2
        assert found[0].startswith("1 experiment in hdfs: under no artifact root")
        assert "not handled" in found[0]
        assert found[1].startswith("2 experiments in s3://other under no artifact root")
        assert "--artifact-root" in found[1]


def test_root_is_adopted_by_any_spelling(bucket: BucketWorld, say: Say) -> None:
    """`adopt` shows what lies there, and takes a slash or another scheme for the same root."""
    bucket.put(f"0/{'f' * 32}/artifacts/a", 30)

    said = say("adopt", bucket.root.replace("s3:", "s3a:") + "/")

    assert said.exit_code == 0, said.output
    assert f"{bucket.root}: 1 places in use" in said.stdout
    assert "1 that it does not know, 30 B" in said.stdout
    bucket.world.restart()  # it knows the new marker's token by the ledger
    assert bucket.world.workplace.store_of(bucket.root).is_adopted()


@pytest.mark.parametrize("root", ["s3://other/x", "{root}/0", "s3://h:1/x"])
def test_what_is_no_root_is_not_adopted(bucket: BucketWorld, say: Say, root: str) -> None:
    """Only a configured root is, and only one that can be one."""
    said = say("adopt", root.format(root=bucket.root))

    assert said.exit_code == 2


def test_place_is_pinned(bucket: BucketWorld, say: Say) -> None:
    """A pin on a URI keeps what it may mean, until it is taken back."""
    world, run = bucket.world, bucket.run({"a": 30})
    world.cycle()
    pin = f"{bucket.root}/0/{run.id}/artifacts/".replace("s3:", "s3a:")
    assert say("pin", pin).exit_code == 0
    world.delete(run)
    world.cycle()
    assert world.items(run) == []

    assert say("unpin", pin).exit_code == 0
    world.cycle()
    assert len(world.items(run)) == 1


def test_usage_tells_what_is_held(bucket: BucketWorld, say: Say) -> None:
    """What is held in place is there, and counts as quarantined."""
    run = bucket.run({"a": 30})
    bucket.world.cycle()
    bucket.world.delete(run)
    bucket.world.cycle()

    told = json.loads(say("usage", "--json").stdout)

    kinds = {row["key"]: row["bytes"] for row in told["by"]["kind"]["rows"]}
    assert kinds["quarantined"] == 30
    assert kinds["run artifacts"] == 10_000


def test_plan_counts_what_is_not_handled(bucket: BucketWorld, say: Say) -> None:
    """Each kind of storage has its line, with how many are there."""
    world = bucket.world
    for number, text in enumerate(("hdfs://h/x", "hdfs://h/y", "dbfs:/z")):
        run = bucket.run({})
        uri = f"{text}/{run.id}/artifacts"
        world.db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", uri, run.id)
        assert number < 3
        world.delete(run)

    said = say("plan").stdout

    assert "storage that is not handled (hdfs:)  2" in said
    assert "storage that is not handled (dbfs:)  1" in said


def test_plan_and_sweep_say_that_nothing_moves(bucket: BucketWorld, say: Say) -> None:
    """What would be taken is held in place, and is told as such when it was."""
    world, run = bucket.world, bucket.run({"a": 30})
    world.cycle()
    world.delete(run)

    said = say("plan").stdout
    assert "Would be held in place until it is purged" in said
    assert "trash" not in said
    said = say("sweep", "--apply").stdout
    assert "1 held in place; 30 B" in said

    assert bucket.files(run) == {"a": 30}


def test_purge_by_hand_asks_for_what_is_held(bucket: BucketWorld, say: Say) -> None:
    """`trash list` shows it in place, `trash purge` removes it."""
    world, run = bucket.world, bucket.run({"a": 30})
    world.cycle()
    world.delete(run)
    world.cycle()
    assert "quarantined, in place" in say("trash", "list").stdout
    assert "take up room there" in say("status").stdout

    assert say("trash", "purge", run.id, "--yes").exit_code == 0

    assert bucket.files(run) == {}
