"""What MLflow's own `mlflow gc` leaves behind; it takes long, so it runs once for all of these."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from mlflow_cleanup.model.verdict import Kept
from tests.kit.leaky import AT_ONCE, Leaky, Told, age, all_are, kept, without
from tests.kit.rest import Run
from tests.kit.server import Tree

pytestmark = pytest.mark.e2e

FILES = {"a.txt": b"a" * 10, "deep/b.txt": b"b" * 100}


@dataclass
class Collected:
    """An experiment that lives on and one that `mlflow gc` removed, whose id is used again.

    `said` is what gc said, `before` what it left, with what was written since; then came a sweep by
    the usual rules (`after_usual`), and one that takes orphans at once.
    """

    leaky: Leaky
    runs: dict[str, Run] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    living: str = ""
    reused: str = ""
    said: str = ""
    version: str = ""
    before: dict[str, Tree] = field(default_factory=dict)
    after_usual: dict[str, Tree] = field(default_factory=dict)
    usual_plan: Told = field(default_factory=lambda: Told({}))
    plan: Told = field(default_factory=lambda: Told({}))
    done: Told = field(default_factory=lambda: Told({}))

    def trees(self) -> dict[str, Tree]:
        """Read both experiments' directories."""
        return {name: self.leaky.tree(name) for name in (self.living, self.reused)}

    def fates(self, plan: Told, *names: str) -> dict[str, str | None]:
        """Say what a plan does with the entities of these names."""
        told = plan.fates(*(self.ids[name] for name in names))
        return {name: told[self.ids[name]] for name in names}


@pytest.fixture(scope="module")
def collected(leaky: Leaky) -> Collected:
    """Let MLflow delete, run `mlflow gc`, go on using MLflow, and sweep twice."""
    made = Collected(leaky)
    _live_and_delete(made)
    made.said = leaky.gc()
    _go_on(made)
    made.before = made.trees()
    made.usual_plan = leaky.plan()
    leaky.sweep()
    made.after_usual = made.trees()
    made.plan, made.done = leaky.plan(AT_ONCE), leaky.sweep(AT_ONCE)
    return made


def _live_and_delete(made: Collected) -> None:
    mlflow = made.leaky.site.tracking
    made.living = mlflow.create_experiment()
    for name in ("live", "late", "dateless", "old", "young"):
        made.runs[name] = mlflow.log_run(FILES, made.living)
    made.ids["old model"] = mlflow.log_model(made.runs["live"], b"m" * 10)
    mlflow.delete_model(made.ids["old model"])
    for name in ("late", "dateless", "old", "young"):
        mlflow.delete(made.runs[name])
    dateless = made.runs["dateless"].id
    made.leaky.sql("UPDATE runs SET deleted_time = NULL WHERE run_uuid = ?", dateless)

    made.reused = mlflow.create_experiment()
    for name in ("gone", "active inside"):
        made.runs[name] = mlflow.log_run(FILES, made.reused)
    for name in ("model", "registered", "once registered"):
        made.ids[name] = mlflow.log_model(made.runs["gone"], name.encode())
    made.ids["trace"] = mlflow.log_trace(made.runs["gone"], b"[]")
    made.version = mlflow.register(f"models:/{made.ids['registered']}")
    mlflow.delete_version(mlflow.register(f"models:/{made.ids['once registered']}"))
    mlflow.delete_experiment(made.reused)
    mlflow.restore(made.runs["active inside"])
    made.ids.update({name: run.id for name, run in made.runs.items()})


def _go_on(made: Collected) -> None:
    leaky, mlflow = made.leaky, made.leaky.site.tracking
    mlflow.upload(made.runs["late"], "late.txt", b"l" * 11)
    for inside in (made.ids["old"], f"models/{made.ids['old model']}"):
        age(leaky.site.root / made.living / inside)
    assert mlflow.create_experiment() == made.reused
    made.runs["new"] = mlflow.log_run(FILES, made.reused)
    made.ids["new"] = made.runs["new"].id
    made.ids["new model"] = mlflow.log_model(made.runs["new"], b"new")
    made.ids["new trace"] = mlflow.log_trace(made.runs["new"], b"[1, 2]")


