"""A tracking database that went back in time: noticed however it was done, and not forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mlflow_cleanup.cycle.turn import Scope
from mlflow_cleanup.ledger.known import RunState
from tests.kit.world import Run, World, tree
from tests.stories.refusing import all_artifacts, backup, refuses_everything


@pytest.fixture
def runs(world: World) -> list[Run]:
    """Twenty known active runs of a byte each, known before any backup was made."""
    made = [world.run({"a": 1}) for _ in range(20)]
    world.cycle()
    return made


@pytest.fixture
def copy(world: World, runs: list[Run]) -> Path:
    """A backup with these runs."""
    assert runs
    return backup(world)


@pytest.fixture
def newer(world: World, copy: Path) -> list[Run]:
    """Three runs of 10 bytes that the backup does not have."""
    assert copy.exists()
    made = [world.run({"b": 10}) for _ in range(3)]
    world.cycle()
    return made


def commits(path: Path, count: int) -> None:
    """Let MLflow write to a database, as when its users go on working."""
    with closing(sqlite3.connect(path)) as connection:
        for number in range(count):
            with connection:
                connection.execute("UPDATE experiments SET last_update_time = ?", (number,))


def counter(path: Path) -> int:
    """Read SQLite's file change counter."""
    return int.from_bytes(path.read_bytes()[24:28], "big")


def copied_over(world: World, copy: Path) -> None:
    """Put a backup back with cp: the same file with older content."""
    world.db.path.write_bytes(copy.read_bytes())


def backup_api(world: World, copy: Path) -> None:
    """Load a backup as `.restore` of SQLite's shell does, through its backup API."""
    with closing(sqlite3.connect(copy)) as old, closing(sqlite3.connect(world.db.path)) as live:
        old.backup(live)


def moved_over(world: World, copy: Path) -> None:
    """Put another file in its place with mv, which was written to more often than ours."""
    commits(copy, counter(world.db.path) + 5)
    copy.replace(world.db.path)


def vacuumed(world: World, _: Path) -> None:
    """Write all pages anew, which tells nothing by itself."""
    with closing(sqlite3.connect(world.db.path)) as connection:
        connection.execute("VACUUM")


class TestHowItWasDone:
    """Few runs are missing, so that their number alone says nothing."""

    @pytest.mark.parametrize("bring_back", [copied_over, backup_api, moved_over])
    @pytest.mark.parametrize("scope", Scope)
    def test_backup_brought_back_is_refused(
        self, world: World, copy: Path, bring_back: Callable[[World, Path], None], scope: Scope
    ) -> None:
        """The newest runs vanish with it, also when only a quick look at arrivals knew them."""
        newer = [world.run({"b": 10}) for _ in range(3)]
        world.cycle(scope)
        assert [world.known(run) for run in newer] == [RunState.ACTIVE] * 3
        bring_back(world, copy)

        refusal = refuses_everything(world)

        assert "went back in time" in refusal.reason
        assert [world.bytes_at(run) for run in newer] == [10] * 3

    @pytest.mark.parametrize("bring_back", [backup_api, moved_over])
    def test_confirmed_what_vanished_is_garbage(
        self,
        world: World,
        copy: Path,
        newer: list[Run],
        bring_back: Callable[[World, Path], None],
    ) -> None:
        """When it was meant, the runs that are no more are quarantined, and nothing is asked."""
        bring_back(world, copy)
        world.answer(world.refused())
        world.cycle()
        world.cycle()

        assert [world.bytes_in_trash(run) for run in newer] == [10] * 3
        assert world.ledger.refusals.current() is None

    @pytest.mark.parametrize("rewrite", [vacuumed, moved_over])
    def test_file_written_anew_with_all_its_runs_is_not_refused(
        self, world: World, runs: list[Run], rewrite: Callable[[World, Path], None]
    ) -> None:
        """VACUUM, or a copy moved to its place: nothing is missing, and deletes count as ever."""
        rewrite(world, backup(world))
        world.delete(runs[0])
        world.cycle()

        assert world.bytes_in_trash(runs[0]) == 1
        assert "refused" not in world.told()

    def test_rows_removed_with_nothing_rewritten_are_garbage(
        self, world: World, runs: list[Run]
    ) -> None:
        """Some rows of many removed by SQL, long after the file was written anew."""
        vacuumed(world, world.home)
        world.cycle()
        world.hard_delete(*runs[:9])
        world.cycle()

        assert world.bytes_in_trash() == 9
        assert "refused" not in world.told()


