"""`gc` of deleted experiments: what left only with one is whole as long as the experiment stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.kit.collecting import (
    FAILED,
    HELD,
    KEPT,
    REMOVED,
    collect,
    deleted_experiment,
    has_row,
    is_gone,
    is_whole,
    model,
    seen_world,
    shown,
    trace,
)
from tests.kit.world import Run, World

AT_ONCE = timedelta(0)
DAY = timedelta(days=1)
DEAD = "7"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world with an empty tracking database and no retention, seen once already."""
    yield from seen_world(tmp_path)


@pytest.fixture
def inside(world: World) -> Run:
    """A run of 10 bytes in a deleted experiment, deleted with it."""
    deleted_experiment(world, DEAD)
    run = world.run(experiment=DEAD)
    world.cycle()
    world.delete(run)
    return run


@pytest.fixture
def active(world: World, inside: Run) -> Callable[[], bool]:
    """A model and a trace that left with it; whether both have their rows and files."""
    assert has_row(world, inside)
    places = [model(world, "m-1", experiment=DEAD), trace(world, "tr-1", experiment=DEAD)]
    return lambda: (
        has_row(world, "m-1", "logged model")
        and has_row(world, "tr-1", "trace")
        and [world.bytes_at(place) for place in places] == [10, 10]
    )


def execute(world: World, statement: str, *values: object) -> None:
    """Change the tracking database."""
    with world.db.connection() as connection:
        connection.execute(statement, values)


def metrics(world: World, of: str, run: Run) -> None:
    """Let a run have logged a metric of a model."""
    world.db.insert(
        "logged_model_metrics",
        model_id=of,
        metric_name="x",
        metric_timestamp_ms=1,
        metric_step=1,
        metric_value=1,
        experiment_id=0,
        run_id=run.id,
    )


Keeps = Callable[[World, Run], object]


def used_dataset(world: World, user: Run) -> None:
    """Let a run use a dataset of the deleted experiment."""
    world.db.dataset("d", "{}", user.id)
    execute(world, "UPDATE datasets SET experiment_id = 7")


def remote_trace(world: World, _: Run) -> None:
    """Let a trace lie where nothing can be removed."""
    world.db.trace("tr-2", "s3://bucket/7/traces/tr-2/artifacts")
    execute(world, "UPDATE trace_info SET experiment_id = 7 WHERE request_id = 'tr-2'")


def live_trace(world: World, _: Run) -> None:
    """Let a trace belong to a live run elsewhere."""
    trace(world, "tr-2", experiment=DEAD)
    world.db.insert(
        "trace_request_metadata",
        request_id="tr-2",
        key="mlflow.sourceRun",
        value=world.run().id,
    )


def used_model(world: World, _: Run) -> None:
    """Let a model be what a live run elsewhere was given."""
    model(world, "m-2", experiment=DEAD)
    world.db.insert(
        "inputs",
        input_uuid="i",
        source_type="RUN_INPUT",
        source_id=world.run().id,
        destination_type="MODEL_INPUT",
        destination_id="m-2",
    )


def live_model(world: World, _: Run) -> None:
    """Let a model be made by a live run elsewhere."""
    model(world, "m-2", experiment=DEAD)
    run = world.run().id
    execute(world, "UPDATE logged_models SET source_run_id = ? WHERE model_id = 'm-2'", run)


def pin(world: World, id_: str) -> None:
    """Pin by `mlflow-cleanup pin`."""
    world.ledger.pins.add([id_], world.ledger.now(world.clock.read()).at, "telling")


def pinned_trace(world: World, _: Run) -> None:
    """Pin another trace of it."""
    trace(world, "tr-2", experiment=DEAD)
    pin(world, "tr-2")


def plug_in(table: str, key: str, value: str | None = None) -> Keeps:
    """Return what adds somebody else's table with a row that refers without a word."""

    def add(world: World, inside: Run) -> None:
        execute(
            world, f"CREATE TABLE plug_in (id INTEGER PRIMARY KEY, it REFERENCES {table} ({key}))"
        )
        execute(world, "INSERT INTO plug_in VALUES (1, ?)", value or inside.id)

    return add


KEEPS: dict[str, Keeps] = {
    "remote trace": remote_trace,
    "trace of a live run elsewhere": live_trace,
    "model that a live run uses": used_model,
    "model of a live run elsewhere": live_model,
    "dataset that a live run uses": lambda world, _: used_dataset(world, world.run()),
    "pinned trace": pinned_trace,
    "pinned experiment": lambda world, _: pin(world, DEAD),
    "tagged experiment": lambda world, _: world.db.tag_experiment(7, "mlflow-cleanup.keep", "yes"),
    "plug-in of the experiment": plug_in("experiments", "experiment_id", DEAD),
    "plug-in of a run": plug_in("runs", "run_uuid"),
    "plug-in of a model": plug_in("logged_models", "model_id", "m-1"),
    "plug-in of a trace": plug_in("trace_info", "request_id", "tr-1"),
}


@pytest.mark.parametrize("how", KEEPS)
def test_what_keeps_it_is_found_before_anything_goes(
    world: World, inside: Run, active: Callable[[], bool], how: str
) -> None:
    """Its model and its trace have all they had, and are there when it is restored."""
    KEEPS[how](world, inside)
    said = shown(world)

    told = collect(world)

    assert active(), told.one_by_one
    assert told.fates("m-1", "tr-1", DEAD) == [KEPT] * 3
    assert has_row(world, DEAD, "experiment")
    assert {"m-1", "tr-1", DEAD} <= {id_ for id_, stays in said.items() if stays}
    assert collect(world).fates(DEAD) == [KEPT]
    assert active()