def test_files_written_after_gc_are_an_orphan(collected: Collected) -> None:
    """A client that goes on uploading to a run that is no more leaks what it uploads."""
    assert f"Run with ID {collected.ids['late']} has been permanently deleted" in collected.said
    assert collected.fates(collected.usual_plan, "late") == {"late": kept(Kept.TOO_YOUNG)}
    assert collected.fates(collected.plan, "late") == {"late": "orphan"}
    assert collected.plan.sizes(collected.ids["late"]) == {collected.ids["late"]: 11}
    assert collected.ids["late"] not in collected.trees()[collected.living]


def test_run_that_gc_skips_for_ever_goes(collected: Collected) -> None:
    """Deleted before MLflow noted when, it is not even named by gc."""
    dateless = collected.ids["dateless"]
    assert dateless not in collected.said
    assert collected.fates(collected.usual_plan, "dateless") == {"dateless": "deleted"}
    assert dateless in collected.before[collected.living]
    assert dateless not in collected.after_usual[collected.living]
    assert collected.leaky.in_trash(dateless) == {
        "a.txt": b"a" * 10,
        "deep": None,
        "deep/b.txt": b"b" * 100,
    }


def test_empty_directories_that_gc_left_go_once_they_are_old(collected: Collected) -> None:
    """A run's and a model's; one that became empty only now stays until it is old as well."""
    ids, living = collected.ids, collected.living
    empty = {ids["old"], ids["young"], f"models/{ids['old model']}"}
    assert [collected.before[living][name] for name in empty] == [None] * 3
    assert not any(name.startswith(f"{top}/") for top in empty for name in collected.before[living])

    fates = {"old": "empty", "old model": "empty", "young": None}
    assert collected.fates(collected.usual_plan, *fates) == fates
    gone = (ids["old"], f"models/{ids['old model']}", ids["dateless"])
    assert collected.after_usual[living] == without(collected.before[living], *gone)
    assert collected.fates(collected.plan, "young") == {"young": "empty"}
    left = without(collected.before[living], *gone, ids["young"], ids["late"])
    assert collected.trees()[living] == left


def test_what_gc_leaked_of_an_experiment_goes(collected: Collected) -> None:
    """Models, traces and a run restored inside: their rows went with it, their files did not.

    What a registered version comes from stays, and loads.
    """
    mlflow, ids = collected.leaky.site.tracking, collected.ids
    leaked = ("model", "once registered", "trace", "active inside")
    assert collected.leaky.sql("SELECT 1 FROM runs WHERE run_uuid = ?", ids["active inside"]) == []
    assert collected.fates(collected.usual_plan, *leaked) == all_are(kept(Kept.TOO_YOUNG), leaked)
    assert collected.fates(collected.plan, *leaked) == all_are("orphan", leaked)
    results = collected.done.results(*(ids[name] for name in leaked))
    assert set(results.values()) == {"quarantined"}
    assert collected.fates(collected.plan, "registered") == {"registered": None}
    assert mlflow.version_file(collected.version) == b"registered"


def test_experiment_that_got_a_removed_ones_id_keeps_all_of_its_own(collected: Collected) -> None:
    """SQLite gives an id again, so one directory holds new and dead entities: each is judged."""
    mlflow, ids, reused = collected.leaky.site.tracking, collected.ids, collected.reused
    assert f"Experiment with ID {reused} has been permanently deleted" in collected.said
    new = ("new", "new model", "new trace")
    assert collected.fates(collected.plan, *new) == all_are(None, new)
    dead = [ids["gone"], ids["active inside"], f"traces/{ids['trace']}"]
    dead += [f"models/{ids[name]}" for name in ("model", "once registered")]
    assert collected.after_usual[reused] == collected.before[reused]
    assert collected.trees()[reused] == without(collected.before[reused], *dead)
    assert mlflow.download(collected.runs["new"], "deep/b.txt") == FILES["deep/b.txt"]
    assert mlflow.model_file(ids["new model"]) == b"new"
    assert mlflow.trace_file(ids["new trace"]) == b"[1, 2]"
