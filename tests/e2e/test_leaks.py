"""Every kind of entity that leaks: exactly the garbage goes, and the rest still loads.

What leaks is made by MLflow itself, and full cycles run as commands beside its server.
"""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from datetime import datetime, timedelta

import pytest

from mlflow_cleanup.model.verdict import Kept
from tests.kit.leaky import AT_ONCE, Leaky, age, all_are, kept, without
from tests.kit.rest import CallFailed
from tests.kit.server import tree_of

pytestmark = pytest.mark.e2e

FILES = {"a.txt": b"a" * 10, "deep/b.txt": b"b" * 100}


def test_deleted_run_goes_and_comes_back(leaky: Leaky) -> None:
    """It goes to the trash whole; restored in MLflow, it is back after the next sweep."""
    mlflow = leaky.site.tracking
    experiment = mlflow.create_experiment()
    gone, live = mlflow.log_run(FILES, experiment), mlflow.log_run(FILES, experiment)
    before, files = leaky.tree(experiment), leaky.site.tree(gone)
    mlflow.delete(gone)

    plan = leaky.plan()
    assert plan.fates(gone.id, live.id) == {gone.id: "deleted", live.id: None}
    assert plan.sizes(gone.id) == {gone.id: 110}
    assert leaky.tree(experiment) == before

    done = leaky.sweep()
    assert done.results(gone.id, live.id) == {gone.id: "quarantined", live.id: None}
    assert done.sizes(gone.id) == {gone.id: 110}
    assert leaky.tree(experiment) == without(before, gone.id)
    assert leaky.in_trash(gone.id) == files
    assert mlflow.download(live, "deep/b.txt") == FILES["deep/b.txt"]

    mlflow.restore(gone)
    leaky.sweep()
    assert leaky.tree(experiment) == before
    assert mlflow.download(gone, "deep/b.txt") == FILES["deep/b.txt"]


def test_run_whose_row_a_script_removed(leaky: Leaky) -> None:
    """Seen active before, it has left; never seen, its files are an orphan like any other."""
    mlflow = leaky.site.tracking
    experiment = mlflow.create_experiment()
    known = mlflow.log_run(FILES, experiment)
    leaky.sweep()
    unknown, live = mlflow.log_run(FILES, experiment), mlflow.log_run(FILES, experiment)
    before = leaky.tree(experiment)
    for run in (known, unknown):
        leaky.drop_rows(run)

    fates = {known.id: "vanished", unknown.id: kept(Kept.TOO_YOUNG), live.id: None}
    assert leaky.plan().fates(known.id, unknown.id, live.id) == fates
    results = {known.id: "quarantined", unknown.id: None}
    assert leaky.sweep().results(known.id, unknown.id) == results
    assert leaky.tree(experiment) == without(before, known.id)

    assert leaky.sweep(AT_ONCE).results(unknown.id) == {unknown.id: "quarantined"}
    assert leaky.tree(experiment) == without(before, known.id, unknown.id)
    assert mlflow.download(live, "a.txt") == FILES["a.txt"]


def test_orphan_is_taken_when_it_is_old_and_was_seen_twice(leaky: Leaky) -> None:
    """Without the flag: three days old, and unclaimed in two full cycles four hours apart."""
    mlflow = leaky.site.tracking
    experiment = mlflow.create_experiment()
    run = mlflow.log_run(FILES, experiment)
    before = leaky.tree(experiment)
    leaky.drop_rows(run)

    assert leaky.plan().fates(run.id) == {run.id: kept(Kept.TOO_YOUNG)}
    age(leaky.site.root / experiment / run.id)
    for _ in range(3):
        assert leaky.sweep().results(run.id) == {run.id: None}
        assert leaky.plan().fates(run.id) == {run.id: kept(Kept.SEEN_ONCE)}
    assert leaky.tree(experiment) == before

    _let_hours_pass(leaky, 4)
    assert leaky.plan().fates(run.id) == {run.id: "orphan"}
    assert leaky.sweep().results(run.id) == {run.id: "quarantined"}
    assert leaky.tree(experiment) == {}


