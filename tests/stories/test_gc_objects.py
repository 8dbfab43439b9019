"""`gc` where artifacts lie in buckets: rows go only after the objects are seen to be gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_cleanup.cycle.roots import with_named_roots
from mlflow_cleanup.errors import StoreUnreachable
from mlflow_cleanup.model.item import ItemState
from tests.kit.bucket_world import BucketWorld
from tests.kit.collecting import FAILED, HELD, KEPT, REMOVED, collect, has_row, rows, shown
from tests.kit.object_grounds import OBJECT_BUILDERS, Objects

AT_ONCE, WEEK = timedelta(0), timedelta(days=7)


@pytest.fixture(params=["s3"])
def objects(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Objects:
    """A bucket of its own."""
    return OBJECT_BUILDERS[request.param](request, monkeypatch)("").objects


in_each_store = pytest.mark.parametrize("objects", sorted(OBJECT_BUILDERS), indirect=True)


@pytest.fixture
def bucket(tmp_path: Path, objects: Objects) -> Iterator[BucketWorld]:
    """A world in a bucket with no retention, seen once already, with one live run."""
    made = BucketWorld.make(tmp_path / "home", objects, retention=AT_ONCE)
    made.run({"large": 1_000})
    made.world.cycle()
    yield made
    made.world.close()


@in_each_store
def test_objects_go_and_then_the_row(bucket: BucketWorld) -> None:
    """A deleted run loses its objects and its row; what lives keeps both."""
    world = bucket.world
    runs = [bucket.run({"a": 10, "b": 100}) for _ in range(3)]
    world.delete(*runs[:2])
    assert set(shown(world)) == {run.id for run in runs[:2]}

    told = collect(world)

    assert told.fates(*runs) == [REMOVED, REMOVED]
    assert rows(world, *runs) == [False, False, True]
    assert bucket.files(runs[0]) == bucket.files(runs[1]) == {}
    assert bucket.files(runs[2]) == {"a": 10, "b": 100}
    assert (told.tally.freed.files, told.tally.freed.bytes) == (4, 220)


def test_row_stays_when_the_purge_failed(bucket: BucketWorld) -> None:
    """What the store would not remove keeps its row, and is removed with it when it works again."""
    world, run = bucket.world, bucket.run({"a": 10})
    world.delete(run)
    world.faults.fail("purge", lambda: StoreUnreachable(bucket.root, "AccessDenied"))

    assert collect(world).fates(run) == [FAILED]
    assert has_row(world, run)
    world.faults.heal()
    world.advance(hours=1)

    assert collect(world).fates(run) == [REMOVED]
    assert bucket.files(run) == {}


@in_each_store
def test_with_retention_objects_wait_in_place_and_rows_with_them(bucket: BucketWorld) -> None:
    """Held in place as by the monitor; a later gc finds them held, and at last removes both."""
    world, run = bucket.world, bucket.run({"a": 10})
    world.delete(run)
    world.restart(retention=WEEK)

    assert collect(world).fates(run) == [HELD]
    assert collect(world).fates(run) == [HELD]
    assert bucket.files(run) == {"a": 10}
    assert world.states(run) == [ItemState.QUARANTINED]
    world.advance(days=8)

    assert collect(world).fates(run) == [REMOVED]
    assert bucket.files(run) == {}


def test_what_the_monitor_holds_goes_with_a_gc_that_waits_for_nothing(bucket: BucketWorld) -> None:
    """`gc --retention 0` purges what is held in place, by its one item."""
    world, run = bucket.world, bucket.run({"a": 10})
    world.restart(retention=WEEK)
    world.cycle()
    world.delete(run)
    world.cycle()
    world.restart(retention=AT_ONCE)

    assert collect(world).fates(run) == [REMOVED]
    assert world.states(run) == [ItemState.PURGED]
    assert bucket.files(run) == {}


def test_storage_that_is_not_handled_stops_nothing_and_is_counted(bucket: BucketWorld) -> None:
    """Runs in HDFS and the like fail one by one, counted by scheme; all others go."""
    world = bucket.world
    far = [bucket.run({}) for _ in range(3)]
    for run, text in zip(far, ("hdfs://h/x", "hdfs://h/y", "sftp://h/z"), strict=True):
        uri = f"{text}/{run.id}/artifacts"
        world.db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", uri, run.id)
    near = bucket.run({"a": 10})
    world.delete(*far, near)

    told = collect(world)

    assert told.fates(*far, near) == [FAILED, FAILED, FAILED, REMOVED]
    assert dict(told.tally.schemes) == {"hdfs": 2, "sftp": 1}


class TestRootsThatTheDatabaseNames:
    """Experiments that clients gave a place in a bucket of their own."""

    def test_counts_where_a_run_of_this_database_lies_in_it(
        self, bucket: BucketWorld, objects: Objects
    ) -> None:
        """An experiment's location is a root for gc, where something of ours is in it."""
        world = bucket.world
        world.db.experiment("5", f"{objects.uri}/theirs/place")
        world.db.experiment("6", f"{objects.uri}/empty/place")
        world.db.experiment("7", f"{objects.uri}/7")
        run = world.run({}, uri=f"{objects.uri}/theirs/place/{'0' * 31}1/artifacts", experiment="5")
        objects.put(f"theirs/place/{run.id}/artifacts/a", b"1")
        other = world.run({}, experiment="7")
        uri = f"{objects.uri}/7/{other.id}/artifacts"
        world.db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", uri, other.id)
        objects.put(f"7/{other.id}/artifacts/a", b"1")

        found = with_named_roots(world.settings)

        # A whole bucket is no root unless an operator names it.
        assert found.roots == (bucket.root, f"{objects.uri}/theirs/place")

    def test_is_not_taken_from_another_database(
        self, bucket: BucketWorld, objects: Objects, tmp_path: Path
    ) -> None:
        """What another database has marked is never a root here, whatever lies in it."""
        theirs = BucketWorld.make(tmp_path / "theirs", objects, "shared")
        theirs.world.db.execute("UPDATE experiments SET creation_time = 7")
        theirs.world.cycle()
        theirs.world.close()
        world = bucket.world
        world.db.experiment("5", f"{objects.uri}/shared")
        run = world.run({}, experiment="5")
        objects.put(f"shared/{run.id}/artifacts/a", b"1")

        assert with_named_roots(world.settings).roots == (bucket.root,)

    def test_is_emptied_by_gc(self, bucket: BucketWorld, objects: Objects) -> None:
        """A deleted run of such an experiment goes, objects and row."""
        world = bucket.world
        world.db.experiment("5", f"{objects.uri}/theirs")
        run = world.run({}, experiment="5")
        uri = f"{objects.uri}/theirs/{run.id}/artifacts"
        world.db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", uri, run.id)
        objects.put(f"theirs/{run.id}/artifacts/a", b"1")
        world.delete(run)
        assert collect(world).fates(run) == [FAILED]
        world.restart(roots=with_named_roots(world.settings).roots)

        assert collect(world).fates(run) == [REMOVED]
        assert not any(key.startswith("theirs/0") for key in objects.read())


