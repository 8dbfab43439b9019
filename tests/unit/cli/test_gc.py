"""`gc` as an operator has it: what it shows, asks and says, and how it ends."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mlflow_cleanup.cli.app import app
from mlflow_cleanup.ledger.lease import Lease
from mlflow_cleanup.model.item import ItemState
from tests.kit.collecting import has_row, is_gone, is_whole, model, rows
from tests.kit.faults import before, fail
from tests.kit.world import Run, World, tree
from tests.unit.cli.conftest import Say

STUBBORN = OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture
def deleted(world: World) -> list[Run]:
    """Runs of 1, 10 and 100 bytes that are deleted, and that no cycle has seen as such."""
    runs = [world.run({"a": size}) for size in (1, 10, 100)]
    world.cycle()
    world.delete(*runs)
    return runs


@contextmanager
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let standard input be one."""
    with monkeypatch.context() as patch:
        patch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
        yield


def answered(answer: str, *words: str) -> Result:
    """Run it with an answer typed."""
    return CliRunner().invoke(app, ["gc", *words], input=f"{answer}\n", prog_name="mlflow-cleanup")


def fates(said: Result) -> dict[str, str]:
    """Read what became of each entity."""
    return {one["id"]: one["fate"] for one in json.loads(said.stdout)["entities"]}


class TestRemoving:
    """In a script nobody is asked, as `mlflow gc` asks nobody."""

    def test_everything_deleted_goes(self, world: World, say: Say, deleted: list[Run]) -> None:
        """A line for each, a sum at the end, exit code 0."""
        said = say("gc")
        assert said.exit_code == 0, said.output
        assert [f"run {run.id}: removed" in said.stdout for run in deleted] == [True] * 3
        assert "removed: 3 runs; 3 files (111 B) freed" in said.stdout
        assert all(is_gone(world, run) for run in deleted)
        assert "COLLECTED" in say("history").stdout.upper()

    def test_nothing_to_do(self, say: Say, world: World) -> None:
        """Is no failure."""
        said = say("gc")
        assert (said.exit_code, said.stdout) == (0, "nothing was removed\n")
        assert world.history() == []

    def test_what_was_done_is_told_when_something_ends_it(
        self, world: World, say: Say, deleted: list[Run]
    ) -> None:
        """The rows that were refused stay, the others went."""
        world.tag(deleted[1], "mlflow-cleanup.keep", "yes")
        world.db.execute(
            "CREATE TRIGGER odd BEFORE DELETE ON runs BEGIN SELECT no_such_function(); END"
        )
        said = say("gc")
        assert said.exit_code != 0
        assert f"run {deleted[1].id}: kept: pinned by an operator" in said.stdout
        assert "let no rows be removed" in said.stderr

    def test_what_stays_is_told_in_the_end(
        self, world: World, say: Say, deleted: list[Run]
    ) -> None:
        """With the reason; what is kept on purpose is no failure."""
        world.tag(deleted[1], "mlflow-cleanup.keep", "yes")
        said = say("gc")
        assert said.exit_code == 0
        assert said.stdout.splitlines()[-1] == f"  run {deleted[1].id}: kept: pinned by an operator"
        assert "removed: 2 runs" in said.stdout

    def test_failure_is_code_3(self, world: World, say: Say, deleted: list[Run]) -> None:
        """All others went; the next one goes on where it stopped."""
        world.write(deleted[1], "stubborn", 1_000)
        with before("unlink", fail(STUBBORN, when="stubborn")):
            said = say("gc", "--json")
        assert said.exit_code == 3
        assert fates(said) == {
            deleted[0].id: "removed",
            deleted[1].id: "failed",
            deleted[2].id: "removed",
        }
        assert rows(world, *deleted) == [False, True, False]
        again = say("gc")
        assert again.exit_code == 3
        assert "stubborn" in again.stdout

    def test_missing_root_is_code_3(self, world: World, say: Say, deleted: list[Run]) -> None:
        """Nothing went, and that is no success."""
        world.root.rename(world.home / "away")
        said = say("gc", "--json")
        assert said.exit_code == 3
        assert set(fates(said).values()) == {"failed"}
        (world.home / "away").rename(world.root)
        assert all(
            is_whole(world, run, size) for run, size in zip(deleted, (1, 10, 100), strict=True)
        )

    def test_retention_holds_rows(self, world: World, say: Say, deleted: list[Run]) -> None:
        """Into the trash, and where it is; `trash purge` and a later gc remove the rest."""
        said = say("gc", "--retention", "1h")
        assert said.exit_code == 0
        assert "nothing was removed" in said.stdout
        assert "rows stay until their files are purged: `mlflow-cleanup trash list`" in said.stdout
        assert rows(world, *deleted) == [True] * 3
        assert world.bytes_in_trash() == 111
        assert say("trash", "purge", "--all", "--yes").exit_code == 0
        assert say("gc", "--retention", "1h").exit_code == 0
        assert all(is_gone(world, run) for run in deleted)

    def test_only_files(self, world: World, say: Say, deleted: list[Run]) -> None:
        """Said so; rows stay."""
        said = say("gc", "--artifacts-only")
        assert said.exit_code == 0
        assert "3 without files by now; their rows stay" in said.stdout
        assert rows(world, *deleted) == [True] * 3
        assert [run.place.exists() for run in deleted] == [False] * 3

    def test_only_rows(self, world: World, say: Say, deleted: list[Run]) -> None:
        """Those whose files are there stay, with the reason."""
        shutil.rmtree(deleted[0].place)
        said = say("gc", "--metadata-only", "--json")
        assert said.exit_code == 0
        assert list(fates(said).values()) == ["removed", "kept", "kept"]
        assert world.bytes_at(deleted[2]) == 100

    def test_vacuum(self, world: World, say: Say, deleted: list[Run]) -> None:
        """The file is smaller, and the next cycle takes it for the same database."""
        with world.db.connection() as connection:
            many = [(f"key {number}", "x" * 100, deleted[0].id) for number in range(3_000)]
            connection.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", many)
        before_bytes = world.db.path.stat().st_size
        said = say("gc", "--vacuum", "--json")
        told = json.loads(said.stdout)["vacuumed"]
        assert said.exit_code == 0
        assert told["bytes_before"] >= before_bytes > told["bytes_after"]
        assert told["bytes_after"] == world.db.path.stat().st_size
        run = world.run()
        assert say("gc").exit_code == 0
        world.delete(run)
        assert say("gc").exit_code == 0
        assert is_gone(world, run)


