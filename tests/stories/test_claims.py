"""A live claim always wins: every way in which somebody may still want a deleted run's bytes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mlflow_cleanup.cycle.turn import Scope
from mlflow_cleanup.model.item import ItemState
from tests.kit.world import Run, World

ODD_ID = "telling-run"
"""No id that MLflow gives: text that holds it is not recognised by it, only by its place."""

Claim = Callable[[World, Run], None]


def by_run(uri: str) -> Claim:
    """Claim through another active run's artifact URI; `{}` is the place below the root."""

    def claim(world: World, run: Run) -> None:
        inside = run.place.relative_to(world.root).as_posix()
        world.run({}, uri=uri.format(inside, home=world.home, root=world.root))

    return claim


def by_link(where: str, to: str) -> Claim:
    """Claim through another active run whose URI leads through a symbolic link."""

    def claim(world: World, run: Run) -> None:
        link = world.home / where
        link.symlink_to(world.home / to)
        rest = run.place.relative_to(world.home / to)
        world.run({}, uri=f"file://{link / rest}")

    return claim


def by_version(source: str | None, storage_location: str | None = None) -> Claim:
    """Claim through a registered model version."""

    def claim(world: World, _: Run) -> None:
        world.register(source, storage_location=storage_location)

    return claim


def by_logged_model(world: World, run: Run) -> None:
    """Claim through a logged model."""
    world.db.logged_model("m-1", f"file://{run.place}/model")


def by_version_of_deleted_model(world: World, run: Run) -> None:
    """Claim through a version whose logged model was deleted, which MLflow allows."""
    world.db.logged_model("m-1", f"file://{run.place}/model", stage="deleted")
    world.register("models:/m-1")


def by_chain(world: World, run: Run) -> None:
    """Claim through a version that is a copy of a copy of one that was deleted."""
    world.register("gone", storage_location=f"file://{run.place}/model")
    world.unregister()
    world.register("models:/telling/1", version=2)
    world.register("models:/telling/2", version=3)


def by_trace(world: World, run: Run) -> None:
    """Claim through a trace's artifact location."""
    world.db.trace("tr-1", f"file://{run.place}/traces/tr-1/artifacts")


def by_archived_trace(world: World, run: Run) -> None:
    """Claim through the tag that says where a trace was archived."""
    world.db.insert("trace_info", request_id="tr-2", experiment_id=0, timestamp_ms=1, status="OK")
    world.db.insert(
        "trace_tags",
        request_id="tr-2",
        key="mlflow.trace.archiveLocation",
        value=f"file://{run.place}/archive",
    )


def by_pinned_run(inside: str) -> Claim:
    """Claim through another deleted run that is pinned: what lies at its place stays."""

    def claim(world: World, _: Run) -> None:
        uri = f"mlflow-artifacts:/0/{ODD_ID}{inside}"
        pinned = world.run({}, id_="pinned-run", uri=uri, lifecycle_stage="deleted")
        world.delete(pinned)
        world.tag(pinned, "mlflow-cleanup.keep", "yes")

    return claim


def by_pinned_experiment(world: World, run: Run) -> None:
    """Claim through a deleted experiment that is pinned."""
    world.db.experiment("8", f"file://{run.place}/nested", stage="deleted")
    world.db.tag_experiment(8, "mlflow-cleanup.keep", "yes")


def by_ledger_pin(path: str) -> Claim:
    """Pin a path, as `mlflow-cleanup pin` does; `{}` is the place, `{root}` the root."""

    def claim(world: World, run: Run) -> None:
        at = world.ledger.now(world.clock.read()).at
        world.ledger.pins.add([path.format(run.place, root=world.root)], at, "for Ada")

    return claim


def by_experiment(inside: str) -> Claim:
    """Claim through a live experiment whose artifact location is the run's place or lies in it."""

    def claim(world: World, run: Run) -> None:
        world.db.experiment("7", f"file://{run.place}{inside}")

    return claim


def by_tag(value: str) -> Claim:
    """Pin the run."""
    return lambda world, run: world.tag(run, "mlflow-cleanup.keep", value)


def by_experiment_tag(world: World, _: Run) -> None:
    """Pin the run's whole experiment."""
    world.db.tag_experiment(0, "mlflow-cleanup.keep", "yes")


