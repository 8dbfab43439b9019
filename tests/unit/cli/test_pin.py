from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mlflow_cleanup.model.item import ItemState
from mlflow_cleanup.monitor import WAKE_FILE
from tests.kit.tracking_db import run_id
from tests.kit.world import World
from tests.unit.cli.conftest import Say

ID, OTHER = run_id(0xA), run_id(0xB)


def pinned(say: Say) -> dict[str, str | None]:
    """Ask what is pinned, and why."""
    said = say("pin", "--json")
    assert said.exit_code == 0, said.output
    values: list[dict[str, Any]] = json.loads(said.stdout)
    return {one["target"]: one["reason"] for one in values}


@pytest.mark.parametrize("id_", [ID, f"m-{ID}", f"tr-{ID}"])
def test_an_id_is_pinned_as_it_is(world: World, say: Say, id_: str) -> None:
    """Of a run, a model or a trace, known or not; a monitor is woken to look at it."""
    said = say("pin", id_, "--reason", "for Ada")

    assert said.exit_code == 0
    assert id_ in said.stdout
    assert "for Ada" in said.stdout
    assert pinned(say) == {id_: "for Ada"}
    assert (world.settings.state_dir / WAKE_FILE).exists()


@pytest.mark.parametrize("spelling", ["mlartifacts/0", "./mlartifacts/../mlartifacts/0/", "link/0"])
def test_a_path_is_pinned_as_what_it_is(world: World, say: Say, spelling: str) -> None:
    """Absolute, links resolved, whether it is there already or not."""
    Path("link").symlink_to("mlartifacts")

    assert say("pin", spelling).exit_code == 0

    assert pinned(say) == {f"{world.root}/0": None}


def test_a_name_in_this_directory_is_a_path(world: World, say: Say) -> None:
    """When it is there: otherwise it is a mistyped id, and pins nothing."""
    assert say("pin", "mlartifacts").exit_code == 0
    assert pinned(say) == {str(world.root): None}


@pytest.mark.parametrize(
    "wrong", ["missing", ID[:-1], ID.upper(), f"x-{ID}", f"{ID}0", "", f"{ID} ", f"m-{ID}x"]
)
def test_what_is_neither_id_nor_path_pins_nothing(world: World, say: Say, wrong: str) -> None:
    """Nothing of what stands beside it either: the operator has to look again."""
    said = say("pin", OTHER, wrong)

    assert said.exit_code == 2
    assert "no id of a run, model or trace, and no path; nothing changed" in said.stderr
    assert world.ledger.pins.all() == []


def test_a_name_that_is_no_text_is_pinned_and_shown_on_a_line(world: World, say: Say) -> None:
    """Paths are any bytes, reasons any text."""
    odd = Path(os.fsdecode(b"caf\xe9\n\x1b[2J"))
    odd.mkdir()

    said = say("pin", str(odd), "--reason", "x\ny\x1b")

    assert said.exit_code == 0
    assert len(said.stdout.strip().split("\n")) == 2
    assert all(line.isprintable() for line in said.stdout.rstrip("\n").split("\n"))
    assert [pin.target for pin in world.ledger.pins.all()] == [str(world.home / odd)]
    assert say("unpin", str(odd)).exit_code == 0
    assert pinned(say) == {}


def test_nothing_pinned_is_said(world: World, say: Say) -> None:
    """Without a target the verb only lists."""
    said = say("pin")

    assert (said.exit_code, said.stdout) == (0, "nothing is pinned here\n")
    assert not (world.settings.state_dir / WAKE_FILE).exists()


