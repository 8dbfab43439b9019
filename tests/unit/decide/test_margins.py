from __future__ import annotations

from pathlib import Path

import click
import pytest

from mlflow_cleanup.cli.options import policy
from mlflow_cleanup.config import Settings, parse_duration
from mlflow_cleanup.decide import margins
from mlflow_cleanup.model.database import Database

DEFAULTS = Settings(Database.of_file("/db"), (), None, "/", Path("/state"))


@click.command()
@policy
def verb(**given: object) -> dict[str, object]:
    """Return what the options are when nothing is given."""
    return given


@pytest.mark.parametrize(
    ("option", "margin", "setting"),
    [
        ("retention", margins.DEFAULT_RETENTION, DEFAULTS.retention),
        ("vanished_share", margins.VANISHED_SHARE, DEFAULTS.vanished_share),
        ("vanished_minimum", margins.VANISHED_MINIMUM, DEFAULTS.vanished_minimum),
    ],
)
def test_a_margin_is_the_same_wherever_it_is_a_default(
    option: str, margin: object, setting: object
) -> None:
    """The command line, the library and the file of margins agree."""
    given = verb.main([], standalone_mode=False)[option]

    assert setting == margin
    assert (parse_duration(given) if option == "retention" else given) == margin