class TestItLasts:
    """MLflow goes on writing to what was brought back: soon no number tells any more."""

    @pytest.fixture
    def caught_up(self, world: World, copy: Path, newer: list[Run]) -> str:
        """A backup put in place, refused, and written to until its counter is the higher one."""
        before = counter(world.db.path)
        copied_over(world, copy)
        refusal = world.refused()
        commits(world.db.path, before + 5)
        assert counter(world.db.path) > before
        assert newer
        return refusal.plan_id

    def test_commits_do_not_dissolve_it(
        self, world: World, caught_up: str, newer: list[Run]
    ) -> None:
        """The counter that caught up is no answer: refused under the same name ever after."""
        before = tree(world.root)
        for scope in (*Scope, *Scope):
            world.advance(days=1)
            assert world.refused().plan_id == caught_up
            world.restart()
            with pytest.raises(Exception, match=caught_up):
                world.cycle(scope)

        assert tree(world.root) == before
        assert [world.known(run) for run in newer] == [RunState.ACTIVE] * 3
        assert world.history() == ["refused"]

    def test_confirmed_it_goes_on(self, world: World, caught_up: str, newer: list[Run]) -> None:
        """Once answered the new counter counts, and what vanished is quarantined."""
        refusal = world.refused()
        assert refusal.plan_id == caught_up
        world.answer(refusal)
        world.cycle()
        world.cycle()

        assert [world.bytes_in_trash(run) for run in newer] == [10] * 3
        assert world.ledger.refusals.current() is None
        assert world.history()[:2] == ["refused", "confirmed"]

    @pytest.mark.usefixtures("caught_up")
    def test_forgotten_it_begins_anew(self, world: World, newer: list[Run]) -> None:
        """As another database: what it does not have is nobody's, and nothing of it is moved."""
        before = all_artifacts(world)
        world.answer(world.refused(), "forget")
        world.refused()
        for _ in range(3):
            world.cycle()
            world.advance(days=30)

        assert all_artifacts(world) == before
        assert [world.known(run) for run in newer] == [None] * 3
        assert world.ledger.refusals.current() is None

    def test_another_refusal_in_between_does_not_wash_it_away(
        self, world: World, caught_up: str, runs: list[Run], newer: list[Run]
    ) -> None:
        """Rows vanish in masses and come back: that is over then, and the first one is not."""
        rows = world.db.execute("SELECT run_uuid, artifact_uri FROM runs")
        world.hard_delete(*runs)
        between = world.refused()
        assert between.plan_id != caught_up
        for id_, uri in rows:
            world.db.run(str(id_), uri)

        assert world.refused().plan_id == caught_up
        assert [world.bytes_at(run) for run in newer] == [10] * 3

    def test_answer_to_another_refusal_is_none_to_it(
        self, world: World, caught_up: str, runs: list[Run], newer: list[Run]
    ) -> None:
        """A vanishing in masses that is confirmed says nothing of the way back in time."""
        before = all_artifacts(world)
        world.hard_delete(*runs[:15])
        world.answer(world.refused())

        assert world.refused().plan_id == caught_up
        assert all_artifacts(world) == before

        world.answer(world.refused())
        world.cycle()
        assert world.bytes_in_trash() == 15 + 3 * 10
        assert [world.bytes_in_trash(run) for run in newer] == [10] * 3