def test_without_a_ledger_nothing_is_listed_and_nothing_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    """There is nothing to be kept from yet."""
    monkeypatch.chdir(tmp_path)
    said = say("pin")
    assert said.exit_code == 2
    assert "nothing has been watched from here yet" in said.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["pin", ID],
        ["pin", ID, "--state-dir", "state"],
        ["unpin", ID],
        ["confirm", "1f2e3d4c"],
        ["confirm", "1f2e3d4c", "--forget"],
        ["adopt", "mlartifacts"],
        ["sweep", "--apply"],
        ["apply", "--id", "1f2e3d4c"],
    ],
    ids=" ".join,
)
def test_without_a_tracking_database_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say, words: list[str]
) -> None:
    """In a wrong directory a pin would keep nothing, and nobody would ever know."""
    monkeypatch.chdir(tmp_path)
    Path("mlartifacts").mkdir()

    said = say(*words)

    assert said.exit_code == 2
    assert "there is no tracking database at" in said.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["mlartifacts"]


def test_a_ledger_that_is_named_need_not_be_beside_its_database(
    world: World, say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made for one: from any directory a pin reaches it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    assert say("pin", ID, "--state-dir", str(world.settings.state_dir)).exit_code == 0

    assert [pin.target for pin in world.ledger.pins.all()] == [ID]
    assert list(elsewhere.iterdir()) == []


def test_a_pin_before_the_first_start_holds(world: World, say: Say) -> None:
    """There is no ledger yet: it is made, and the first start finds it."""
    state_dir = world.home / "state"
    assert say("pin", ID, "--state-dir", str(state_dir)).exit_code == 0

    world.restart(state_dir=state_dir)
    assert [pin.target for pin in world.ledger.pins.all()] == [ID]


@pytest.mark.parametrize("spelling", ["{root}/0", "mlartifacts/0", "link/0"])
def test_a_pin_is_taken_back_under_any_spelling(world: World, say: Say, spelling: str) -> None:
    """As it is stored, or as it would be pinned; others stay."""
    Path("link").symlink_to("mlartifacts")
    say("pin", "mlartifacts/0", "mlartifacts/1", ID)

    said = say("unpin", spelling.format(root=world.root))

    assert (said.exit_code, said.stdout) == (0, "1 unpinned\n")
    assert pinned(say).keys() == {f"{world.root}/1", ID}


def test_several_pins_are_taken_back_at_once(world: World, say: Say) -> None:
    """Each counts once; what was not pinned counts nothing."""
    say("pin", ID, OTHER, "mlartifacts/0")

    said = say("unpin", ID, ID, OTHER, run_id(0xC))

    assert said.stdout == "2 unpinned\n"
    assert pinned(say).keys() == {f"{world.root}/0"}


def test_what_is_not_pinned_cannot_be_unpinned(world: World, say: Say) -> None:
    """Said clearly, as somebody believes that it was."""
    say("pin", ID)
    said = say("unpin", OTHER)

    assert said.exit_code == 2
    assert "none of these is pinned" in said.stderr
    assert [pin.target for pin in world.ledger.pins.all()] == [ID]


@pytest.mark.parametrize("by", ["id", "path", "path around"])
def test_a_pinned_run_is_kept_until_it_is_unpinned(world: World, say: Say, by: str) -> None:
    """By the monitor as by a full cycle; from the trash it comes back."""
    run = world.run({"a": 100}, id_=ID)
    held = world.run({"b": 10}, id_=OTHER)
    world.cycle()
    world.delete(held)
    world.cycle()
    assert world.bytes_in_trash(held) == 10
    targets = {
        "id": [run.id, held.id],
        "path": [str(run.place), str(held.place)],
        "path around": [str(world.root / "0")],
    }[by]

    assert say("pin", *targets).exit_code == 0
    world.delete(run)
    world.cycle()
    assert say("sweep", "--apply").exit_code == 0
    world.restart()  # it began anew as well
    assert world.bytes_at(run) == 100
    assert world.bytes_at(held) == 10
    assert "pin" in (world.kept_because(run) or "")

    assert say("unpin", *targets).exit_code == 0
    world.cycle()
    assert world.bytes_in_trash(run) == 100
    assert world.states(held) == [ItemState.RESTORED, ItemState.QUARANTINED]