@in_each_store
def test_root_that_was_never_used_is_doubted(bucket: BucketWorld, objects: Objects) -> None:
    """A wrong prefix holds nothing, which is no reason to remove rows of what lies elsewhere."""
    world, run = bucket.world, bucket.run({"a": 10})
    world.delete(run)
    wrong = f"{objects.uri}/wrong"
    world.restart(roots=(wrong,), artifacts_destination=wrong)

    told = collect(world)

    assert told.fates(run) == [FAILED]
    assert "nothing of this database was ever seen" in told.why(run)
    assert has_row(world, run)
    world.restart(roots=(bucket.root,), artifacts_destination=bucket.root)
    assert collect(world).fates(run) == [REMOVED]


def test_one_bucket_under_two_names_is_refused(bucket: BucketWorld, objects: Objects) -> None:
    """A second root whose marker says that it is the first one has nothing done to it."""
    world, run = bucket.world, bucket.run({"a": 10})
    copy = f"{objects.uri}/copy"
    for key, body in objects.read().items():
        objects.put(key.replace(bucket.prefix, "copy", 1), body)
    world.delete(run)
    world.restart(roots=(bucket.root, copy))
    world.cycle()

    assert "it is the same place as the artifact root" in str(world.ledger.roots()[copy].problem)
    assert world.ledger.roots()[bucket.root].problem is None
    world.workplace.adopt(copy)
    world.cycle()
    assert world.ledger.roots()[copy].problem is None


def test_settings_spell_a_root_as_they_like(bucket: BucketWorld) -> None:
    """A slash more, or another name of the scheme, leaves it the same root with its marker."""
    world = bucket.world
    spelled = (f"{bucket.root}/", bucket.root.replace("s3:", "s3a:"))
    world.restart(roots=spelled, artifacts_destination=spelled[1])
    run = bucket.run({"a": 10})
    world.delete(run)

    assert collect(world).fates(run) == [REMOVED]
    assert set(world.ledger.roots()) == {bucket.root}
    assert replace(world.settings).roots == spelled
    assert KEPT not in collect(world).every_fate.values()