class TestShowing:
    """`--dry-run`, and what a terminal is shown before it is asked."""

    def test_dry_run_changes_nothing(self, world: World, say: Say, deleted: list[Run]) -> None:
        """Not a file, not a row, not the ledger; what would go and stay is said."""
        world.tag(deleted[1], "mlflow-cleanup.keep", "yes")
        before_it = tree(world.home)
        said = say("gc", "--dry-run")
        assert said.exit_code == 0
        assert "Rows that would go: 2 runs" in said.stdout
        assert f"run {deleted[1].id} stays: pinned by an operator" in said.stdout
        assert "removed for good" in said.stdout
        assert "mlflow-cleanup apply" not in said.stdout
        assert tree(world.home) == before_it

    def test_dry_run_makes_nothing(self, say: Say, world: World, deleted: list[Run]) -> None:
        """Where there is no ledger yet, either."""
        world.close()
        shutil.rmtree(world.settings.state_dir)
        shutil.rmtree(world.root / ".mlflow-cleanup")
        before_it = sorted(world.home.rglob("*"))
        shown = json.loads(say("gc", "--dry-run", "--json").stdout)
        assert {row["id"] for row in shown["rows"]} == {run.id for run in deleted}
        assert shown["bytes"] == 111
        assert sorted(world.home.rglob("*")) == before_it

    def test_terminal_is_asked(
        self, world: World, monkeypatch: pytest.MonkeyPatch, deleted: list[Run]
    ) -> None:
        """After it was shown; no is no, and code 2."""
        with at_a_terminal(monkeypatch):
            no = answered("n")
            assert no.exit_code == 2
            assert "Rows that would go: 3 runs" in no.output
            assert rows(world, *deleted) == [True] * 3
            yes = answered("y")
        assert yes.exit_code == 0
        assert all(is_gone(world, run) for run in deleted)

    def test_yes_is_not_asked(
        self, world: World, monkeypatch: pytest.MonkeyPatch, deleted: list[Run]
    ) -> None:
        """Nor shown."""
        with at_a_terminal(monkeypatch):
            said = answered("", "--yes")
        assert said.exit_code == 0
        assert "would go" not in said.output
        assert rows(world, *deleted) == [False] * 3

    @pytest.mark.parametrize("words", [["--yes"], ["--json"], ["--yes", "--json"], []])
    def test_dry_run_wins(
        self, world: World, say: Say, deleted: list[Run], words: list[str]
    ) -> None:
        """Whatever else is said."""
        assert say("gc", "--dry-run", *words).exit_code == 0
        assert rows(world, *deleted) == [True] * 3
        assert world.bytes_at(deleted[2]) == 100


