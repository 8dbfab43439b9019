from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlflow_cleanup.cycle.usage import Question, measure_usage
from mlflow_cleanup.model.globs import CHECKPOINTS
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.model.usage import By, Kind, Usage
from tests.kit.world import World

LOST = "f" * 32
MODEL, TRACE = "m-" + "e" * 32, "tr-" + "d" * 32


def ask(world: World, *by: By, most: int = 0, checkpoints: tuple[str, ...] = CHECKPOINTS) -> Usage:
    """Ask where the bytes are, as `mlflow-cleanup usage` does."""
    return measure_usage(world.workplace, Question(by or tuple(By), "bytes", most, checkpoints))


def sizes(usage: Usage, by: By) -> dict[str | None, int]:
    """Return the bytes of each row by its key."""
    return {row.key: row.bytes for row in usage.tables[by].rows}


def on_the_disk(*tops: Path) -> Size:
    """Count what `du --apparent-size` counts of files, with our own directory."""
    paths = {
        os.path.join(path, name)
        for top in tops
        for path, below, files in os.walk(top)
        for name in [*files, *(one for one in below if os.path.islink(os.path.join(path, one)))]
    }
    return Size(len(paths), sum(os.lstat(path).st_size for path in paths))


def fill(world: World) -> None:
    """Put something of every kind into a world."""
    world.run({"a.txt": 1, "last.ckpt": 10, "checkpoint-3/state/x.bin": 100}, user_id="ada")
    world.db.experiment("1", "mlflow-artifacts:/1")
    world.run({"b.txt": 1_000}, experiment="1", user_id="bob")
    world.delete(world.run({"held.pt": 10_000}, user_id="ada"))
    world.cycle()
    world.db.logged_model(MODEL, f"mlflow-artifacts:/0/models/{MODEL}/artifacts")
    world.write(world.root / "0/models" / MODEL / "artifacts", "model.pt", 100_000)
    world.db.trace(TRACE, f"mlflow-artifacts:/0/traces/{TRACE}/artifacts")
    world.write(world.root / "0/traces" / TRACE / "artifacts", "traces.json", 1_000_000)
    world.write(world.root / "0" / LOST / "artifacts", "lost.pt", 2_000_000)
    world.write(world.root / "notes", "read.me", 3_000_000)
    world.write(world.root / "backup/0" / LOST / "artifacts", "copy.pt", 4_000_000)
    (world.root / "link").symlink_to("notes")


def test_every_byte_is_in_one_row_of_each_table(world: World) -> None:
    """What is under the root, our own directory included, is what every table adds up to."""
    fill(world)

    usage = ask(world)

    assert usage.total == on_the_disk(world.root)
    for table in usage.tables.values():
        shown = Size(sum(row.files for row in table.rows), sum(row.bytes for row in table.rows))
        assert (shown, table.rest) == (usage.total, Size())


def test_bytes_are_told_by_kind(world: World) -> None:
    """Each kind, checkpoints parted by the names of files and of directories."""
    fill(world)

    found = sizes(ask(world), By.KIND)

    own = found.pop(Kind.OWN.value)
    assert found == {
        Kind.RUN.value: 1_001,
        Kind.CHECKPOINT.value: 100_110,
        Kind.QUARANTINED.value: 10_000,
        Kind.TRACE.value: 1_000_000,
        Kind.ORPHANED.value: 2_000_000,
        Kind.FOREIGN.value: 7_000_000 + len("notes"),
    }
    assert own == on_the_disk(world.root / RESERVED).bytes - 10_000


def test_bytes_are_told_by_whose_they_are(world: World) -> None:
    """By experiment, user and run, the trash with what it came from; the rest is nobody's."""
    fill(world)

    usage = ask(world)
    by_user, by_experiment = sizes(usage, By.USER), sizes(usage, By.EXPERIMENT)

    assert {key: size for key, size in by_user.items() if key} == {"ada": 10_111, "bob": 1_000}
    assert by_experiment["0"] == 111 + 10_000 + 100_000 + 1_000_000 + 2_000_000
    assert by_experiment["1"] == 1_000
    assert sorted(size for key, size in sizes(usage, By.RUN).items() if key) == [
        111,
        1_000,
        10_000,
        2_000_000,
    ]
    names = {row.key: row.name for row in usage.tables[By.EXPERIMENT].rows}
    assert names == {"0": "experiment 0", "1": "experiment 1", None: None}


def test_runs_that_are_shown_have_their_names(world: World) -> None:
    """Names are read for what is shown alone."""
    world.run({"a": 10_000}, name="first")
    world.run({"b": 1_000}, name="second")

    table = ask(world, By.RUN, most=1).tables[By.RUN]

    assert [(row.name, row.bytes) for row in table.rows] == [("first", 10_000)]
    assert table.count == 2  # the other one, and what is of no run


def test_patterns_can_be_others(world: World) -> None:
    """What a checkpoint is called is the operator's business."""
    fill(world)

    found = sizes(ask(world, checkpoints=("*.txt",)), By.KIND)

    assert found[Kind.CHECKPOINT.value] == 1_001


def test_file_with_several_names_counts_no_bytes(world: World) -> None:
    """As everywhere: removing one of its names frees nothing."""
    run = world.run({"a.ckpt": 100})
    (world.root / "second").hardlink_to(run.place / "a.ckpt")

    usage = ask(world)

    assert (usage.total.files, sizes(usage, By.KIND)[Kind.CHECKPOINT.value]) == (3, 0)


def test_orphans_are_those_of_the_plan(world: World) -> None:
    """A place without a row that a registered version still needs is not orphaned."""
    place = world.root / "0" / LOST / "artifacts"
    world.write(place, "net/model.bin", 100)
    assert sizes(ask(world), By.KIND)[Kind.ORPHANED.value] == 100

    world.register(str(place / "net"))

    found = sizes(ask(world), By.KIND)
    assert Kind.ORPHANED.value not in found
    assert found[Kind.RUN.value] == 100


def test_root_within_a_root_counts_once(tmp_path: Path) -> None:
    """What lies in two roots is the inner one's."""
    home = tmp_path.resolve() / "home"
    outer, inner = home / "mlartifacts", home / "mlartifacts" / "inner" / "most"
    made = World.make(home, roots=(str(outer), str(inner)))
    inner.mkdir(parents=True)
    made.cycle()
    made.run({"a": 100})
    made.write(inner / "0" / LOST / "artifacts", "b", 10)
    made.write(outer / "inner", "c", 1)

    usage = ask(made)

    assert usage.total == on_the_disk(outer)
    assert [root.inventory.total.bytes for root in usage.roots] == [101, 10]
    made.close()


def test_what_cannot_be_seen_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreadable directory is named, and what is orphaned is not certain then."""
    (world.root / "closed").mkdir()
    scandir = os.scandir

    def refuse(path: int | str) -> object:
        if os.path.samestat(os.stat(path), os.stat(world.root / "closed")):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    [root] = ask(world).roots

    assert [one.why for one in root.inventory.unseen] == ["Permission denied"]
    assert root.problem is not None


def test_missing_root_is_told_and_not_empty(world: World) -> None:
    """A root that was marked and is gone is unseen."""
    world.run({"a": 100})
    world.root.rename(world.home / "away")

    [root] = ask(world).roots

    assert root.total == Size()
    assert [one.path for one in root.inventory.unseen] == [str(world.root)]
