"""Where gc looks for proxied artifacts: not in what only happens to be the current directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_cleanup.cli.gc import settings_of
from mlflow_cleanup.errors import BadUsage
from tests.kit.tracking_db import TrackingFile


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a database that has a proxied experiment; the current one is another."""
    for name in ("home", "elsewhere"):
        (tmp_path / name).mkdir()
    db = TrackingFile.make(tmp_path / "home" / "mlflow.db")
    db.experiment("1", "mlflow-artifacts:/1")
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.delenv("MLFLOW_ARTIFACTS_DESTINATION", raising=False)
    return tmp_path / "home"


def given(home: Path, **more: str) -> dict[str, str]:
    """Name the database."""
    return {"backend_store_uri": f"sqlite:///{home / 'mlflow.db'}", **more}


def test_beside_its_database_it_is_the_usual_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for the server that was started there."""
    monkeypatch.chdir(home)

    assert settings_of(given(home)).artifacts_destination == str(home / "mlartifacts")


def test_from_elsewhere_what_lies_beside_the_database_is_found(home: Path) -> None:
    """A scheduled job is started in whatever directory."""
    (home / "mlartifacts").mkdir()

    assert settings_of(given(home)).artifacts_destination == str(home / "mlartifacts")


@pytest.mark.parametrize("has_own", [True, False])
def test_from_elsewhere_nothing_is_guessed(home: Path, tmp_path: Path, *, has_own: bool) -> None:
    """Files that are looked for in another project's directory are not there, and rows would go."""
    if has_own:
        (home / "mlartifacts").mkdir()
    (tmp_path / "elsewhere" / "mlartifacts").mkdir()

    with pytest.raises(BadUsage, match="--artifacts-destination"):
        settings_of(given(home))


def test_what_is_said_is_believed(home: Path, tmp_path: Path) -> None:
    """The server may have been told so, too."""
    told = str(tmp_path / "elsewhere" / "mlartifacts")

    assert settings_of(given(home, artifacts_destination=told)).artifacts_destination == told


def test_without_proxied_artifacts_nothing_has_to_be_said(home: Path) -> None:
    """Places that are paths mean the same from everywhere."""
    TrackingFile(home / "mlflow.db").execute(
        "UPDATE experiments SET artifact_location = '/srv/' || experiment_id"
    )

    assert settings_of(given(home)).database.name == str(home / "mlflow.db")
