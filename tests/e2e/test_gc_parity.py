"""For any database: what is left after `gc` is what `mlflow gc` leaves, but for what is better."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.kit.mlflow_gc import Ground, MLflow, Rows, ground_at
from tests.kit.parity import Draw, Expected, Goes, entities, files, left, without

pytestmark = pytest.mark.e2e

SOME = 20
MANY = 1_000


def check(ground: Ground, seed: int, aside: Path) -> None:
    """Run both on one database, and see that each did what it had to."""
    draw = Draw.make(ground, seed)
    expected = Expected(draw)
    ground.mlflow.ask("forget")
    before = ground.state()
    ground.save(aside)

    theirs = ground.theirs(*draw.words)
    if not expected.is_refused and not expected.stops_in_the_middle:
        goes = expected.theirs()
        assert theirs.code == 0, theirs.out
        assert entities(theirs.after.rows) == left(before.rows, goes)
        assert files(theirs.after.files) == without(before.files, expected.their_files)
    else:
        assert theirs.code != 0

    ground.load(aside)
    goes = expected.ours()
    answer = ground.mlflow.ask(
        "hard_delete",
        database=str(ground.database),
        root=str(ground.root),
        **{kind: sorted(getattr(goes, kind)) for kind in ("runs", "models", "experiments", "jobs")},
    )
    assert answer
    reference = ground.state().rows
    ground.load(aside)
    ours = ground.ours(*draw.words)

    assert ours.code == (2 if expected.is_refused else 0), ours.out
    assert entities(ours.after.rows) == left(before.rows, goes), ours.out
    gone = goes.runs | goes.bare_runs | goes.models | goes.traces
    assert files(ours.after.files) == without(before.files, gone)
    assert ours.after.rows == without_dangling(reference, goes)
    if not expected.is_refused:
        no_empty_directories(ours.after.files, gone | goes.experiments)


def without_dangling(rows: Rows, goes: Goes) -> Rows:
    """Improvement: no `inputs` row names what is gone, nor does a tag of one."""
    gone = goes.runs | goes.models
    stays = {row for row in rows["inputs"] if gone.isdisjoint({row[2], row[4]})}
    known = {row[0] for row in stays}
    tags = {row for row in rows["input_tags"] if row[0] in known}
    return {**rows, "inputs": stays, "input_tags": tags}


def no_empty_directories(tree: dict[str, bytes | None], gone: frozenset[str]) -> None:
    """Improvement: no directory is left of what is gone."""
    assert [
        name for name, content in tree.items() if content is None and name.split("/")[-1] in gone
    ] == []


@pytest.mark.parametrize("seed", range(SOME))
def test_some_databases(ground: Ground, tmp_path: Path, seed: int) -> None:
    """The same ones each time."""
    check(ground, seed, tmp_path / "aside")


@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_many_databases(tmp_path: Path, mlflow: MLflow, empty_database: Path) -> None:
    """One after another, with a word of which one it was."""
    for seed in range(SOME, SOME + MANY):
        home = tmp_path / str(seed)
        try:
            check(ground_at(home / "home", mlflow, empty_database), seed, home / "aside")
        except AssertionError as error:
            raise AssertionError(f"with seed {seed}: {error}") from error
        shutil.rmtree(home)