def test_run_deleted_before_mlflow_noted_when(leaky: Leaky) -> None:
    """Its artifacts go, and are restorable for as long as those of any other run from then on."""
    mlflow = leaky.site.tracking
    experiment = mlflow.create_experiment()
    run, live = mlflow.log_run(FILES, experiment), mlflow.log_run(FILES, experiment)
    before = leaky.tree(experiment)
    mlflow.delete(run)
    leaky.sql("UPDATE runs SET deleted_time = NULL WHERE run_uuid = ?", run.id)

    item = leaky.plan().item(run.id)
    assert (item["gone"], item["deleted_at"]) == ("deleted", None)
    assert leaky.sweep().results(run.id) == {run.id: "quarantined"}
    assert leaky.tree(experiment) == without(before, run.id)
    assert mlflow.download(live, "a.txt") == FILES["a.txt"]
    (held,) = (item for item in leaky.site.held() if item["run_id"] == run.id)
    since, until = (datetime.fromisoformat(held[key]) for key in ("quarantined_at", "purge_at"))
    assert abs(until - since - timedelta(days=7)) < timedelta(minutes=1)


def test_deleted_logged_model_goes_unless_a_version_points_at_it(leaky: Leaky) -> None:
    """A version's files stay although the model was deleted, and still load."""
    mlflow = leaky.site.tracking
    experiment = mlflow.create_experiment()
    run = mlflow.log_run(FILES, experiment)
    free, used = mlflow.log_model(run, b"m" * 20), mlflow.log_model(run, b"m" * 21)
    name = mlflow.register(f"models:/{used}")
    before = leaky.tree(experiment)
    mlflow.delete_model(free)
    mlflow.delete_model(used)

    plan = leaky.plan()
    assert plan.fates(free, used) == {free: "model_deleted", used: kept(Kept.LIVE_CLAIM)}
    assert plan.sizes(free, used) == {free: 20, used: 21}
    assert plan.item(used)["detail"] == f"model version {name} version 1"
    (line,) = (line for line in leaky.say("plan", "--all").out.splitlines() if used in line)
    assert f"{Kept.LIVE_CLAIM.value} (model version {name} version 1)" in line

    assert leaky.sweep().results(free, used) == {free: "quarantined", used: None}
    assert leaky.tree(experiment) == without(before, f"models/{free}")
    assert mlflow.version_file(name) == b"m" * 21


def test_active_model_of_a_deleted_run_goes_only_where_asked_for(leaky: Leaky) -> None:
    """It is kept and offered with its size, unless a version or another run refers to it."""
    mlflow = leaky.site.tracking
    experiment = mlflow.create_experiment()
    run, other = mlflow.log_run(FILES, experiment), mlflow.log_run(FILES, experiment)
    free, versioned, used = (mlflow.log_model(run, b"m" * size) for size in (30, 31, 32))
    name = mlflow.register(f"models:/{versioned}")
    mlflow.use_model(other, used)
    before = leaky.tree(experiment)
    mlflow.delete(run)

    fates = {
        run.id: "deleted",
        free: kept(Kept.MODEL_OF_DELETED_RUN),
        versioned: kept(Kept.LIVE_CLAIM),
        used: None,
    }
    plan = leaky.plan()
    assert plan.fates(*fates) == fates
    assert plan.sizes(free, versioned) == {free: 30, versioned: 31}
    assert f"logged model  {Kept.MODEL_OF_DELETED_RUN.value}" in leaky.say("plan").out
    leaky.sweep()
    assert leaky.tree(experiment) == without(before, run.id)

    cascade = ("--cascade", "models")
    assert leaky.plan(*cascade).fates(free) == {free: "run_deleted"}
    results = {free: "quarantined", versioned: None, used: None}
    assert leaky.sweep(*cascade).results(free, versioned, used) == results
    assert leaky.tree(experiment) == without(before, run.id, f"models/{free}")
    assert (mlflow.version_file(name), mlflow.model_file(used)) == (b"m" * 31, b"m" * 32)


