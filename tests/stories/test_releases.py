"""Databases of every release since MLflow 1.27, each with all that it has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mlflow_cleanup.cycle.usage import Question, measure_usage
from mlflow_cleanup.doctor import examine
from mlflow_cleanup.model.usage import By
from tests.kit.collecting import collect
from tests.kit.estates import USER, Fate
from tests.kit.tracking_db import REVISIONS
from tests.kit.used_release import AT_ONCE, Used, adopt, kept, taken, used_release
from tests.kit.world import tree


@pytest.fixture(params=REVISIONS)
def used(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Used]:
    """A release's database, used long before mlflow-cleanup came, and seen once since."""
    made = used_release(tmp_path / "home", request.param)
    yield made
    made.world.close()


def test_a_deleted_run_goes_to_the_trash_and_comes_back(used: Used) -> None:
    """Quarantined with the cycle after its delete, and back with the one after its restore."""
    world, before = used.world, used.files()
    used.delete("live")
    world.cycle()
    run = used.run("live")
    assert world.bytes_at(run) == 0
    assert world.bytes_in_trash(run) == len(before["live"]["model/MLmodel"])
    assert {name: files for name, files in used.files().items() if name != "live"} == {
        name: files for name, files in before.items() if name != "live"
    }

    world.db.execute("UPDATE runs SET lifecycle_stage = 'active' WHERE run_uuid = ?", run.id)
    world.cycle()
    assert used.files() == before
    assert world.history(run) == ["quarantined", "restored"]


def test_a_full_cycle_takes_what_left_and_nothing_else(used: Used) -> None:
    """Every kind of what is deleted or lost goes, and what anybody could reach stays."""
    world, estate, before = used.world, used.estate, used.files()
    adopt(world)
    world.restart(terms=AT_ONCE)
    plan = world.plan()
    gone = estate.of(Fate.GOES, Fate.ORPHAN)
    assert taken(plan) == gone
    assert kept(plan) == estate.of(Fate.STAYS, Fate.SOFT)
    assert used.files() == before

    world.sweep()
    left = {name: before[name] for name, thing in estate.things.items() if thing.id not in gone}
    assert {name: files for name, files in used.files().items() if files} == left
    assert world.plan().take == ()


def test_orphans_wait_where_they_have_to(used: Used) -> None:
    """Without an operator's word what no row knows is left, in every release."""
    world, estate = used.world, used.estate
    plan = world.plan()
    assert taken(plan) == estate.of(Fate.GOES)
    world.sweep()
    for thing in estate.things.values():
        assert bool(tree(thing.place)) == (thing.fate is not Fate.GOES), thing


def test_gc_removes_files_and_rows_of_what_is_deleted(used: Used) -> None:
    """What is deleted goes with its rows, what is claimed keeps both, all keys still fit."""
    world, estate, before = used.world, used.estate, used.files()
    world.restart(retention=timedelta(0))
    world.cycle()
    told = collect(world, takes_jobs=True, tolerates_missing=True)
    going = {thing.id for thing, _ in estate.rows_of(Fate.GOES)}
    going |= {"2"} | ({"finished job"} if estate.since("3.5") else set())
    assert {id_ for id_, fate in told.every_fate.items() if fate.value == "removed"} == going
    for thing, _ in estate.rows_of(*Fate):
        assert used.has_row(thing) == (thing.fate is not Fate.GOES), thing
    for name, thing in estate.things.items():
        assert tree(thing.place) == ({} if thing.fate is Fate.GOES else before[name]), name
    with closing(sqlite3.connect(world.db.path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_gc_by_age_leaves_what_no_row_dates(used: Used) -> None:
    """Runs deleted before 1.28, and experiments before 1.30, have no time: they wait until seen."""
    world, estate, before = used.world, used.estate, used.files()
    undated = {"deleted before 1.28"}
    if not estate.since("1.28"):
        undated |= {name for name in before if is_deleted_run(used, name)}
    world.restart(retention=timedelta(0))
    world.cycle()
    collect(world, older_than=timedelta(days=1), tolerates_missing=True)
    for name in undated:
        assert used.files()[name] == before[name], name
        assert used.has_row(estate.things[name]), name
    rows = world.db.execute("SELECT 1 FROM experiments WHERE experiment_id = 2")
    assert bool(rows) is not estate.since("2.0")
    assert (used.files()["deleted"] == {}) is estate.since("1.28")


def is_deleted_run(used: Used, name: str) -> bool:
    """Tell whether a thing is a run that is deleted."""
    thing = used.estate.things[name]
    query = "SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'deleted'"
    return bool(used.world.db.execute(query, thing.id))


def test_usage_says_whose_the_bytes_are(used: Used) -> None:
    """Runs, models and traces are their user's, in the experiment that they are in."""
    usage = measure_usage(used.world.workplace, Question(tuple(By), "bytes", 0, ()))
    by_run = {row.key: row for row in usage.tables[By.RUN].rows}
    live = by_run[used.estate.id("live")]
    assert (live.user, live.experiment_id) == (USER, "0")
    own = sum(size for name, size in sizes(used).items() if not name.endswith(ROWLESS))
    assert {row.key: row.bytes for row in usage.tables[By.USER].rows}[USER] == own
    names = {row.key: row.name for row in usage.tables[By.EXPERIMENT].rows}
    assert names["0"] == "Default"
    assert names["2"] == "experiment 2"


ROWLESS = ("lost", "deleted trace")


def sizes(used: Used) -> dict[str, int]:
    """Return the bytes of every entity."""
    return {name: sum(map(len, files.values())) for name, files in used.files().items()}


def test_doctor_knows_the_release(used: Used) -> None:
    """The revision is one that is known, and nothing is found that is bad."""
    findings = examine(used.world.settings)
    (schema,) = (finding for finding in findings if finding.subject == "schema")
    assert schema.level == "good"
    assert REVISIONS[used.estate.version] in schema.text
    assert [finding for finding in findings if finding.level == "bad"] == []
