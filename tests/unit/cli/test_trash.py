"""`trash purge` removes what it showed, and nothing that came after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlflow_cleanup.model.item import ItemState
from mlflow_cleanup.report import status
from tests.kit.world import Run, World
from tests.unit.cli.conftest import Say

Meanwhile = Callable[[Callable[[], object]], None]


def quarantined(world: World, size: int) -> Run:
    """A run that is in the trash."""
    run = world.run({"a": size})
    world.cycle()
    world.delete(run)
    world.cycle()
    return run


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Let something happen right after the trash was read, and before anything is purged."""

    def arrange(hook: Callable[[], object]) -> None:
        real = status.trash_values

        def read(state_dir: Path) -> list[dict[str, Any]]:
            found = real(state_dir)
            hook()
            return found

        monkeypatch.setattr(status, "trash_values", read)

    return arrange


def test_what_came_in_after_the_list_was_shown_is_not_purged(
    world: World, say: Say, meanwhile: Meanwhile
) -> None:
    """`--all` is all that was there to be looked at: later items keep their retention."""
    shown, later = [quarantined(world, size) for size in (1, 10)], []
    meanwhile(lambda: later.append(quarantined(world, 100)))

    said = say("trash", "purge", "--all", "--yes", "--json")

    assert said.exit_code == 0, said.output
    purged = json.loads(said.stdout)["items"]
    assert sorted(item["run_id"] for item in purged) == sorted(run.id for run in shown)
    assert [world.states(run) for run in shown] == [[ItemState.PURGED]] * 2
    assert world.states(later[0]) == [ItemState.QUARANTINED]
    assert world.bytes_in_trash() == world.bytes_in_trash(later[0]) == 100


def test_late_item_of_a_named_run_is_not_purged(
    world: World, say: Say, meanwhile: Meanwhile
) -> None:
    """A run that is named stands for its items that were shown, not for those to come."""
    run, other = quarantined(world, 10), quarantined(world, 1_000)

    def late() -> None:
        world.write_late(run, "late", 100)
        world.cycle()

    meanwhile(late)

    said = say("trash", "purge", run.id, "--yes")

    assert said.exit_code == 0, said.output
    assert world.states(run) == [ItemState.PURGED, ItemState.QUARANTINED]
    assert world.bytes_in_trash(run) == 100
    assert world.bytes_in_trash(other) == 1_000


def test_item_that_was_restored_after_the_list_was_shown_is_not_purged(
    world: World, say: Say, meanwhile: Meanwhile
) -> None:
    """What went home meanwhile is left there."""
    run, other = quarantined(world, 10), quarantined(world, 100)

    def restored() -> None:
        world.undelete(run)
        world.cycle()

    meanwhile(restored)

    said = say("trash", "purge", "--all", "--yes", "--json")

    assert [item["run_id"] for item in json.loads(said.stdout)["items"]] == [other.id]
    assert world.bytes_at(run) == 10
    assert world.trash() == []


def test_nothing_in_the_trash_is_nothing_to_ask_about(world: World, say: Say) -> None:
    """`--all` of an empty trash is done at once, without a question."""
    assert world.trash() == []

    said = say("trash", "purge", "--all", "--json")

    assert (said.exit_code, json.loads(said.stdout)["items"]) == (0, [])