CLAIMS = {
    "run at the same URI": by_run("mlflow-artifacts:/{}"),
    "run at the same place as a path": by_run("{root}/{}"),
    "run at the same place as a file URI": by_run("file://{root}/{}"),
    "run at the same place with a host": by_run("mlflow-artifacts://server:5000/{}"),
    "run at the same place through a proxy": by_run(
        "https://server/base/api/2.0/mlflow-artifacts/artifacts/{}"
    ),
    "run at a relative path": by_run("mlartifacts/{}"),
    "run at a path with dots": by_run("{root}/./7/../{}"),
    "run at a path with double slashes": by_run("{root}//{}//"),
    "run at a file URI of a host": by_run("file://server{root}/{}"),
    "run at a scheme in capitals": by_run("FILE://{root}/{}"),
    "run at a URI with a query": by_run("mlflow-artifacts:/{}?version=1"),
    "run percent-encoded": by_run("file://{home}/%6Dlartifacts/%30/telling%2Drun/artifacts"),
    "run percent-encoded twice": by_run("file://{home}/mlartifacts/0/telling%252Drun/artifacts"),
    "run inside": by_run("mlflow-artifacts:/{}/deep/er"),
    "run around": by_run("mlflow-artifacts:/0"),
    "run around everything": by_run("{root}"),
    "run through a link to the root": by_link("link", "mlartifacts"),
    "run through a link to the run's directory": by_link("link", f"mlartifacts/0/{ODD_ID}"),
    "run through a link within the root": by_link("mlartifacts/link", "mlartifacts/0"),
    "logged model": by_logged_model,
    "version of a run": by_version(f"runs:/{ODD_ID}/model"),
    "version of a whole run": by_version(f"runs:/{ODD_ID}"),
    "version at a URI": by_version(f"mlflow-artifacts:/0/{ODD_ID}/artifacts/model"),
    "version with a storage location": by_version(
        "models:/m-unknown", f"mlflow-artifacts:/0/{ODD_ID}/artifacts/model"
    ),
    "version without a source": by_version(None, f"mlflow-artifacts:/0/{ODD_ID}/artifacts/model"),
    "version of a deleted logged model": by_version_of_deleted_model,
    "version copied from deleted versions": by_chain,
    "trace": by_trace,
    "archived trace": by_archived_trace,
    "pinned deleted run at the place": by_pinned_run("/artifacts"),
    "pinned deleted run inside": by_pinned_run("/artifacts/deep/er"),
    "pinned deleted run around": by_pinned_run(""),
    "pinned deleted experiment inside": by_pinned_experiment,
    "pin of the path": by_ledger_pin("{}"),
    "pin of a path inside": by_ledger_pin("{}/model/weights"),
    "pin of a path around": by_ledger_pin("{root}/0"),
    "experiment at the place": by_experiment(""),
    "experiment inside": by_experiment("/nested"),
    "pin": by_tag("true"),
    "pin without a value": by_tag(""),
    "pin of the experiment": by_experiment_tag,
}


def drop_claims(world: World) -> None:
    """Let everybody but the deleted run itself lose interest."""
    for query in (
        "UPDATE runs SET artifact_uri = '/elsewhere' WHERE lifecycle_stage = 'active'",
        "UPDATE logged_models SET lifecycle_stage = 'deleted'",
        "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE experiment_id = 7",
        "DELETE FROM model_versions",
        "DELETE FROM trace_tags",
        "DELETE FROM tags",
        "DELETE FROM experiment_tags",
    ):
        world.db.execute(query)
    world.ledger.pins.remove([pin.target for pin in world.ledger.pins.all()])


@pytest.fixture
def run(world: World) -> Run:
    """A run with a model of 100 bytes among its files, active still."""
    made = world.run({"model/weights": 100, "log.txt": 10}, id_=ODD_ID)
    world.cycle()
    return made


@pytest.fixture(params=CLAIMS)
def claim(request: pytest.FixtureRequest) -> Claim:
    """Each kind of claim."""
    return CLAIMS[request.param]


def test_claimed_place_is_kept_and_told_once(world: World, run: Run, claim: Claim) -> None:
    """While anybody claims it, a deleted run's place stays whole, through restarts too."""
    claim(world, run)
    world.delete(run)
    for _ in range(2):
        world.cycle()
        world.restart()
    world.cycle()

    assert world.bytes_at(run) == 110
    assert world.items(run) == []
    assert world.history(run) == ["kept"]


