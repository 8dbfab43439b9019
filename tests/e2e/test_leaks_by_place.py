"""Leaks by where they lie: every shape of MLflow's, no shape, shared and nested locations."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from mlflow_cleanup.model.verdict import Kept
from tests.kit.leaky import AT_ONCE, Leaky, all_are, kept, without
from tests.kit.server import Site, Tree, tree_of, write_tree

pytestmark = pytest.mark.e2e

FILES = {"a.txt": b"a" * 10, "deep/b.txt": b"b" * 100}


def test_orphans_of_every_shape_go_and_foreign_files_stay(leaky: Leaky) -> None:
    """A shape of MLflow's that no row claims goes; whatever has none is never touched."""
    site, mlflow = leaky.site, leaky.site.tracking
    experiment = mlflow.create_experiment()
    live = mlflow.log_run(FILES, experiment)
    orphans = {
        f"{start}{uuid.uuid4().hex}": f"{top}/{holder}"
        for top in (experiment, f"workspaces/team-{experiment}/{experiment}")
        for holder, start in (("", ""), ("models/", "m-"), ("traces/", "tr-"), ("traces/", ""))
    }
    for id_, top in orphans.items():
        mlflow.put(f"{top}{id_}/artifacts/deep/file", b"f" * 70)
    backup, odd = f"backup-{experiment}", uuid.uuid4().hex
    foreign = [
        f"{experiment}/notes.txt",
        f"{experiment}/{live.id}/beside.txt",
        f"{experiment}/models/m-short/artifacts/MLmodel",
        f"{experiment}/traces/{odd[:8]}/artifacts/traces.json",
        f"{experiment}/{odd.upper()}/artifacts/a.txt",
        f"{backup}/{experiment}/{odd}/artifacts/a.txt",
        f"{backup}/readme.txt",
    ]
    for place in foreign:
        mlflow.put(place, b"x" * 71)
    mine = (experiment, backup, "workspaces")
    before = {top: leaky.tree(top) for top in mine}

    plan = leaky.plan(AT_ONCE)
    assert plan.fates(*orphans, live.id) == {**all_are("orphan", orphans), live.id: None}
    tops_told = plan.foreign(site.root)
    assert tops_told[f"{backup}/{experiment}"] == tops_told[backup] == 71
    assert leaky.sweep(AT_ONCE).results(*orphans) == all_are("quarantined", orphans)
    for top in mine:
        gone = [f"{place}{id_}".removeprefix(f"{top}/") for id_, place in orphans.items()]
        assert leaky.tree(top) == without(before[top], *gone)
    assert mlflow.download(live, "a.txt") == FILES["a.txt"]


def test_shared_and_nested_locations_are_compared_as_places(leaky: Leaky) -> None:
    """Two spellings are one place, one location lies inside another: any live claim keeps."""
    mlflow, shared = leaky.site.tracking, leaky.site.directory / "shared"
    root = ("--artifact-root", str(shared))
    plain, spelled = map(mlflow.create_experiment, (str(shared), shared.as_uri()))
    dead, used, outer, base = (mlflow.create_run(plain) for _ in range(4))
    other, live = mlflow.create_run(spelled), mlflow.create_run(spelled)
    inside = mlflow.create_experiment(f"{shared}/{outer.id}/artifacts/inner")
    inner, inner_dead = mlflow.create_run(inside), mlflow.create_run(inside)
    nested = f"{outer.id}/artifacts/inner"
    among = mlflow.create_run(mlflow.create_experiment(f"{shared}/{base.id}/artifacts"))
    for run in (dead, used, outer, other, live):
        write_tree(shared / run.id / "artifacts", {"model/MLmodel": run.id.encode()})
    write_tree(shared / base.id / "artifacts", {"large": bytes(10_000)})
    write_tree(shared / base.id / "artifacts" / among.id / "artifacts", FILES)
    for run in (inner, inner_dead):
        write_tree(shared / nested / run.id / "artifacts", FILES)
    leaky.say("adopt", str(shared), *root)
    before = _visible(shared)
    name = mlflow.register(f"{shared.as_uri()}/{used.id}/artifacts/model", used)
    for run in (dead, used, outer, inner_dead, among):
        mlflow.delete(run)
    mlflow.delete_experiment(spelled)
    mlflow.restore(live)

    plan = leaky.plan(*root)
    fates = {
        **all_are("deleted", [dead.id, other.id, inner_dead.id]),
        **all_are(kept(Kept.LIVE_CLAIM), [used.id, outer.id, among.id]),
        **all_are(None, [live.id, inner.id, base.id]),
    }
    assert plan.fates(*fates) == fates
    assert plan.foreign(shared) == {}
    leaky.sweep(AT_ONCE, *root)

    left = without(before, dead.id, other.id, f"{nested}/{inner_dead.id}")
    assert _visible(shared) == left
    assert mlflow.version_file(name) == used.id.encode()


def test_workspaces_leak_and_are_cleaned_alike(bare_site: Site) -> None:
    """There everything lies under one more prefix, and goes for the same reasons."""
    leaky = Leaky(bare_site)
    leaky.start("--enable-workspaces")
    mlflow = bare_site.tracking.create_workspace("team-a")
    experiment = mlflow.create_experiment()
    gone, lost, live = (mlflow.log_run(FILES, experiment) for _ in range(3))
    model, used = mlflow.log_model(live, b"m" * 80), mlflow.log_model(live, b"m" * 81)
    trace = mlflow.log_trace(live, b"[]")
    top = f"workspaces/team-a/{experiment}"
    before = leaky.tree(top)
    mlflow.delete(gone)
    leaky.drop_rows(lost)
    mlflow.delete_model(model)
    mlflow.delete_trace(trace, experiment)

    fates = {
        gone.id: "deleted",
        model: "model_deleted",
        **all_are("orphan", [lost.id, trace]),
        **all_are(None, [live.id, used]),
    }
    assert leaky.plan(AT_ONCE).fates(*fates) == fates
    leaky.sweep(AT_ONCE)
    left = without(before, gone.id, lost.id, f"models/{model}", f"traces/{trace}")
    assert leaky.tree(top) == left
    assert (mlflow.download(live, "a.txt"), mlflow.model_file(used)) == (b"a" * 10, b"m" * 81)


def _visible(root: Path) -> Tree:
    """Read what lies under a root, our own directory left out."""
    return without(tree_of(root), ".mlflow-cleanup")