def test_deleted_run_elsewhere_uses_a_dataset_of_it(
    world: World, inside: Run, active: Callable[[], bool]
) -> None:
    """That may yet stay; when it has gone, the experiment goes with the next one."""
    user = world.run()
    used_dataset(world, user)
    world.delete(user)
    assert collect(world).every_fate == {
        **dict.fromkeys((user.id, inside.id), REMOVED),
        **dict.fromkeys(("m-1", "tr-1", DEAD), KEPT),
    }
    assert active()
    assert set(collect(world).every_fate.values()) == {REMOVED}
    assert not has_row(world, DEAD, "experiment")


@pytest.mark.usefixtures("active")
def test_what_goes_along_holds_nothing(world: World, inside: Run) -> None:
    """A dataset that only its own run uses, metrics that its run logged of its own model."""
    used_dataset(world, inside)
    metrics(world, "m-1", inside)
    assert set(shown(world).values()) == {None}
    told = collect(world)
    assert told.every_fate == dict.fromkeys((inside.id, "m-1", "tr-1", DEAD), REMOVED)
    assert is_gone(world, inside)
    assert world.db.execute("SELECT 1 FROM datasets") == []


def test_run_that_another_ones_model_names_is_told_once(
    world: World, inside: Run, active: Callable[[], bool]
) -> None:
    """While it was thought to go with its experiment, somebody logged metrics with it."""
    model(world, "m-9")
    told = collect(world, before_rows=lambda: metrics(world, "m-9", inside), of=inside.id)
    assert told.fates(inside, DEAD) == [KEPT, KEPT]
    assert "metrics" in told.why(inside)
    assert active()


def test_one_that_stays_keeps_another(
    world: World, inside: Run, active: Callable[[], bool]
) -> None:
    """Its model's metrics name a run in another deleted experiment, so both stay as they are."""
    deleted_experiment(world, "8")
    run = world.run(experiment="8")
    world.delete(run)
    place = model(world, "m-8", experiment="8")
    metrics(world, "m-1", run)
    remote_trace(world, inside)
    told = collect(world)
    assert active()
    assert told.fates("m-8", DEAD, "8") == [KEPT] * 3
    assert world.bytes_at(place) == 10
    assert has_row(world, "m-8", "logged model")


def test_only_rows(world: World, inside: Run, active: Callable[[], bool]) -> None:
    """`--metadata-only`: files keep it, and so the row of a trace that has none."""
    world.db.insert("trace_info", request_id="tr-2", experiment_id=7, timestamp_ms=1, status="OK")
    told = collect(world, files=False)
    assert told.fates("tr-2", DEAD) == [KEPT, KEPT]
    assert has_row(world, "tr-2", "trace")
    assert active()
    assert is_whole(world, inside)


def test_kept_in_the_middle(world: World, inside: Run, active: Callable[[], bool]) -> None:
    """A dataset of it is used by a new run, while its deleted runs are being removed."""
    told = collect(world, before_rows=lambda: used_dataset(world, world.run()), of=inside.id)
    assert told.fates(inside, "m-1", "tr-1", DEAD) == [REMOVED, KEPT, KEPT, KEPT]
    assert active()


def test_conflict_in_the_trash_keeps_it(
    world: World, inside: Run, active: Callable[[], bool]
) -> None:
    """What nobody may purge stays, and so does all else."""
    world.restart(retention=DAY)
    world.cycle()
    world.write(inside, "model.bin", 100, "other")
    world.restore_by_hand(inside)
    world.restart(retention=AT_ONCE)
    told = collect(world)
    assert told.fates("m-1", "tr-1", DEAD) == [KEPT] * 3
    assert told.fates(inside) in ([FAILED], [KEPT])
    assert active()


class TestTrash:
    """With a retention, files go into the trash first: they can all be had back."""

    def test_rows_wait_for_files_in_the_trash(self, world: World, inside: Run) -> None:
        """A trace without files stays while those of a run are there."""
        world.restart(retention=DAY)
        place = model(world, "m-1", experiment=DEAD)
        world.db.insert(
            "trace_info", request_id="tr-2", experiment_id=7, timestamp_ms=1, status="OK"
        )
        assert shown(world)[DEAD]
        told = collect(world)
        assert told.fates(inside, "m-1", "tr-2", DEAD) == [HELD, HELD, KEPT, KEPT]
        assert has_row(world, "tr-2", "trace")
        assert not place.exists()
        world.advance(days=1)
        assert set(collect(world).every_fate.values()) == {REMOVED}
        assert not has_row(world, DEAD, "experiment")

    @pytest.mark.usefixtures("inside")
    def test_what_is_due_waits_for_the_rest(self, world: World) -> None:
        """A model's files are not purged while those of another one may be restored."""
        world.restart(retention=DAY)
        first = model(world, "m-1", experiment=DEAD)
        collect(world)
        world.advance(hours=12)
        second = model(world, "m-2", experiment=DEAD)
        collect(world)
        world.advance(hours=12)
        assert collect(world).fates("m-1", "m-2", DEAD) == [HELD, HELD, KEPT]
        assert world.bytes_in_trash() == 20
        world.advance(hours=12)
        assert collect(world).fates("m-1", "m-2", DEAD) == [REMOVED] * 3
        assert world.bytes_in_trash() == 0
        assert [place.exists() for place in (first, second)] == [False, False]
