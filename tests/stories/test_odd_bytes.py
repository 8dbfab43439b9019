"""Text that is no UTF-8, wherever a client or a broken disk may put it, stops nothing of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from mlflow_cleanup.cli.app import app
from mlflow_cleanup.report.lines import line_of
from tests.kit.homes import in_both_homes
from tests.kit.world import Run, World
from tests.stories.refusing import refuses_everything

pytestmark = in_both_homes

ODD = ["x'FF00'", "CAST(x'FFFE' AS TEXT)", "CAST(x'EDA080' AS TEXT)", "'telling'"]


@pytest.fixture
def runs(world: World) -> list[Run]:
    """Three known active runs of 10 bytes."""
    made = [world.run() for _ in range(3)]
    world.cycle()
    return made


@pytest.fixture(autouse=True)
def all_is_readable(world: World) -> Iterator[None]:
    """Afterwards what was told, and what the reading verbs say, is text that can be written."""
    yield
    for event in world.events:
        line_of(event).encode()
    where = [
        f"--backend-store-uri=sqlite:///{world.settings.database.name}",
        world.ledger_flag,
    ]
    for words in (["status"], ["history"], ["trash", "list"]):
        for form in ([], ["--json"]):
            done = CliRunner().invoke(app, [*words, *form, *where], catch_exceptions=False)
            assert done.exit_code == 0, done.output


@pytest.mark.parametrize("key", ["database", "ledger", "root"])
@pytest.mark.parametrize("is_ours", [False, True])
def test_owner_marker_refuses_or_is_ours(
    world: World, runs: list[Run], key: str, *, is_ours: bool
) -> None:
    """Any client can write the marker through the artifact proxy: lone surrogates are a name."""
    place = world.root / ".mlflow-cleanup" / "owner.json"
    marker = json.loads(place.read_bytes())
    marker |= {key: "\udc80"} | ({} if is_ours else {"experiments": {"0": 5}})
    place.write_text(json.dumps(marker), encoding="ascii")
    world.delete(runs[0])
    if is_ours and key != "ledger":
        world.cycle()
        assert world.bytes_in_trash(runs[0]) == 10
        assert json.loads(place.read_bytes())[key] != "\udc80"
        return

    refusal = refuses_everything(world)

    assert "owner marker of another tracking database" in refusal.reason
    world.answer(refusal)
    world.cycle()
    assert world.bytes_in_trash(runs[0]) == 10


@pytest.mark.parametrize("value", ODD)
def test_experiment_of_a_run_is_only_a_label(world: World, runs: list[Run], value: str) -> None:
    """Whatever stands there, the run is moved, restored and told like any other."""
    world.db.execute(f"UPDATE runs SET experiment_id = {value}")
    world.delete(runs[0])
    world.cycle()
    assert world.bytes_in_trash(runs[0]) == 10

    world.undelete(runs[0])
    world.cycle()
    assert world.bytes_at(runs[0]) == 10


@pytest.mark.parametrize("value", ODD)
def test_experiment_with_an_odd_id_is_told_from_others(
    world: World, runs: list[Run], value: str
) -> None:
    """Such an id is part of what the database is recognised by, through restarts too."""
    with world.db.connection() as connection:
        connection.execute("CREATE TABLE odd AS SELECT * FROM experiments")
        connection.execute("DROP TABLE experiments")
        connection.execute("ALTER TABLE odd RENAME TO experiments")
        connection.execute(
            "INSERT INTO experiments (experiment_id, artifact_location, lifecycle_stage, "
            f"creation_time) VALUES ({value}, ?, 'active', 2000)",
            (f"file://{runs[1].place}",),
        )
    world.cycle()
    world.restart()
    world.delete(runs[0], runs[1])
    world.cycle()

    assert world.bytes_in_trash(runs[0]) == 10
    assert world.bytes_at(runs[1]) == 10
    assert len((world.ledger.identity or pytest.fail("no identity")).anchors) == 2


@pytest.mark.parametrize("value", ODD)
def test_schema_revision_is_an_unknown_one(world: World, runs: list[Run], value: str) -> None:
    """Refused in clear words; allowed all the same, it cleans up."""
    world.delete(runs[0])
    world.db.execute(f"UPDATE alembic_version SET version_num = {value}")
    refusal = refuses_everything(world)
    assert "--allow-unknown-schema" in refusal.reason
    refusal.reason.encode()

    world.answer(refusal)
    world.cycle()
    assert world.bytes_in_trash(runs[0]) == 10


@pytest.mark.parametrize("value", ODD[1:])
@pytest.mark.parametrize("name", ["name", "artifact_uri", "status", "lifecycle_stage"])
def test_column_of_a_run_stops_no_other_run(
    world: World, runs: list[Run], name: str, value: str
) -> None:
    """One odd row among others: they are cleaned up, it is kept or moved, nothing is raised."""
    world.db.execute(f"UPDATE runs SET {name} = {value} WHERE run_uuid = ?", runs[0].id)
    world.cycle()
    world.delete(runs[0], runs[1])
    world.cycle()
    world.cycle()

    assert world.bytes_in_trash(runs[1]) == 10
    assert world.bytes_at(runs[0]) + world.bytes_in_trash(runs[0]) == 10


@pytest.mark.parametrize("value", ODD[1:])
def test_claim_by_an_odd_name_protects(world: World, runs: list[Run], value: str) -> None:
    """A registered model whose name is no UTF-8 has its files kept, and is told by that name."""
    world.register(f"runs:/{runs[0].id}/model.bin")
    world.db.execute(f"UPDATE model_versions SET name = {value}")
    world.delete(runs[0])
    world.cycle()

    assert world.bytes_at(runs[0]) == 10
    assert world.history(runs[0]) == ["kept"]