def test_deleted_version_loses_its_own_copy_and_nothing_else(leaky: Leaky) -> None:
    """Files that belong to a run, a logged model or a version made from it stay theirs."""
    mlflow = leaky.site.tracking
    experiment = mlflow.create_experiment()
    run = mlflow.log_run({"model/MLmodel": b"m" * 40}, experiment)
    model = mlflow.log_model(run, b"m" * 41)
    of_run = mlflow.register(f"runs:/{run.id}/model", run)
    of_model = mlflow.register(f"models:/{model}")
    copied, copy = _register_a_copy(leaky, experiment, b"m" * 42)
    promoted, still_used = _register_a_copy(leaky, experiment, b"m" * 43)
    copy_of_it = mlflow.register(f"models:/{promoted}/1")
    before = leaky.tree(experiment)
    names = (of_run, of_model, copied, promoted)
    for name in names:
        mlflow.delete_version(name)
    versions = dict(zip(names, (f"{name} version 1" for name in names), strict=True))

    plan, theirs = leaky.plan(), (versions[of_run], versions[of_model], run.id, model)
    assert plan.fates(*theirs, versions[copied], versions[promoted]) == {
        **all_are(None, theirs),
        versions[copied]: "version_deleted",
        versions[promoted]: kept(Kept.LIVE_CLAIM),
    }
    assert plan.sizes(versions[copied]) == {versions[copied]: 42}
    assert f"copies-{experiment}/{copy.rpartition('/')[2]}" not in plan.foreign(leaky.site.root)

    done = leaky.sweep()
    assert done.results(*versions.values()) == {
        **all_are(None, versions.values()),
        versions[copied]: "quarantined",
    }
    assert not (leaky.site.root / copy).exists()
    assert tree_of(leaky.site.root / still_used) == {"MLmodel": b"m" * 43}
    assert mlflow.version_file(copy_of_it) == b"m" * 43
    assert leaky.tree(experiment) == before
    assert mlflow.download(run, "model/MLmodel") == b"m" * 40
    assert mlflow.model_file(model) == b"m" * 41


def test_deleted_registered_model_takes_nobodys_files_along(leaky: Leaky) -> None:
    """With its rows gone nothing says whose a copy was: it is foreign, and never touched."""
    mlflow = leaky.site.tracking
    experiment = mlflow.create_experiment()
    run = mlflow.log_run({"model/MLmodel": b"m" * 40}, experiment)
    name = mlflow.register(f"runs:/{run.id}/model", run)
    copied, copy = _register_a_copy(leaky, experiment, b"m" * 43)
    before = leaky.tree(experiment)
    mlflow.unregister(name)
    mlflow.unregister(copied)

    versions = [f"{name} version 1", f"{copied} version 1"]
    plan = leaky.plan(AT_ONCE)
    assert plan.fates(*versions, run.id) == all_are(None, [*versions, run.id])
    assert plan.foreign(leaky.site.root)[f"copies-{experiment}/{copy.rpartition('/')[2]}"] == 43
    leaky.sweep(AT_ONCE)
    assert tree_of(leaky.site.root / copy) == {"MLmodel": b"m" * 43}
    assert leaky.tree(experiment) == before
    assert mlflow.download(run, "model/MLmodel") == b"m" * 40


def test_deleted_experiment_loses_everything_but_what_is_in_use(leaky: Leaky) -> None:
    """A registered version's source and an active run inside stay; restored, all of it is back."""
    mlflow = leaky.site.tracking
    experiment = mlflow.create_experiment()
    gone, live = mlflow.log_run(FILES, experiment), mlflow.log_run(FILES, experiment)
    model, used, its = (
        mlflow.log_model(run, b"m" * size) for run, size in ((gone, 50), (gone, 51), (live, 52))
    )
    trace, live_trace = mlflow.log_trace(gone, b"[]"), mlflow.log_trace(live, b"[1]")
    name = mlflow.register(f"models:/{used}")
    before = leaky.tree(experiment)
    mlflow.delete_experiment(experiment)
    mlflow.restore(live)

    fates = {
        gone.id: "deleted",
        model: "experiment_deleted",
        trace: "experiment_deleted",
        used: kept(Kept.LIVE_CLAIM),
        **all_are(None, [live.id, its, live_trace]),
    }
    assert leaky.plan().fates(*fates) == fates
    results = leaky.sweep().results(gone.id, model, trace)
    assert results == all_are("quarantined", [gone.id, model, trace])
    left = without(before, gone.id, f"models/{model}", f"traces/{trace}")
    assert leaky.tree(experiment) == left
    assert mlflow.version_file(name) == b"m" * 51
    assert (mlflow.download(live, "a.txt"), mlflow.model_file(its)) == (b"a" * 10, b"m" * 52)

    mlflow.restore_experiment(experiment)
    leaky.sweep()
    assert leaky.tree(experiment) == before
    assert (mlflow.model_file(model), mlflow.trace_file(trace)) == (b"m" * 50, b"[]")


