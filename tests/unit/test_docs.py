"""What README and the guide say of verbs and settings is what the program has."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from mlflow_cleanup.cli.app import app
from mlflow_cleanup.cli.gc import gc
from mlflow_cleanup.cli.options import KEYS, PREFIX
from mlflow_cleanup.cli.sweep import sweep
from mlflow_cleanup.cli.usage import usage
from mlflow_cleanup.cli.watch import watch

_HERE = Path(__file__).parents[2]
_GUIDE = (_HERE / "docs" / "guide.md").read_text(encoding="utf-8")
_README = (_HERE / "README.md").read_text(encoding="utf-8")
_SETTINGS = {
    option.name: option
    for option in (*watch.params, *sweep.params, *usage.params)
    if isinstance(option, click.Option) and option.name in KEYS
}


def row_of(option: click.Option) -> str:
    """Return the row of the guide's table that tells of a setting."""
    flag = option.opts[0]
    rows = re.findall(rf"^\| `{re.escape(flag)}`.*$", _GUIDE, flags=re.MULTILINE)
    assert len(rows) == 1, flag
    return str(rows[0])


@pytest.mark.parametrize("name", sorted(KEYS))
def test_every_setting_is_in_the_guide(name: str) -> None:
    """With its variable, its key in the file, and its default where it has a telling one."""
    option = _SETTINGS[name]
    row = row_of(option)

    assert f"`{PREFIX}{name.upper()}`" in row
    assert f"`{name.replace('_', '-')}`" in row
    if option.show_default:
        assert f"`{option.default}`" in row


def test_every_flag_of_gc_is_in_its_part_of_the_guide() -> None:
    """Whoever puts it in the place of `mlflow gc` finds each flag explained, and no other one."""
    (part,) = re.findall(r"^## In the place of `mlflow gc`$(.*?)^## ", _GUIDE, re.M | re.S)
    flags = {option.opts[0] for option in gc.params}
    of_its_own = {
        option.opts[0]
        for option in gc.params
        if option.name not in KEYS and option.name != "config"
    }
    named = set(re.findall(r"--[a-z][a-z-]+", part))

    assert of_its_own - named == set()
    assert named - flags <= {"--purge-metadata"}  # the monitor's


def test_every_verb_is_in_the_readme_or_the_guide() -> None:
    """Nobody has to guess what there is."""
    context = app.make_context("mlflow-cleanup", ["--help"], resilient_parsing=True)
    told = re.findall(r"`(?:mlflow-cleanup )?([a-z]+)[^`]*`", _README + _GUIDE)

    assert set(app.list_commands(context)) <= set(told)


def test_what_the_readme_runs_is_there() -> None:
    """Each command in the README's table is a verb of the program."""
    context = app.make_context("mlflow-cleanup", ["--help"], resilient_parsing=True)
    named = set(re.findall(r"`mlflow-cleanup ([a-z]+)", _README))

    assert named
    assert named <= set(app.list_commands(context))
