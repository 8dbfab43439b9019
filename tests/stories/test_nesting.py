"""Places inside other places: an experiment may lie anywhere, also in a run's own directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_cleanup.model.plan import Terms
from mlflow_cleanup.model.verdict import Kept
from tests.kit.tracking_db import run_id
from tests.kit.world import Run, World

LOW, HIGH = run_id(0xA), run_id(0xF)


@pytest.fixture(params=[(LOW, HIGH), (HIGH, LOW)], ids=["outer first", "inner first"])
def nested(world: World, request: pytest.FixtureRequest) -> tuple[Run, Run]:
    """A run of 10 bytes, and in its directory an experiment with a run of 100 bytes."""
    outer_id, inner_id = request.param
    outer = world.run(id_=outer_id)
    place = outer.place / "nested"
    world.db.experiment("7", f"file://{place}")
    inner = world.run({}, id_=inner_id, uri=f"file://{place}/{inner_id}/artifacts", experiment="7")
    inner = Run(inner.id, place / inner_id / "artifacts")
    world.write(inner, "inner.bin", 100)
    world.cycle()
    return outer, inner


def drop_experiment(world: World) -> None:
    """Delete the inner experiment, which claims its own place."""
    world.db.execute("UPDATE experiments SET lifecycle_stage = 'deleted' WHERE experiment_id = 7")


def test_live_inner_run_protects_the_outer_one(world: World, nested: tuple[Run, Run]) -> None:
    """As long as the inner run lives, nothing around it moves."""
    outer, inner = nested
    drop_experiment(world)
    world.delete(outer)
    world.cycle()

    assert world.bytes_at(outer) == 110
    assert world.kept_because(outer) == f"a live entity still claims it (run {inner.id})"


def test_live_outer_run_protects_the_inner_one(world: World, nested: tuple[Run, Run]) -> None:
    """What lies in a live run's directory is that run's too."""
    outer, inner = nested
    world.delete(inner)
    world.cycle()

    assert world.bytes_at(outer) == 110


def test_both_deleted_both_go(world: World, nested: tuple[Run, Run]) -> None:
    """With nobody left to claim anything, all of it is quarantined, and purged together."""
    outer, inner = nested
    drop_experiment(world)
    world.delete(outer, inner)
    world.cycle()
    world.cycle()
    assert not outer.place.exists()
    assert world.bytes_in_trash() == 110

    world.advance(days=7)
    world.cycle()
    assert world.ledger.items.freed().bytes == 110


def test_inner_run_restored_has_its_bytes_back(world: World, nested: tuple[Run, Run]) -> None:
    """Wherever the inner run's bytes went with the outer one's, they come back to their place."""
    outer, inner = nested
    drop_experiment(world)
    world.delete(outer, inner)
    world.cycle()

    world.undelete(inner)
    world.cycle()

    assert world.bytes_at(inner) == 100


def test_outer_run_restored_has_its_bytes_back(world: World, nested: tuple[Run, Run]) -> None:
    """The outer run is whole again; what lay in it may come with it."""
    outer, inner = nested
    drop_experiment(world)
    world.delete(outer, inner)
    world.cycle()

    world.undelete(outer)
    world.cycle()

    assert "model.bin" in world.files_at(outer)
    assert world.bytes_at(outer) + world.bytes_in_trash() == 110


class TestInnerRoot:
    """An artifact root inside a place that left: what lies in it need not be MLflow's."""

    MODEL = f"m-{run_id(7)}"

    @pytest.fixture
    def stocked(self, world: World) -> World:
        """A world whose root is adopted, and in which no plan takes too much."""
        world.run({"large": 10_000})
        world.workplace.adopt(str(world.root), alone=True)
        world.restart(terms=Terms(at_once=True))
        return world

    def name_root(self, world: World, around: Path) -> Path:
        """Name a directory as a root that clients write to directly."""
        inner = around / "shared"
        world.write(inner, "thesis.txt", 70)
        world.restart(roots=(str(world.root), str(inner)))
        world.cycle()
        return inner

    def test_deleted_run_around_it_is_kept(self, stocked: World) -> None:
        """By an ordinary cycle as by a full one, and the reason is told."""
        run = stocked.run()
        inner = self.name_root(stocked, run.place)
        stocked.delete(run)
        stocked.cycle()
        stocked.sweep()

        assert stocked.bytes_at(inner) == 70
        assert str(stocked.kept_because(run)).endswith(f"(the artifact root {inner} lies in it)")

    def test_what_nobody_claims_around_it_is_kept(self, stocked: World) -> None:
        """An orphan with a root in it is more than an orphan."""
        place = stocked.root / "0" / HIGH / "artifacts"
        stocked.write(place, "a", 30)
        inner = self.name_root(stocked, place)

        assert stocked.sweep() == []
        assert stocked.bytes_at(inner) == 70
        assert [item.verdict.reason for item in stocked.plan().keep] == [Kept.NOT_ITS_OWN]

    def test_deleted_model_around_it_is_kept(self, stocked: World) -> None:
        """So is whatever else left."""
        place = stocked.root / "0" / "models" / self.MODEL / "artifacts"
        stocked.write(place, "MLmodel", 30)
        stocked.db.logged_model(
            self.MODEL, f"mlflow-artifacts:/0/models/{self.MODEL}/artifacts", stage="deleted"
        )
        inner = self.name_root(stocked, place)

        assert stocked.sweep() == []
        assert stocked.bytes_at(inner) == 70

    def test_plan_made_before_it_was_named_leaves_it(self, stocked: World) -> None:
        """What counts is what is a root when the plan is carried out."""
        run = stocked.run()
        stocked.delete(run)
        plan = stocked.plan()
        inner = self.name_root(stocked, run.place)

        assert [step.result.value for step in stocked.carry_out(plan)] == ["skipped"]
        assert stocked.bytes_at(inner) == 70
