from __future__ import annotations

import os
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from mlflow_cleanup.cli.options import KEYS, connection, ours_beside_mlflow, policy
from mlflow_cleanup.cli.settings import home_of, settings_beside_server, settings_of
from mlflow_cleanup.cli.sweep import sweep
from mlflow_cleanup.cli.usage import usage
from mlflow_cleanup.cli.watch import watch
from mlflow_cleanup.config import Settings
from mlflow_cleanup.errors import BadUsage, UnsupportedBackend
from mlflow_cleanup.model.database import Database
from mlflow_cleanup.server.flags import derive


@click.command()
@connection
@policy
def beside(**given: Any) -> Settings:  # noqa: ANN401 - click's values
    """Read options as every verb but `ui` does."""
    return settings_beside_server(given)


@click.command()
@ours_beside_mlflow
def with_server(**given: Any) -> Settings:  # noqa: ANN401 - click's values
    """Read options as `ui` does."""
    return settings_of(derive([], os.environ, os.getcwd()), given)


@click.command()
@connection
def reading(**given: Any) -> Path:  # noqa: ANN401 - click's values
    """Read options as `status` does."""
    home = home_of(given)
    assert isinstance(home, Path)
    return home


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, with no variable of MLflow's or ours."""
    for name in list(os.environ):
        if name.startswith("MLFLOW"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Path.cwd()


def read(command: click.Command, *words: str, file: str | None = None) -> Any:  # noqa: ANN401 - as the command returns
    """Run a command with words, and a configuration file in this directory."""
    if file is not None:
        Path("mlflow-cleanup.toml").write_text(file, encoding="utf-8")
    return command.main(list(words), standalone_mode=False)


def fields_of(settings: Settings) -> dict[str, object]:
    """Return settings by name, databases as they are shown."""
    found = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {
        key: str(value) if isinstance(value, Database) else value for key, value in found.items()
    }


# Each setting: its flag and three values, as words, with what they mean; flag, environment, file.
LAYERS: dict[str, tuple[str, list[tuple[str, str, object]]]] = {
    "retention": (
        "retention",
        [
            ("1d", '"1d"', timedelta(days=1)),
            ("2h", '"2h"', timedelta(hours=2)),
            ("0", "0", timedelta(0)),
        ],
    ),
    "poll-interval": ("poll_interval_s", [("1", "1", 1.0), ("2.5", "2.5", 2.5), ("3", "3", 3.0)]),
    "backlog": (
        "include_backlog",
        [
            ("include", '"include"', True),
            ("report", '"report"', False),
            ("include", '"include"', True),
        ],
    ),
    "vanished-share": (
        "vanished_share",
        [("0.1", "0.1", 0.1), ("0", "0", 0.0), ("1", "1.0", 1.0)],
    ),
    "vanished-minimum": ("vanished_minimum", [("1", "1", 1), ("2", "2", 2), ("30", "30", 30)]),
    "state-dir": (
        "state_dir",
        [
            ("/a", '"/a"', Path("/a")),
            ("/b c", '"/b c"', Path("/b c")),
            ("/d", '"/d"', Path("/d")),
        ],
    ),
}
PLACES: dict[str, tuple[str, list[tuple[str, str, object]]]] = {
    "backend-store-uri": (
        "database",
        [(f"sqlite:////{name}.db", f'"sqlite:////{name}.db"', f"/{name}.db") for name in "abc"],
    ),
    "artifacts-destination": (
        "artifacts_destination",
        [(f"/{name}", f'"/{name}"', f"/{name}") for name in "abc"],
    ),
    "registry-store-uri": (
        "registry",
        [(f"sqlite:////{name}.db", f'"sqlite:////{name}.db"', f"/{name}.db") for name in "abc"],
    ),
}


@pytest.mark.parametrize(
    ("command", "name"),
    [(beside, name) for name in (*LAYERS, *PLACES)] + [(with_server, name) for name in LAYERS],
    ids=lambda value: value if isinstance(value, str) else str(value.name),
)
def test_flags_win_over_environment_over_file_over_defaults(
    command: click.Command, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every setting, the layer that is nearer to the user wins."""
    field, [of_flag, of_environment, of_file] = {**LAYERS, **PLACES}[name]
    default = fields_of(read(command))[field]
    assert default not in (of_flag[2], of_file[2])

    assert fields_of(read(command, file=f"{name} = {of_file[1]}\n"))[field] == of_file[2]
    monkeypatch.setenv(f"MLFLOW_CLEANUP_{name.upper().replace('-', '_')}", of_environment[0])
    assert fields_of(read(command))[field] == of_environment[2]
    assert fields_of(read(command, f"--{name}", of_flag[0]))[field] == of_flag[2]
    assert fields_of(read(command, f"--{name}={of_flag[0]}"))[field] == of_flag[2]


@pytest.mark.parametrize("command", [beside, with_server])
@pytest.mark.parametrize(
    ("name", "field", "flags"),
    [
        ("file-events", "use_file_events", {"--file-events": True, "--no-file-events": False}),
        ("allow-unknown-schema", "allow_unknown_schema", {"--allow-unknown-schema": True}),
    ],
)
def test_switches_have_the_same_layers(
    command: click.Command,
    name: str,
    field: str,
    flags: dict[str, bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A switch is set by the nearest layer that says something."""
    variable = f"MLFLOW_CLEANUP_{name.upper().replace('-', '_')}"
    default = field == "use_file_events"

    assert getattr(read(command), field) is default
    for value in (not default, default):
        assert getattr(read(command, file=f"{name} = {str(value).lower()}\n"), field) is value
    for value in (not default, default):
        monkeypatch.setenv(variable, str(value).lower())
        read(command, file=f"{name} = {str(not value).lower()}\n")
        assert getattr(read(command), field) is value
        for flag, meant in flags.items():
            assert getattr(read(command, flag), field) is meant


@pytest.mark.parametrize("command", [beside, with_server])
def test_artifact_roots_can_be_named_in_every_layer(
    command: click.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several roots can be given; a nearer layer's stand in for those of a farther one."""
    assert read(command, file='artifact-root = ["/f g", "/h"]\n').roots[:2] == ("/f g", "/h")
    monkeypatch.setenv("MLFLOW_CLEANUP_ARTIFACT_ROOT", "/env")
    assert read(command).roots[0] == "/env"
    assert "/h" not in read(command).roots
    named = read(command, "--artifact-root", "/a b", "--artifact-root=rel").roots
    assert named[:2] == ("/a b", str(Path.cwd() / "rel"))
    assert "/env" not in named


def test_a_root_with_a_space_in_the_environment_is_one_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name with a space is not cut into two directories; several are listed as in PATH."""
    monkeypatch.setenv("MLFLOW_CLEANUP_ARTIFACT_ROOT", "/my data/art")
    assert read(beside).roots[0] == "/my data/art"
    assert "/my" not in read(beside).roots

    monkeypatch.setenv("MLFLOW_CLEANUP_ARTIFACT_ROOT", os.pathsep.join(["/my data", "/other"]))
    assert read(beside).roots[:2] == ("/my data", "/other")


def test_roots_in_object_stores_are_named_in_every_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URI is one root, beside others too, though a colon separates directories in a variable."""
    listed = ["s3://bucket/x", "/a", "wasbs://c@acct.blob.core.windows.net/y", "gs://bucket"]
    monkeypatch.setenv("MLFLOW_CLEANUP_ARTIFACT_ROOT", os.pathsep.join(listed))
    assert read(beside).roots[:4] == tuple(listed)

    named = read(beside, "--artifact-root", "s3a://bucket/z/", "--artifact-root=/b")
    assert named.roots[:2] == ("s3://bucket/z", "/b")
    destined = read(beside, "--artifacts-destination", "abfss://c@acct.dfs.core.windows.net/y/")
    assert destined.artifacts_destination == listed[2]
    assert listed[2] in destined.roots
    assert read(beside, file='artifact-root = ["gs://bucket/f"]\n').roots[:4] == tuple(listed)


@pytest.mark.parametrize(
    ("root", "why"),
    [
        ("hdfs://host/x", "of the kind hdfs: are left alone"),
        ("mlflow-artifacts:/x", "names no storage"),
        ("s3://host:9000/bucket", "no plain place in an object store"),
        ("S3://bucket/x", "no plain place in an object store"),
    ],
)
def test_a_root_that_cannot_be_one_is_wrong_usage(root: str, why: str) -> None:
    """What an operator names is never left out silently."""
    with pytest.raises(BadUsage, match=why):
        read(beside, "--artifact-root", root)


def test_a_root_given_as_text_in_the_file_is_not_read_letter_by_letter() -> None:
    """A single text instead of a list is wrong usage, not the directory `/` and some more."""
    with pytest.raises(click.UsageError) as told:
        read(beside, file='artifact-root = "/data"\n')

    assert told.value.exit_code == 2
    assert "artifact-root" in told.value.format_message()


def test_mlflows_own_variables_stand_in_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server is told by environment holds here too; our own variables are nearer."""
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "sqlite:////server.db")
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", "/server")
    monkeypatch.setenv("MLFLOW_REGISTRY_STORE_URI", "sqlite:////registry.db")
    found = read(beside)
    assert (str(found.database), str(found.registry)) == ("/server.db", "/registry.db")
    assert found.artifacts_destination == "/server"

    monkeypatch.setenv("MLFLOW_CLEANUP_BACKEND_STORE_URI", "sqlite:////ours.db")
    assert read(beside).database.name == "/ours.db"
    assert read(with_server).database.name == "/server.db"


def test_a_clients_tracking_uri_names_the_database(
    monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    """MLFLOW_TRACKING_URI counts where it is a database and nothing nearer names one."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////client.db")
    assert read(beside).database.name == "/client.db"
    assert read(reading) == Path("/.mlflow-cleanup")
    assert read(beside, "--backend-store-uri", "sqlite:////a.db").database.name == "/a.db"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert read(beside).database.name == str(here / "mlflow.db")


def test_everything_has_a_default(here: Path) -> None:
    """In an empty directory everything is where MLflow's server would have it."""
    expected = Settings(
        database=Database.of_file(str(here / "mlflow.db")),
        roots=(str(here / "mlartifacts"), str(here / "mlruns")),
        artifacts_destination=str(here / "mlartifacts"),
        working_directory=str(here),
        state_dir=here / ".mlflow-cleanup",
    )

    assert read(beside) == expected
    assert read(with_server) == expected
    assert read(reading) == here / ".mlflow-cleanup"


def test_what_a_client_made_beside_its_database_is_a_root(here: Path) -> None:
    """A client without a server puts `mlruns` beside the database that it makes."""
    found = read(beside, "--backend-store-uri", "sqlite:////data/mlflow.db")

    assert "/data/mlruns" in found.roots
    assert str(here / "mlruns") in found.roots
    assert found.state_dir == Path("/data/.mlflow-cleanup")


def test_a_registry_in_the_same_database_is_given_as_such() -> None:
    """Otherwise than none given, it says that there is none to be read apart."""
    words = [
        "--backend-store-uri",
        "sqlite:////a.db",
        "--registry-store-uri",
        "sqlite:////x/../a.db",
    ]

    found = read(beside, *words)
    assert found.registry == found.database
    assert read(beside, *words[:2]).registry is None


def test_reading_verbs_find_the_ledger_of_the_same_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` and its like look where the monitor with the same settings writes."""
    for words, file in [
        (["--backend-store-uri", "sqlite:////x/a.db"], ""),
        (["--state-dir", "rel"], ""),
        ([], 'state-dir = "/f"\n'),
        ([], 'backend-store-uri = "sqlite:////y/b.db"\n'),
    ]:
        assert read(reading, *words, file=file) == read(beside, *words).state_dir
    monkeypatch.setenv("MLFLOW_CLEANUP_STATE_DIR", "/env")
    assert read(reading) == read(beside).state_dir == Path("/env")


def test_the_configuration_file_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--config` and its variable name another file than the one in this directory."""
    other = tmp_path / "other.toml"
    other.write_text('retention = "3d"\n')
    Path("mlflow-cleanup.toml").write_text('retention = "4d"\n')

    assert read(beside).retention == timedelta(days=4)
    assert read(beside, "--config", str(other)).retention == timedelta(days=3)
    monkeypatch.setenv("MLFLOW_CLEANUP_CONFIG", str(other))
    assert read(beside).retention == timedelta(days=3)


@pytest.mark.parametrize(
    ("file", "word"),
    [
        ("retentoin = '1d'\n", "retentoin"),
        ("[ui]\nretention = '1d'\n", "ui"),
        ("config = 'x'\n", "config"),
        ("retention = \n", "cannot be read"),
        ("retention = '1d'\nretention = '2d'\n", "cannot be read"),
        ("retention = 'soon'\n", "soon"),
        ("retention = true\n", "True"),
    ],
)
def test_a_mistake_in_the_file_is_wrong_usage(file: str, word: str) -> None:
    """An unknown key, a syntax error or a value without meaning is named."""
    with pytest.raises(BadUsage, match=word):
        read(beside, file=file)


def test_an_unknown_key_is_told_with_those_that_there_are() -> None:
    """The message lists every key, so that a slip of the pen is found."""
    with pytest.raises(BadUsage) as told:
        read(beside, file="x = 1\n")

    assert all(key.replace("_", "-") in str(told.value) for key in KEYS)


def test_a_file_that_is_not_there_or_no_text_is_wrong_usage(tmp_path: Path) -> None:
    """A named file must be there, and any must be UTF-8."""
    with pytest.raises(BadUsage, match="missing"):
        read(beside, "--config", str(tmp_path / "missing.toml"))
    Path("mlflow-cleanup.toml").write_bytes(b"retention = '\xff'\n")
    with pytest.raises(BadUsage, match="cannot be read"):
        read(beside)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("poll-interval", "0"),
        ("poll-interval", "-1"),
        ("poll-interval", "soon"),
        ("poll-interval", "nan"),
        ("poll-interval", "inf"),
        ("poll-interval", "1e10"),  # longer than a thread can wait
        ("vanished-share", "1.5"),
        ("vanished-share", "-0.1"),
        ("vanished-share", "nan"),
        ("vanished-minimum", "0"),
        ("vanished-minimum", "x"),
        ("backlog", "delete"),
        ("file-events", "maybe"),
        ("allow-unknown-schema", "maybe"),
    ],
)
@pytest.mark.parametrize("layer", ["environment", "file"])
def test_a_value_without_meaning_is_wrong_usage(
    name: str, value: str, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever layer it comes from, a value that cannot be used is refused."""
    file = None
    if layer == "environment":
        monkeypatch.setenv(f"MLFLOW_CLEANUP_{name.upper().replace('-', '_')}", value)
    else:
        file = f'{name} = "{value}"\n'

    with pytest.raises(click.UsageError) as told:
        read(beside, file=file)

    assert told.value.exit_code == 2
    assert name in told.value.format_message()


@pytest.mark.parametrize("value", ["", "7", "d", "1x", "-1d", "1d -1h", "1,5h", "one day", "1dd"])
def test_a_bad_length_of_time_is_wrong_usage(value: str) -> None:
    """A retention that cannot be read is never taken for a short one."""
    with pytest.raises(BadUsage, match="length of time"):
        read(beside, "--retention", value)


@pytest.mark.parametrize("uri", ["mssql://u:secret@h/db", "./mlruns", "http://h"])
def test_a_store_that_cannot_be_watched_is_refused_without_its_password(uri: str) -> None:
    """Other stores than SQLite files are named, but not their secrets."""
    with pytest.raises(UnsupportedBackend) as told:
        read(beside, "--backend-store-uri", uri)

    assert "secret" not in str(told.value)


def test_every_key_of_the_file_is_an_option_and_the_other_way_round() -> None:
    """What can be said on the command line can be said in the file."""
    every = [*beside.params, *sweep.params, *watch.params, *usage.params]
    options = {param.name for param in every if param.expose_value and param.envvar}

    assert options == KEYS