def test_deleted_trace_leaves_spans_and_attachments_that_go(leaky: Leaky) -> None:
    """Its row is gone at once, so its files are an orphan; those of other traces stay."""
    mlflow = leaky.site.tracking
    experiment = mlflow.create_experiment()
    run = mlflow.log_run(FILES, experiment)
    gone, live = mlflow.log_trace(run, b"[1]"), mlflow.log_trace(run, b"[12]")
    mlflow.attach(gone, experiment, b"p" * 60)
    attachment = mlflow.attach(live, experiment, b"p" * 61)
    before = leaky.tree(experiment)
    mlflow.delete_trace(gone, experiment)

    plan = leaky.plan(AT_ONCE)
    assert plan.fates(gone, live) == {gone: "orphan", live: None}
    assert plan.sizes(gone) == {gone: 63}
    assert leaky.sweep(AT_ONCE).results(gone, live) == {gone: "quarantined", live: None}
    assert leaky.tree(experiment) == without(before, f"traces/{gone}")
    assert (mlflow.trace_file(live), mlflow.trace_file(live, attachment)) == (b"[12]", b"p" * 61)


def test_saved_plan_is_carried_out_exactly_and_once(leaky: Leaky) -> None:
    """`apply` skips what was restored since, takes nothing that was deleted since, and once."""
    mlflow = leaky.site.tracking
    experiment = mlflow.create_experiment()
    runs = [mlflow.log_run(FILES, experiment) for _ in range(3)]
    planned, restored, later = runs
    leaky.sweep()
    before = leaky.tree(experiment)
    mlflow.delete(planned)
    mlflow.delete(restored)
    file = f"plan-{experiment}.json"
    assert planned.id in leaky.say("plan", "-o", file).out
    mlflow.restore(restored)
    mlflow.delete(later)

    said = leaky.say("apply", file)
    assert said.out.splitlines()[0].endswith("1 moved to the trash, 1 skipped; 110 B")
    assert f"skipped: run {restored.id}" in said.out
    assert leaky.tree(experiment) == without(before, planned.id)
    again = leaky.site.say("apply", file)
    assert (again.code, "carried out already" in again.err) == (4, True)
    assert leaky.tree(experiment) == without(before, planned.id)


def test_pinned_run_is_kept_until_it_is_unpinned(leaky: Leaky) -> None:
    """`pin` beats every reason to delete, and `unpin` takes it back."""
    mlflow = leaky.site.tracking
    experiment = mlflow.create_experiment()
    run = mlflow.log_run(FILES, experiment)
    before = leaky.tree(experiment)
    mlflow.delete(run)
    assert run.id in leaky.say("pin", run.id, "--reason", "for the paper").out

    assert leaky.plan().fates(run.id) == {run.id: kept(Kept.PINNED)}
    leaky.sweep()
    assert leaky.tree(experiment) == before
    leaky.say("unpin", run.id)
    assert leaky.sweep().results(run.id) == {run.id: "quarantined"}


def _let_hours_pass(leaky: Leaky, hours: int) -> None:
    """Move what the ledger noted of orphans back in time, as if it had been seen so long ago."""
    ledger = leaky.site.state_dir / "ledger.db"
    with closing(sqlite3.connect(ledger, timeout=30)) as connection, connection:
        connection.execute("UPDATE sightings SET first_s = first_s - ?", (hours * 3_600 + 60,))


def _register_a_copy(leaky: Leaky, experiment: str, content: bytes) -> tuple[str, str]:
    """Register a version that has files of its own; returns the model's name and their place.

    MLflow 3.17 refuses such a source and makes no copies: older servers and registries that copy
    left the column like this.
    """
    mlflow = leaky.site.tracking
    place = f"copies-{experiment}/{uuid.uuid4().hex[:8]}"
    with pytest.raises(CallFailed):
        mlflow.register(f"mlflow-artifacts:/{place}")
    run = mlflow.log_run({"model/MLmodel": b"m"}, "0")
    name = mlflow.register(f"runs:/{run.id}/model", run)
    mlflow.put(f"{place}/MLmodel", content)
    uri = f"mlflow-artifacts:/{place}"
    leaky.sql("UPDATE model_versions SET storage_location = ? WHERE name = ?", uri, name)
    assert mlflow.version_file(name) == content
    return name, place