def test_place_is_quarantined_when_the_claim_has_gone(world: World, run: Run, claim: Claim) -> None:
    """With the last claim the reason to keep is gone, and the next cycle moves it."""
    claim(world, run)
    world.delete(run)
    world.cycle()

    drop_claims(world)
    world.cycle()

    assert world.bytes_in_trash(run) == 110
    assert world.history(run) == ["kept", "quarantined"]


def test_new_claim_on_a_quarantined_place_brings_it_back(
    world: World, run: Run, claim: Claim
) -> None:
    """Claimed while it is in the trash, the place is given back whole, and kept."""
    world.delete(run)
    world.cycle()
    assert world.bytes_in_trash(run) == 110

    claim(world, run)
    world.cycle()
    world.cycle()

    assert world.bytes_at(run) == 110
    assert world.trash() == []
    assert world.history(run) == ["quarantined", "restored", "kept"]


def test_new_claim_stops_a_purge_that_is_due(world: World, run: Run, claim: Claim) -> None:
    """The last look before a purge sees a claim that came an instant ago."""
    world.delete(run)
    world.cycle()
    world.advance(days=7)
    other = world.run({"a": 1})
    world.cycle(Scope.CHANGES)
    world.delete(other)
    world.faults.after("quarantine", lambda: claim(world, run))

    world.cycle()

    assert world.bytes_at(run) == 110
    assert ItemState.PURGED not in world.states(run)


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/prefix/{}/artifacts/model",
        "dbfs:/databricks/mlflow-tracking/0/{}/artifacts",
        "models-of:{}",
        "runs:/{}/model",
    ],
)
def test_text_that_names_the_run_protects_it(world: World, text: str) -> None:
    """Where a claim cannot be resolved to a place, the run's id in it is enough."""
    run, _ = world.run(), world.run()
    world.cycle()
    world.register(text.format(run.id))
    world.hard_delete(run)
    world.cycle()

    assert world.bytes_at(run) == 10
    assert world.history(run) == ["kept"]


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/prefix/{}0/artifacts/model",
        "mlflow-artifacts:/0/models/m-{}/artifacts",
    ],
)
def test_text_that_only_resembles_the_run_protects_nothing(world: World, text: str) -> None:
    """A longer id, or another entity's of the same digits, is no claim on this run."""
    run = world.run()
    world.register(text.format(run.id))
    world.cycle()
    world.delete(run)
    world.cycle()

    assert world.bytes_in_trash(run) == 10


def test_place_beside_a_claimed_one_is_not_claimed(world: World) -> None:
    """A claim on `…/artifacts-2` is none on `…/artifacts`."""
    run = world.run(id_=ODD_ID)
    world.register(f"file://{run.place}-2")
    world.register(f"file://{run.place.parent}/artifact", version=2)
    world.cycle()
    world.delete(run)
    world.cycle()

    assert world.bytes_in_trash(run) == 10


def test_deleted_version_claims_nothing(world: World, run: Run) -> None:
    """A model version that MLflow has deleted keeps its row for ever, and protects no bytes."""
    world.register(f"runs:/{run.id}/model", storage_location=f"file://{run.place}/model")
    world.unregister()
    world.delete(run)
    world.cycle()

    assert world.bytes_in_trash(run) == 110


def test_copy_is_followed_within_its_own_workspace(world: World, run: Run) -> None:
    """Two workspaces with models of one name: a copy leads to the original beside it."""
    world.register("gone", storage_location=f"file://{run.place}/model", workspace="default")
    world.unregister()
    world.register("models:/telling/1", version=2, workspace="default")
    world.register("mlflow-artifacts:/0/elsewhere", workspace="other")
    world.delete(run)
    world.cycle()

    assert world.bytes_at(run) == 110


def test_pin_of_false_is_no_pin(world: World, run: Run) -> None:
    """The keep tag with the value "false" takes the pin back."""
    by_tag("False")(world, run)
    world.delete(run)
    world.cycle()

    assert world.bytes_in_trash(run) == 110


def test_experiment_around_a_run_claims_only_itself(world: World, run: Run) -> None:
    """That its experiment is alive, or another around it, protects no deleted run."""
    world.db.experiment("7", str(world.root))
    world.delete(run)
    world.cycle()

    assert world.bytes_in_trash(run) == 110


def test_circle_of_copies_ends(world: World, run: Run) -> None:
    """Versions that name each other as their source stop nothing."""
    world.register("models:/telling/2")
    world.register("models:/telling/1", version=2)
    world.delete(run)
    world.cycle()

    assert world.bytes_in_trash(run) == 110
