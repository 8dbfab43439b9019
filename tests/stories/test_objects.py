"""Artifacts in a bucket: nothing moves there, so what is held is the ledger's word alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_cleanup.ledger.known import RunState
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import Held, ItemState, Size
from mlflow_cleanup.model.plan import StepResult
from mlflow_cleanup.model.verdict import Gone, Kept
from mlflow_cleanup.report.lines import sentence_of
from mlflow_cleanup.report.status import status_values, trash_text, trash_values
from mlflow_cleanup.stores.base import Purged, Unfinished
from tests.kit.bucket_world import BucketWorld
from tests.kit.object_grounds import OBJECT_BUILDERS, Objects, S3Objects, use_s3
from tests.kit.servers.seaweedfs import SeaweedFS
from tests.kit.world import Run

on_s3 = pytest.mark.parametrize("objects", ["s3"], indirect=True)
"""Where a test is about one store's URIs, or what all have in common was shown elsewhere."""


@pytest.fixture(params=sorted(OBJECT_BUILDERS))
def objects(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Objects:
    """A bucket of its own in each kind of store."""
    return OBJECT_BUILDERS[request.param](request, monkeypatch)("").objects


@pytest.fixture
def bucket(tmp_path: Path, objects: Objects) -> Iterator[BucketWorld]:
    """A world in a bucket, seen once already."""
    made = BucketWorld.make(tmp_path / "home", objects)
    made.world.cycle()
    yield made
    made.world.close()


class TestDeletedRun:
    """A run that is deleted in MLflow."""

    def test_is_held_in_place_and_purged_in_time(self, bucket: BucketWorld) -> None:
        """Its objects stay where they are for its retention, and are gone after it, counted."""
        world = bucket.world
        run, other = bucket.run({"a": 30, "sub/b": 4}), bucket.run({"a": 7})
        world.cycle()
        world.delete(run)
        world.cycle()

        assert [item.held for item in world.items(run)] == [Held.IN_PLACE]
        assert world.items(run)[0].size == Size(2, 34)
        assert bucket.files(run) == {"a": 30, "sub/b": 4}

        world.advance(days=6)
        world.cycle()
        assert bucket.files(run) == {"a": 30, "sub/b": 4}
        world.advance(days=1)
        world.cycle()

        assert bucket.files(run) == {}
        assert bucket.files(other) == {"a": 7}
        assert world.states(run) == [ItemState.PURGED]
        assert world.ledger.items.freed() == Size(2, 34)

    def test_restored_in_mlflow_is_let_go_of(self, bucket: BucketWorld) -> None:
        """Pressing Restore needs nothing copied: the run is active, and nothing is purged ever."""
        world, run = bucket.world, bucket.run({"a": 30})
        world.cycle()
        world.delete(run)
        world.cycle()
        world.undelete(run)
        world.cycle()
        world.advance(days=30)
        world.cycle()

        assert bucket.files(run) == {"a": 30}
        assert world.states(run) == [ItemState.RESTORED]
        assert world.known(run) is RunState.ACTIVE

    def test_restored_right_before_its_purge_is_kept(self, bucket: BucketWorld) -> None:
        """The claim is asked for again right before each purge, whatever was planned."""
        world = bucket.world
        first, second = bucket.run({"a": 30}), bucket.run({"a": 7})
        world.cycle()
        world.delete(first, second)
        world.cycle()
        world.advance(days=8)
        world.faults.after("purge", lambda: world.undelete(second))
        world.faults.after("purge", lambda: world.undelete(first))
        world.cycle()

        kept = [run for run in (first, second) if bucket.files(run)]
        assert len(kept) == 1
        assert world.states(kept[0]) == [ItemState.RESTORED]

    def test_restored_by_hand_is_left_alone(self, bucket: BucketWorld) -> None:
        """`mlflow-cleanup restore` lets go of the objects though MLflow calls the run deleted."""
        world, run = bucket.world, bucket.run({"a": 30})
        world.cycle()
        world.delete(run)
        world.cycle()
        world.restore_by_hand(run)
        world.advance(days=30)
        world.cycle()
        world.sweep()

        assert bucket.files(run) == {"a": 30}
        assert world.known(run) is RunState.RELEASED

    def test_whose_objects_vanished_is_told_when_it_is_wanted_again(
        self, bucket: BucketWorld
    ) -> None:
        """What somebody else removed meanwhile cannot be given back, and that is said."""
        world, run = bucket.world, bucket.run({"a": 30})
        world.cycle()
        world.delete(run)
        world.cycle()
        bucket.objects.delete(f"{bucket.prefix}/0/{run.id}/artifacts/a")
        world.undelete(run)
        world.cycle()

        assert "lost" in world.told(run)

    def test_purged_by_hand_goes_at_once(self, bucket: BucketWorld) -> None:
        """`trash purge` removes what is held in place, and nothing beside it."""
        world, run = bucket.world, bucket.run({"a": 30})
        world.cycle()
        world.delete(run)
        world.cycle()
        world.purge_by_hand(run)

        assert bucket.files() == {}

    def test_without_retention_goes_at_once(self, tmp_path: Path, objects: Objects) -> None:
        """With `--retention 0` the objects go right after the cycle that sees the delete."""
        bucket = BucketWorld.make(tmp_path / "home", objects, retention=timedelta(0))
        world, run = bucket.world, bucket.run({"a": 30}, status="FINISHED")
        world.cycle()
        world.delete(run)
        world.cycle()
        assert world.next_due_s() == 0
        world.cycle()

        assert bucket.files() == {}
        world.close()

    def test_with_a_name_that_another_begins_with(self, bucket: BucketWorld) -> None:
        """`…/abc` never takes `…/abcd`: a prefix ends at its slash."""
        world, run = bucket.world, bucket.run({"a": 30})
        beside = [f"0/{run.id}/artifacts2/x", f"0/{run.id}x/artifacts/x", f"0/{run.id}/artifacts"]
        for inside in beside:
            bucket.put(inside, 5)
        world.cycle()
        world.delete(run)
        world.cycle()
        world.purge_by_hand(run)

        assert set(bucket.files()) == set(beside)

    def test_with_hostile_keys_goes_whole(self, bucket: BucketWorld) -> None:
        """Whatever stands in keys below the place is purged, and found to be gone."""
        names = ["a b", "ä/é", "e\u0301", "100%", "a%20b", "a?b", "a#b", "x//y", "dir/", "+&=", "~"]
        world, run = bucket.world, bucket.run(dict.fromkeys(names, 3))
        world.cycle()
        world.delete(run)
        world.cycle()
        world.purge_by_hand(run)

        assert bucket.files(run) == {}
        assert world.states(run) == [ItemState.PURGED]

    def test_in_which_something_is_written_late_is_held_anew(self, bucket: BucketWorld) -> None:
        """A late object waits as long as any other, and so does all that it lies beside."""
        world, run = bucket.world, bucket.run({"a": 30})
        world.cycle()
        world.delete(run)
        world.cycle()
        item = world.items(run)[0]
        world.advance(days=7)
        bucket.put(f"0/{run.id}/artifacts/late", 4)
        found = world.workplace.store_of(bucket.root)
        written_s = world.clock.wall_s
        world.faults.answers["newest_write"] = lambda: written_s
        world.cycle()

        assert found.exists(item.location)
        assert bucket.files(run) == {"a": 30, "late": 4}
        world.advance(days=6)
        world.cycle()
        assert bucket.files(run) == {"a": 30, "late": 4}
        world.advance(days=1)
        world.cycle()
        assert bucket.files(run) == {}


class Killed(BaseException):
    """The process ends, here and now."""


def kill() -> None:
    """End the process."""
    raise Killed


@on_s3
class TestKilled:
    """Between an intent and its outcome."""

    def test_before_a_quarantine_was_settled(self, bucket: BucketWorld) -> None:
        """Nothing moved, so it is judged anew: deleted still, it is held; restored, it is not."""
        world = bucket.world
        first, second = bucket.run({"a": 30}), bucket.run({"a": 4})
        world.cycle()
        world.delete(first, second)
        world.faults.after("quarantine", kill)
        with pytest.raises(Killed):
            world.cycle()
        world.undelete(second)
        world.restart()
        world.cycle()

        assert world.states(first) == [ItemState.QUARANTINED]
        assert world.states(second) == []
        assert world.known(second) is RunState.ACTIVE

    def test_in_the_middle_of_a_purge(self, bucket: BucketWorld) -> None:
        """What was begun goes on; wanted again, what is left stays, and the loss is told."""
        world = bucket.world
        gone, back = bucket.run({"a": 30, "b": 4}), bucket.run({"a": 30, "b": 4})
        world.cycle()
        world.delete(gone, back)
        world.cycle()
        world.advance(days=8)
        for run in (gone, back):
            world.faults.answers["purge"] = lambda: Purged(Size(1, 30), False, ("a: denied",))
            world.purge_by_hand(run)
            bucket.objects.delete(f"{bucket.prefix}/0/{run.id}/artifacts/a")
        world.undelete(back)
        world.advance(hours=1)
        world.restart()
        world.cycle()

        assert bucket.files(gone) == {}
        assert world.ledger.items.freed_of(world.items(gone)[0].id) == Size(2, 34)
        assert bucket.files(back) == {"b": 4}
        assert "1 file(s) had been purged already" in sentence_of(world.last(EventKind.LOST))


@on_s3
class TestWhatIsShown:
    """What a user is told of what is held in place."""

    def test_status_and_trash_say_where_the_bytes_are(self, bucket: BucketWorld) -> None:
        """What is held takes up room where it was, and every list says so."""
        world, run = bucket.world, bucket.run({"a": 30})
        world.cycle()
        world.delete(run)
        world.cycle()

        held = trash_values(world.settings.state_dir)
        assert [item["origin"] for item in held] == [f"{bucket.root}/0/{run.id}/artifacts"]
        assert "held in place: 1 item(s), 30 B" in trash_text(held)
        status = status_values(world.settings.state_dir)
        assert status["held_in_place"] == {"count": 1, "files": 1, "bytes": 30}
        assert world.last(world.events[-1].kind).detail == Held.IN_PLACE.value


@on_s3
class TestClaims:
    """What else a live entity may mean by a text."""

    @pytest.mark.parametrize(
        "text",
        [
            "{root}/0/{id}/artifacts/model",
            "{root}/0/{id}",
            "{root}/0/./{id}/artifacts",
            "{root}/0//{id}/artifacts?x=y",
            "S3://{bucket}/team/mlflow/0/{id}/artifacts",
            "s3a://{bucket}/team/mlflow/0/{id}/artifacts/",
            "gs://{bucket}/team/mlflow/0/{id}/artifacts",
            "mlflow-artifacts:/0/{id}/artifacts",
            "mlflow-artifacts://host:1/0/%2e/{id}/artifacts",
        ],
    )
    def test_a_version_keeps_a_run_under_each_spelling(
        self, bucket: BucketWorld, text: str
    ) -> None:
        """A registered version that may mean a deleted run's objects keeps them."""
        world, run = bucket.world, bucket.run({"a": 30})
        world.cycle()
        source = text.format(root=bucket.root, bucket=bucket.bucket, id=run.id)
        world.register(source)
        world.delete(run)
        world.cycle()

        assert world.items(run) == []
        assert (world.kept_because(run) or "").startswith(Kept.LIVE_CLAIM.value)

    @pytest.mark.parametrize("scheme", ["s3", "s3a", "gs"])
    def test_a_directory_without_ids_is_kept_by_its_key(
        self, bucket: BucketWorld, scheme: str
    ) -> None:
        """A claim that names no id protects what lies below its key, and only that."""
        world = bucket.world
        inner = bucket.run({"a": 3}, uri=f"{bucket.root}/deep/live/" + "{0}")
        world.db.execute(
            "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?",
            f"{bucket.root}/0/live/{inner.id}/artifacts",
            inner.id,
        )
        beside = bucket.run({"a": 3})
        world.db.execute(
            "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?",
            f"{bucket.root}/0/live2/{beside.id}/artifacts",
            beside.id,
        )
        bucket.put(f"0/live/{inner.id}/artifacts/a", 3)
        bucket.put(f"0/live2/{beside.id}/artifacts/a", 3)
        world.cycle()
        world.register(f"{scheme}://{bucket.bucket}/{bucket.prefix}/0/live")
        world.delete(inner, beside)
        world.cycle()

        assert world.items(inner) == []
        assert len(world.items(beside)) == 1

    def test_a_live_run_inside_keeps_what_is_around_it(self, bucket: BucketWorld) -> None:
        """What contains a live entity's objects is not taken, whatever its own run's state."""
        world, outer = bucket.world, bucket.run({"a": 3})
        inner = bucket.run({})
        text = f"{bucket.root}/0/{outer.id}/artifacts/deep/{inner.id}/artifacts"
        world.db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", text, inner.id)
        world.cycle()
        world.delete(outer)
        world.cycle()

        assert world.items(outer) == []
        assert (world.kept_because(outer) or "").startswith(Kept.LIVE_CLAIM.value)

    def test_keys_differ_by_case_and_form(self, bucket: BucketWorld) -> None:
        """Another case, or another Unicode form, is another key: it protects nothing here."""
        world = bucket.world
        run = bucket.run({"a": 3})
        text = f"{bucket.root}/Exp-é/{run.id}/artifacts"
        world.db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", text, run.id)
        bucket.put(f"Exp-é/{run.id}/artifacts/a", 3)
        world.cycle()
        world.register(f"{bucket.root}/exp-é")
        world.register(f"{bucket.root}/Exp-e\u0301", version=2)
        world.delete(run)
        world.cycle()

        assert [item.held for item in world.items(run)] == [Held.IN_PLACE]


@on_s3
class TestPlaces:
    """Where nothing may be taken."""

    @pytest.mark.parametrize(
        ("uri", "why"),
        [
            ("s3://{bucket}", Kept.OUTSIDE_ROOTS),
            ("s3://{bucket}/team", Kept.OUTSIDE_ROOTS),
            ("{root}", Kept.OUTSIDE_ROOTS),
            ("{root}/", Kept.OUTSIDE_ROOTS),
            ("{root}2/0/{id}/artifacts", Kept.OUTSIDE_ROOTS),
            ("s3://another/team/mlflow/0/{id}/artifacts", Kept.OUTSIDE_ROOTS),
            ("gs://{bucket}/team/mlflow/0/{id}/artifacts", Kept.OUTSIDE_ROOTS),
            ("{root}/0", Kept.NOT_ITS_OWN),
            ("{root}/0/{id}", Kept.NOT_ITS_OWN),
            ("{root}/0/{id}/artifacts/a", Kept.NOT_ITS_OWN),
            ("{root}/.mlflow-cleanup/{id}/artifacts", Kept.RESERVED),
            ("{root}/0/../0/{id}/artifacts", Kept.MALFORMED),
            ("{root}/0/{id}/artifacts?versionId=1", Kept.AMBIGUOUS),
            ("hdfs://host/0/{id}/artifacts", Kept.REMOTE),
            ("dbfs:/0/{id}/artifacts", Kept.REMOTE),
        ],
    )
    def test_what_is_not_a_runs_own_is_kept_and_told(
        self, bucket: BucketWorld, uri: str, why: Kept
    ) -> None:
        """Bucket, root, experiment, another bucket, our own and what is unclear: all stays."""
        world, run = bucket.world, bucket.run({"a": 30})
        text = uri.format(root=bucket.root, bucket=bucket.bucket, id=run.id)
        world.db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", text, run.id)
        bucket.objects.put(f"team/mlflow2/0/{run.id}/artifacts/a", b"1")
        before = bucket.objects.read()
        world.cycle()
        world.delete(run)
        world.cycle()
        world.advance(days=8)
        world.cycle()

        after = bucket.objects.read()
        own = {key for key in before if ".mlflow-cleanup" in key}
        assert {key: after[key] for key in before if key not in own} == {
            key: before[key] for key in before if key not in own
        }
        assert (world.kept_because(run) or "").startswith(why.value)
        unhandled = status_values(world.settings.state_dir)["unhandled"]
        assert unhandled == ({text.partition(":")[0]: 1} if why is Kept.REMOTE else {})


class TestFullCycle:
    """What leaked, found by listing the bucket."""

    def test_orphan_waits_and_is_taken_only_under_an_adopted_root(
        self, bucket: BucketWorld
    ) -> None:
        """Twice seen, old, and adopted, as anywhere else; what it lies beside stays."""
        world, run = bucket.world, bucket.run({"a": 30})
        lost = "f" * 32
        bucket.put(f"0/{lost}/artifacts/a", 100)
        bucket.put("notes/readme", 5)
        world.cycle()

        assert world.sweep() == []
        world.workplace.adopt(bucket.root, alone=True)
        assert world.sweep() == []
        world.advance(hours=5)
        world.restart(terms=type(world.settings.terms)(most_share=1.0))
        (step,) = world.sweep()

        assert step.result is StepResult.QUARANTINED
        assert step.judged.candidate.gone is Gone.ORPHAN
        assert bucket.files()[f"0/{lost}/artifacts/a"] == 100
        world.advance(days=8)
        world.cycle()
        assert set(bucket.files()) == {f"0/{run.id}/artifacts/a", "notes/readme"}

    def test_orphan_in_an_experiments_own_place_is_found(self, bucket: BucketWorld) -> None:
        """Where an experiment was given a place in the bucket, its runs are looked for there."""
        world = bucket.world
        world.db.experiment("5", f"{bucket.root}/mine/place/")
        live = bucket.run({}, experiment="5")
        text = f"{bucket.root}/mine/place/{live.id}/artifacts"
        world.db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", text, live.id)
        lost, copied = "e" * 32, "f" * 32
        bucket.put(f"mine/place/{live.id}/artifacts/a", 300)
        bucket.put(f"mine/place/{lost}/artifacts/a", 4)
        bucket.put(f"backup/{copied}/artifacts/a", 4)  # no experiment lies there
        world.workplace.adopt(bucket.root, alone=True)
        world.sweep()
        world.advance(hours=5)

        assert [item.place.inside for item in world.plan().take] == [
            ("mine", "place", lost, "artifacts")
        ]

    def test_what_is_held_in_place_is_not_taken_twice(self, bucket: BucketWorld) -> None:
        """A full cycle finds the objects of what is held, and says that they wait."""
        world = bucket.world
        run, _ = bucket.run({"a": 30}), bucket.run({"a": 300})
        world.cycle()
        world.delete(run)
        world.cycle()
        plan = world.plan()

        assert plan.take == ()
        assert [str(item.verdict) for item in plan.keep] == [Kept.HELD.value]
        assert world.sweep() == []
        assert len(world.items(run)) == 1

    def test_old_plan_does_not_take_what_is_held_by_now(self, bucket: BucketWorld) -> None:
        """A plan made before a run was held takes nothing of it: its retention counts from then."""
        world = bucket.world
        run, _ = bucket.run({"a": 30}), bucket.run({"a": 300})
        world.cycle()
        world.delete(run)
        plan = world.plan()
        assert len(plan.take) == 1
        world.cycle()
        (step,) = world.carry_out(plan)

        assert step.result is StepResult.SKIPPED
        assert world.states(run) == [ItemState.QUARANTINED]

    def test_brake_holds(self, bucket: BucketWorld) -> None:
        """A plan that would take most of a bucket's bytes is refused at first."""
        world, run = bucket.world, bucket.run({"a": 300})
        world.cycle()
        world.hard_delete(run)
        world.db.execute("UPDATE experiments SET creation_time = 1 WHERE experiment_id = 0")

        plan = world.plan()
        assert plan.refusal is not None

    def test_bucket_that_is_gone_is_not_empty(self, bucket: BucketWorld) -> None:
        """Without its bucket nothing is judged, and nothing that was held counts as gone."""
        world, run = bucket.world, bucket.run({"a": 30})
        world.cycle()
        world.delete(run)
        world.cycle()
        bucket.objects.take_away()
        world.advance(days=8)
        world.cycle()

        assert world.states(run) == [ItemState.QUARANTINED]
        assert "unreachable" in str(world.ledger.roots()[bucket.root].problem)
        bucket.objects.bring_back()
        world.cycle()
        assert bucket.files(run) == {}


@on_s3
class TestSeveralRoots:
    """Local directories and buckets beside one another."""

    def test_each_run_goes_where_it_lies(self, tmp_path: Path, objects: Objects) -> None:
        """A run on the disk goes to the trash there, one in a bucket is held in place."""
        local = tmp_path / "home" / "mlartifacts"
        root = f"{objects.uri}/x"
        bucket = BucketWorld.make(
            tmp_path / "home",
            objects,
            "x",
            roots=(str(local), root, f"{root}/", root.replace("s3:", "s3a:")),
            artifacts_destination=str(local),
        )
        world = bucket.world
        on_disk = world.run({"a": 10})
        far = bucket.run({"a": 30})
        text = f"{root}/0/{far.id}/artifacts"
        world.db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", text, far.id)
        world.cycle()
        world.delete(on_disk, far)
        world.cycle()

        assert [item.held for item in world.items(on_disk)] == [Held.TRASH]
        assert [item.held for item in world.items(far)] == [Held.IN_PLACE]
        assert set(world.ledger.roots()) == {str(local), root}
        world.advance(days=8)
        world.cycle()
        assert bucket.files() == {}
        assert world.bytes_in_trash() == 0
        world.close()

    def test_root_inside_another_is_its_own(self, tmp_path: Path, objects: Objects) -> None:
        """What the inner root holds is not the outer one's, and nothing around it is taken."""
        outer, inner = f"{objects.uri}/x", f"{objects.uri}/x/0/{'a' * 32}/artifacts/inner"
        bucket = BucketWorld.make(
            tmp_path / "home", objects, "x", roots=(outer, inner), artifacts_destination=outer
        )
        world = bucket.world
        around = world.run({}, id_="a" * 32)
        bucket.put(f"0/{around.id}/artifacts/inner/1/{'b' * 32}/artifacts/a", 5)
        world.cycle()
        world.delete(around)
        world.cycle()

        assert world.items(around) == []
        assert (world.kept_because(around) or "").startswith(Kept.NOT_ITS_OWN.value)
        found = {root.root: root for root in world.plan().roots}
        assert (found[outer].total.files, found[inner].total.files) == (0, 1)
        world.close()


class TestVersions:
    """A bucket that keeps versions of what is deleted."""

    @pytest.fixture
    def kept(
        self, tmp_path: Path, s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[BucketWorld]:
        """A world in a bucket that keeps versions."""
        use_s3(s3_server.endpoint, monkeypatch)
        objects = S3Objects(s3_server, s3_server.bucket(versioned=True))
        made = BucketWorld.make(tmp_path / "home", objects)
        made.world.cycle()
        yield made
        made.world.close()

    @staticmethod
    def versions(bucket: BucketWorld, run: Run) -> int:
        """Count the versions of what lay in a run's place."""
        assert isinstance(bucket.objects, S3Objects)
        told = bucket.objects.server.client.list_object_versions(
            Bucket=bucket.bucket, Prefix=f"{bucket.prefix}/0/{run.id}/"
        )
        return len(told.get("Versions", ()))

    def test_says_that_nothing_is_freed(self, kept: BucketWorld) -> None:
        """What was purged is out of sight, counts no freed bytes, and the line says why."""
        world, run = kept.world, kept.run({"a": 30})
        world.cycle()
        world.delete(run)
        world.cycle()
        world.purge_by_hand(run)

        assert kept.files(run) == {}
        assert self.versions(kept, run) == 1
        assert world.states(run) == [ItemState.PURGED]
        assert world.ledger.items.freed() == Size()
        assert "the bucket keeps versions" in sentence_of(world.last(EventKind.PURGED))

    def test_can_be_purged_whole(self, kept: BucketWorld) -> None:
        """With `--purge-versions` every version goes, and its bytes are freed."""
        kept.world.restart(purge_versions=True)
        world, run = kept.world, kept.run({"a": 30})
        kept.put(f"0/{run.id}/artifacts/a", 40)
        world.cycle()
        world.delete(run)
        world.cycle()
        world.purge_by_hand(run)

        assert self.versions(kept, run) == 0
        assert world.ledger.items.freed().bytes == 70


@on_s3
class TestUnfinishedUploads:
    """Parts of files that nobody will finish, which no listing shows."""

    @staticmethod
    def begin(bucket: BucketWorld, inside: str) -> None:
        """Begin an upload in parts, as a client does that is killed then."""
        assert isinstance(bucket.objects, S3Objects)
        where = {"Bucket": bucket.bucket, "Key": f"{bucket.prefix}/{inside}"}
        client = bucket.objects.server.client
        begun = client.create_multipart_upload(**where)
        client.upload_part(**where, UploadId=begun["UploadId"], PartNumber=1, Body=b"x" * 100)

    @staticmethod
    def left(bucket: BucketWorld) -> set[str]:
        """Name what is begun still."""
        assert isinstance(bucket.objects, S3Objects)
        told = bucket.objects.server.client.list_multipart_uploads(Bucket=bucket.bucket)
        return {one["Key"].removeprefix(f"{bucket.prefix}/") for one in told.get("Uploads", ())}

    def test_are_given_up_where_nobody_live_may_finish_them(self, bucket: BucketWorld) -> None:
        """Of a deleted run and of nobody; not of an active one, nor where a version points."""
        world = bucket.world
        live, gone = bucket.run({"a": 30}), bucket.run({"a": 3})
        world.cycle()
        world.register(f"{bucket.root}/0/shared")
        keys = {name: f"0/{name}/artifacts/big" for name in (live.id, gone.id, "f" * 32)}
        for key in (*keys.values(), "0/shared/big", "notes/big"):
            self.begin(bucket, key)
        world.delete(gone)
        world.cycle()
        world.sweep()
        assert len(self.left(bucket)) == 5  # the root is not adopted
        world.workplace.adopt(bucket.root, alone=True)

        (root,) = world.plan().roots
        assert root.unfinished == Size(3, 300)
        assert len(self.left(bucket)) == 5
        world.sweep()

        assert self.left(bucket) == {keys[live.id], "0/shared/big"}
        told = sentence_of(world.last(EventKind.GIVEN_UP))
        assert told == f"gave up 3 unfinished uploads under {bucket.root}: 300 B freed"

    def test_wait_until_they_are_old(self, bucket: BucketWorld) -> None:
        """What was begun less than three days ago may be going on."""
        world = bucket.world
        world.workplace.adopt(bucket.root, alone=True)
        begun_s = world.clock.wall_s
        what = Unfinished("0/x/big", "id", begun_s, 100)
        world.advance(days=2)
        for _ in range(2):
            world.faults.answers["unfinished"] = lambda: iter([what])
            (root,) = world.plan().roots
            assert root.unfinished.files == (world.clock.wall_s - begun_s >= 3 * 86_400)
            world.advance(days=1)

    def test_in_a_root_inside_are_that_roots(self, tmp_path: Path, objects: Objects) -> None:
        """Neither another root's nor another database's are given up with those around them."""
        outer, inner = f"{objects.uri}/team", f"{objects.uri}/team/inner"
        bucket = BucketWorld.make(tmp_path / "home", objects, "team", roots=(outer, inner))
        other = BucketWorld.make(tmp_path / "other", objects, "team/other")
        world = bucket.world
        world.cycle()
        other.world.cycle()
        keys = {f"{above}/{'f' * 32}/artifacts/big" for above in ("inner/0", "other/0", "0")}
        for key in keys:
            self.begin(bucket, key)
        world.workplace.adopt(outer, alone=True)
        world.advance(days=4)
        assert sum(root.unfinished.files for root in world.plan().roots) == 1
        world.sweep()

        assert self.left(bucket) == {key for key in keys if "/0/" in key}
        world.close()
        other.world.close()


@on_s3
def test_what_another_database_has_in_a_root_inside_is_no_orphan(
    tmp_path: Path, objects: Objects
) -> None:
    """Its marker lies there, and tells that what is unknown here is not nobody's."""
    bucket = BucketWorld.make(tmp_path / "home", objects, "team")
    other = BucketWorld.make(tmp_path / "other", objects, "team/workspaces/theirs")
    world = bucket.world
    other.put(f"0/{'f' * 32}/artifacts/a", 5)
    bucket.put(f"0/{'e' * 32}/artifacts/a", 5)
    bucket.run({"large": 1_000})
    world.cycle()
    other.world.cycle()
    world.workplace.adopt(bucket.root, alone=True)
    for _ in range(2):
        world.advance(days=4)
        world.sweep()

    assert {item.entity.id for item in world.items()} == {"e" * 32}
    world.close()
    other.world.close()


@on_s3
def test_no_secret_of_a_location_is_shown(bucket: BucketWorld) -> None:
    """Clients put signatures and passwords into URIs; reasons name the place without them."""
    world = bucket.world
    uris = (
        "wasbs://c@acc.blob.core.windows.net/p/0/x/artifacts?sv=2021&sig=SECRET",
        "https://acc.blob.core.windows.net/c/0/x/artifacts?sig=SECRET",
        "https://user:SECRET@host/api/2.0/mlflow-artifacts/artifacts/0/x?x=1",
        "s3://AKIA:SECRET@bucket/0/x/artifacts",
        "ftp://user:SECRET@host/0/x/artifacts",
        "sftp://user:SECRET/+=@host/0/x",
    )
    runs = [bucket.run({}, uri=uri) for uri in uris]
    world.cycle()
    world.delete(*runs)
    world.cycle()

    shown = [str(item.verdict) for item in world.plan().keep]
    shown += [sentence_of(event) for event in world.events]
    shown += [world.kept_because(run) or "" for run in runs]
    assert len(shown) >= 3 * len(runs)
    assert not [text for text in shown if "SECRET" in text]


@on_s3
def test_key_that_xml_cannot_hold_holds_nothing_up(bucket: BucketWorld) -> None:
    """It is removed by a request of its own, and the rest as always."""
    world = bucket.world
    run = bucket.run({"a\ufffeb": 3, "a\x01b": 4, "a\x1bb": 5, "ok": 1})
    world.cycle()
    world.delete(run)
    world.cycle()
    world.purge_by_hand(run)

    assert bucket.files(run) == {}
    assert world.states(run) == [ItemState.PURGED]


@on_s3
def test_what_lies_in_another_databases_root_is_not_ours_to_take(
    tmp_path: Path, objects: Objects
) -> None:
    """A copy of a database with a wider root deletes a run that lives in the original."""
    theirs = BucketWorld.make(tmp_path / "theirs", objects, "team/mlflow")
    live = theirs.run({"a": 5})
    theirs.world.cycle()
    copy = BucketWorld.make(tmp_path / "copy", objects, "team")
    run = copy.run({}, uri=f"{theirs.root}/0/{live.id}/artifacts")
    assert run.id == live.id
    copy.world.cycle()
    copy.world.delete(run)
    copy.world.cycle()
    copy.world.advance(days=8)
    copy.world.cycle()

    assert theirs.files(live) == {"a": 5}
    assert copy.world.states(run) == []
    copy.world.close()
    theirs.world.close()


@on_s3
def test_own_marker_below_a_wider_root_is_in_nobodys_way(tmp_path: Path, objects: Objects) -> None:
    """An operator who configures a wider root later leaves the marker of the first one behind."""
    bucket = BucketWorld.make(tmp_path / "home", objects, "team/mlflow")
    world, run = bucket.world, bucket.run({"a": 5})
    world.db.execute(
        "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?",
        f"{bucket.root}/0/{run.id}/artifacts",
        run.id,
    )
    world.cycle()
    world.restart(roots=(f"{objects.uri}/team",))
    world.cycle()
    world.delete(run)
    world.cycle()
    world.purge_by_hand(run)

    assert bucket.files(run) == {}
    world.close()
