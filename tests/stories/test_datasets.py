"""A dataset that live runs were trained on may be an artifact of a run that is deleted."""

from __future__ import annotations

import json

import pytest

from mlflow_cleanup.ledger.known import RunState
from tests.kit.world import Run, World

SOURCES = {
    "runs": "runs:/{run}/model.bin",
    "runs, a directory": "runs:/{run}/data/train",
    "runs, all of it": "runs:/{run}",
    "artifacts of the server": "mlflow-artifacts:/0/{run}/artifacts/model.bin",
    "artifacts of a server by name": "mlflow-artifacts://host:5000/0/{run}/artifacts/model.bin",
    "a path": "{root}/0/{run}/artifacts/model.bin",
    "a file URI": "file://{root}/0/{run}/artifacts",
}


@pytest.fixture
def producer(world: World) -> Run:
    """A run of 10 bytes whose artifact is a dataset of others, not deleted yet."""
    run = world.run()
    world.cycle()
    return run


@pytest.fixture
def consumer(world: World) -> Run:
    """An active run that uses datasets."""
    return world.run({})


def told(world: World, source: str, run: Run) -> str:
    """Fill in where a dataset lies."""
    return source.format(run=run.id, root=world.root)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
@pytest.mark.parametrize(
    "form",
    [
        lambda text: text,
        lambda text: json.dumps({"uri": text}),
        lambda text: json.dumps({"type": "x", "of": [1, {"path": [None, text]}]}),
    ],
    ids=["plain", "JSON", "nested JSON"],
)
def test_dataset_of_a_live_run_keeps_the_run_that_has_it(
    world: World, producer: Run, consumer: Run, source: str, form: object
) -> None:
    """However its source is written, the files stay until nobody live uses them any more."""
    assert callable(form)
    world.db.dataset("d1", form(told(world, source, producer)), consumer.id)
    world.delete(producer)
    world.cycle()
    assert world.bytes_at(producer) == 10
    assert "dataset telling data" in (world.kept_because(producer) or "")

    world.delete(consumer)
    world.cycle()
    assert world.bytes_in_trash(producer) == 10


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_dataset_is_found_by_its_place_alone(world: World, consumer: Run, source: str) -> None:
    """A run whose id no text is recognised by: what the strings of the JSON mean is what counts."""
    producer = world.run(id_="telling-run")
    world.cycle()
    inside = json.dumps({"of": [{"uri": told(world, source, producer)}]}).replace("/", "\\/")
    world.db.dataset("d1", inside, consumer.id)
    world.delete(producer)
    world.cycle()

    assert world.bytes_at(producer) == 10


def test_dataset_that_only_deleted_runs_used_keeps_nothing(
    world: World, producer: Run, consumer: Run
) -> None:
    """Its own producer counts as little as others that are deleted."""
    world.db.dataset("d1", f"runs:/{producer.id}/model.bin", consumer.id, producer.id)
    world.db.dataset("d2", f"runs:/{producer.id}/model.bin")
    world.delete(producer, consumer)
    world.cycle()

    assert world.bytes_in_trash(producer) == 10


def test_dataset_in_the_trash_comes_back_when_a_live_run_uses_it(
    world: World, producer: Run, consumer: Run
) -> None:
    """Logged as an input after the quarantine, and before the purge: given back."""
    world.delete(producer)
    world.cycle()
    world.db.dataset("d1", f"runs:/{producer.id}/model.bin", consumer.id)
    world.advance(days=7)
    world.cycle()

    assert world.bytes_at(producer) == 10
    assert world.known(producer) is RunState.ORPHANED


@pytest.mark.parametrize(
    "source",
    ["{root}", "{root}/..", "/", "file://{root}/0", "mlflow-artifacts:/0", "", "[" * 9_999],
)
def test_dataset_as_large_as_a_disk_keeps_nothing_below(
    world: World, producer: Run, consumer: Run, source: str
) -> None:
    """Somebody's data that happens to contain every run's directory claims none of them."""
    world.db.dataset("d1", told(world, source, producer), consumer.id)
    world.delete(producer)
    world.cycle()

    assert world.bytes_in_trash(producer) == 10


def test_dataset_of_a_live_run_keeps_no_other_run(
    world: World, producer: Run, consumer: Run
) -> None:
    """What lies beside a dataset is not part of it."""
    other = world.run({"b": 100})
    world.cycle()
    world.db.dataset("d1", f"runs:/{producer.id}/model.bin", consumer.id)
    world.delete(producer, other)
    world.cycle()

    assert world.bytes_at(producer) == 10
    assert world.bytes_in_trash() == 100


def test_source_of_odd_bytes_stops_nothing(world: World, producer: Run, consumer: Run) -> None:
    """A dataset whose name and source are no UTF-8, or no text: read as far as it goes."""
    inside = f"mlflow-artifacts:/0/{producer.id}/artifacts/".encode()
    world.db.dataset("d1", b"\xff\xfe", consumer.id, name=b"\xff")
    world.db.dataset("d2", 7, consumer.id)
    world.db.dataset("d3", inside + b"\xff", consumer.id, name="x")
    world.db.execute("UPDATE datasets SET name = CAST(x'ff' AS TEXT) WHERE dataset_uuid = 'd3'")
    other = world.run({"b": 100})
    world.cycle()
    world.delete(producer, other)
    world.cycle()
    world.restart()
    world.cycle()

    assert world.bytes_at(producer) == 10
    assert world.bytes_in_trash(other) == 100
    assert world.history(producer) == ["kept"]