class TestRefusals:
    """When nothing is done at all."""

    def test_lease_of_a_verb(self, world: World, say: Say, deleted: list[Run]) -> None:
        """Another sweep is at work: code 5."""
        with Lease(world.settings.lease_places, "mlflow-cleanup sweep"):
            assert say("gc").exit_code == 5
        assert rows(world, *deleted) == [True] * 3

    def test_safeguards(self, world: World, say: Say) -> None:
        """Most active rows vanished: code 4, as for any cycle."""
        runs = [world.run() for _ in range(12)]
        world.cycle()
        world.delete(runs[0])
        world.db.execute("DELETE FROM runs WHERE lifecycle_stage = 'active'")
        assert say("gc").exit_code == 4
        assert is_whole(world, runs[0])

    def test_bad_ids_are_all_told(self, world: World, say: Say, deleted: list[Run]) -> None:
        """On stderr, each with what is wrong."""
        active = world.run()
        said = say("gc", "--run-ids", f"{deleted[0].id},{active.id},{'f' * 32}")
        assert said.exit_code == 2
        assert f"run {active.id} is not deleted" in said.stderr
        assert f"there is no run {'f' * 32}" in said.stderr
        assert rows(world, *deleted) == [True] * 3

    def test_unknown_schema(self, world: World, say: Say, deleted: list[Run]) -> None:
        """Unless an operator knows better."""
        world.db.execute("UPDATE alembic_version SET version_num = 'unheard'")
        assert say("gc").exit_code == 4
        assert rows(world, *deleted) == [True] * 3
        assert say("gc", "--allow-unknown-schema").exit_code == 0
        assert rows(world, *deleted) == [False] * 3

    def test_database_that_cannot_be_written(
        self, world: World, say: Say, deleted: list[Run]
    ) -> None:
        """A trigger stands for whatever it is: no row went, which is no success."""
        world.db.execute(
            "CREATE TRIGGER no BEFORE DELETE ON runs BEGIN SELECT RAISE(ABORT, 'telling no'); END"
        )
        said = say("gc")
        assert said.exit_code == 3, said.output
        assert "telling no" in said.output
        assert rows(world, *deleted) == [True] * 3


class TestOtherPlaces:
    """Where things are is read as every verb reads it."""

    def test_from_another_directory(
        self,
        world: World,
        say: Say,
        deleted: list[Run],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Any,  # noqa: ANN401 - a path
    ) -> None:
        """With the server's own options; a tracking URI is taken and not needed."""
        (tmp_path / "else").mkdir()
        monkeypatch.chdir(tmp_path / "else")
        uri, root = f"sqlite:///{world.db.path}", str(world.root)
        said = say(
            "gc",
            *("--backend-store-uri", uri, "--artifacts-destination", root),
            *("--tracking-uri", "http://127.0.0.1:9"),
        )
        assert said.exit_code == 0, said.output
        assert all(is_gone(world, run) for run in deleted)
        assert list((tmp_path / "else").iterdir()) == []

    def test_locations_outside_of_the_roots(self, world: World, say: Say) -> None:
        """An experiment's own location counts as a root; models and runs there go."""
        place = world.home.parent / "elsewhere" / "7"
        world.db.experiment("7", str(place))
        run = world.run({}, experiment="7")
        uri = f"{place}/{run.id}/artifacts"
        world.db.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", uri, run.id)
        run = Run(run.id, place / run.id / "artifacts")
        world.write(run, "a", 10)
        world.delete(run)
        assert json.loads(say("gc", "--dry-run", "--json").stdout)["bytes"] == 10
        assert say("gc").exit_code == 0
        assert is_gone(world, run)


def test_stays_in_trash_what_was_begun(world: World, say: Say, deleted: list[Run]) -> None:
    """A purge that failed is told of in `trash list`, and its row is still there."""
    world.write(deleted[0], "stubborn", 5)
    with before("unlink", fail(STUBBORN, when="stubborn")):
        say("gc")
    (item,) = world.items(deleted[0])
    assert item.state is ItemState.PURGING
    assert item.entity.id in say("trash", "list").stdout
    assert has_row(world, deleted[0])


def test_deleted_model_without_a_run(world: World, say: Say) -> None:
    """Models go by themselves."""
    model(world, "m-1", stage="deleted")
    assert fates(say("gc", "--json")) == {"m-1": "removed"}


def test_busy_database_is_waited_for(world: World, say: Say, deleted: list[Run]) -> None:
    """Another connection that reads meanwhile is no reason to fail."""
    reader = sqlite3.connect(world.db.path)
    reader.execute("SELECT count(*) FROM runs").fetchone()
    assert say("gc").exit_code == 0
    reader.close()
    assert rows(world, *deleted) == [False] * 3
