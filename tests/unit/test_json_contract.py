"""docs/json.md is the contract of `--json`: every field that the program prints is in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mlflow_cleanup import MLflowDatabaseMonitor
from mlflow_cleanup.cli import full
from mlflow_cleanup.cli.app import app
from mlflow_cleanup.cli.by_hand import do_to_items
from mlflow_cleanup.cycle.sweep import look
from mlflow_cleanup.doctor import examine
from mlflow_cleanup.model.collected import Fate
from mlflow_cleanup.model.event import EventKind
from mlflow_cleanup.model.item import Held
from mlflow_cleanup.model.plan import StepResult
from mlflow_cleanup.report.plans import plan_values
from mlflow_cleanup.report.status import history_values, status_values, trash_values
from tests.kit.world import World

_DOCS = Path(__file__).parents[2] / "docs" / "json.md"
_FREE = {"foreign", "unclaimed", "anchors"}
"""Fields that hold names of somebody else's choice."""


def fields(values: Any) -> Iterator[str]:  # noqa: ANN401 - JSON values
    """Name every field, at any depth."""
    if isinstance(values, list):
        for item in values:
            yield from fields(item)
    elif isinstance(values, dict):
        for key, value in values.items():
            yield key
            if key not in _FREE:
                yield from fields(value)


def sections() -> dict[str, set[str]]:
    """Return the words that each section of the contract marks as code, by its title."""
    _, *parts = re.split(r"^## ", _DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        title: set(re.findall(r"`([a-z_ ]+)`", text))
        for title, _, text in (part.partition("\n") for part in parts)
    }


@pytest.fixture
def printed(world: World) -> dict[str, Any]:
    """What each verb prints, in a world where everything happened that makes a field."""
    world.run({"large": 100_000})
    world.cycle()
    home, settings = world.home, world.settings
    world.db.logged_model("m-" + "1" * 32, str(home / "elsewhere"), stage="deleted")
    run = world.run({"a": 10})
    back = world.run({"b": 10})
    (world.root / "notes").mkdir()
    (world.root / "notes" / "foreign").write_bytes(b"x")
    (world.root / "0" / ("f" * 32) / "artifacts").mkdir(parents=True)
    world.cycle()
    world.delete(run, back)
    world.cycle()
    world.close()
    with MLflowDatabaseMonitor(settings):
        pass
    with full.reading(settings) as workplace:
        plan = plan_values(look(workplace))
    restored = do_to_items(settings, "restore", [back.id])
    swept = full.carry_out_once(settings, look, "sweep", quiet=True)
    state = settings.state_dir
    return {
        "`status --json`": status_values(state),
        "`trash list --json`": trash_values(state),
        "`history --json`": history_values(state, 100),
        "`restore --json`, `trash purge --json`": restored,
        "`doctor --json`": [finding.values() for finding in examine(settings)],
        "`plan --json`, and a plan saved with `-o`": plan,
        "`apply --json`, `sweep --apply --json`": swept,
    }


def test_every_field_is_in_the_contract(printed: dict[str, Any]) -> None:
    """Whoever reads the output by machine finds each field explained, in its verb's section."""
    told = sections()
    places = told["`plan --json`, and a plan saved with `-o`"]
    for title, values in printed.items():
        json.dumps(values)
        known = told[title] | (places if "apply" in title else set()) | _values_as_fields()
        assert set(fields(values)) <= known, title


def test_every_field_of_gc_is_in_the_contract(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would go, and what went, with one thing that stays."""
    gone, pinned = world.run({"a": 10}), world.run()
    world.tag(pinned, "mlflow-cleanup.keep", "true")
    world.delete(gone, pinned)
    monkeypatch.chdir(world.home)
    told = sections()
    places = told["`plan --json`, and a plan saved with `-o`"]

    shown, done = (
        json.loads(CliRunner().invoke(app, ["gc", "--json", *words]).stdout)
        for words in (["--dry-run"], ["--vacuum"])
    )

    known = told["`gc --json`"] | {fate.value for fate in Fate}
    assert set(fields(shown)) <= known | places
    assert {row["id"]: row["stays"] is None for row in shown["rows"]} == {
        gone.id: True,
        pinned.id: False,
    }
    assert set(fields(done)) <= known
    assert [(one["id"], one["fate"]) for one in done["entities"]] == [
        (gone.id, "removed"),
        (pinned.id, "kept"),
    ]
    assert done["freed"] == {"files": 1, "bytes": 10}
    assert done["vacuumed"].keys() == {"bytes_before", "bytes_after"}


def test_every_event_and_result_is_in_the_contract() -> None:
    """What a field may say is told too."""
    told = sections()

    assert {fate.value for fate in Fate} <= told["`gc --json`"]

    assert {kind.value for kind in EventKind} <= told["`history --json`"]
    assert {kind.value for kind in StepResult} <= told["`apply --json`, `sweep --apply --json`"]
    assert {kind.value for kind in Held} <= told["`trash list --json`"]


def test_every_verb_with_json_has_its_section() -> None:
    """A verb that prints JSON without saying what is in it would be no contract."""
    titles = " ".join(sections())
    context = app.make_context("mlflow-cleanup", ["--help"], resilient_parsing=True)
    with_json = [
        name
        for name in app.list_commands(context)
        if (command := app.get_command(context, name)) is not None
        and any("--json" in option.opts for option in command.params)
    ]

    assert with_json
    assert [name for name in with_json if f"`{name} " not in titles] == []


def _values_as_fields() -> set[str]:
    """Name the fields that are themselves states or results, such as the counts by result."""
    return {kind.value for kind in StepResult} | {"quarantined", "restored", "abandoned"}
