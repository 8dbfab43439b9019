from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_cleanup.config import (
    database_of,
    parse_duration,
    read_file,
    redacted,
    sqlite_path,
    state_dir_for,
)
from mlflow_cleanup.errors import BadUsage, UnsupportedBackend
from mlflow_cleanup.model.database import MYSQL, POSTGRESQL, Database
from mlflow_cleanup.report.text import length_text


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("0", timedelta(0)),
        (" 0 ", timedelta(0)),
        ("0d", timedelta(0)),
        ("45s", timedelta(seconds=45)),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("1d12h", timedelta(days=1, hours=12)),
        ("1.5h", timedelta(minutes=90)),
        ("7D", timedelta(days=7)),
        (" 7d ", timedelta(days=7)),
        ("9999999d", timedelta(days=9_999_999)),
    ],
)
def test_a_length_of_time_is_read(text: str, length: timedelta) -> None:
    """Numbers with units, joined as one likes; a bare 0 needs no unit."""
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "7",
        "d",
        "7x",
        "-7d",
        "+7d",
        "7d ago",
        "1d 12h",
        "1d,12h",
        "1e3d",
        "nan",
        "0x1d",
        "7dd",
    ],
)
def test_a_length_of_time_that_makes_no_sense_is_wrong_usage(text: str) -> None:
    """What cannot be read is told, with examples of what can."""
    with pytest.raises(BadUsage, match="7d, 12h, 30m"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["99999999999d", "9" * 400 + "w"])
def test_a_length_of_time_beyond_counting_is_wrong_usage(text: str) -> None:
    """A number that no calendar holds is told, not cut."""
    with pytest.raises(BadUsage, match="longer than can be counted"):
        parse_duration(text)


@settings(deadline=None)
@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10**6)))
def test_what_is_shown_of_a_length_can_be_read_again(length: timedelta) -> None:
    """The text of a length, its spaces taken out, is a setting, and never a longer one."""
    again = parse_duration(length_text(length).replace(" ", ""))

    assert again <= length
    assert length_text(again) == length_text(length)


@settings(deadline=None)
@given(st.text(max_size=8))
def test_any_text_is_a_length_or_wrong_usage(text: str) -> None:
    """Whatever is typed, there is a length of time that is not negative, or a clear error."""
    try:
        length = parse_duration(text)
    except BadUsage as error:
        assert "length of time" in str(error) or "longer than" in str(error)  # noqa: PT017
    else:
        assert length >= timedelta(0)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:///mlflow.db", "/home/mlflow.db"),
        ("sqlite:///./sub/../mlflow.db", "/home/mlflow.db"),
        ("sqlite:////abs/mlflow.db", "/abs/mlflow.db"),
        ("sqlite+pysqlite:///mlflow.db", "/home/mlflow.db"),
        ("sqlite:///mlflow.db?timeout=5", "/home/mlflow.db"),
        ("sqlite:///a b.db", "/home/a b.db"),
        ("sqlite:///a%20b.db", "/home/a b.db"),
        ("sqlite:///é.db", "/home/é.db"),
    ],
)
def test_the_database_of_a_uri_is_an_absolute_path(uri: str, path: str) -> None:
    """Three slashes are relative to the working directory, four are absolute."""
    assert sqlite_path(uri, "/home") == path


def test_a_percent_in_a_database_name_means_what_is_there(tmp_path: Path) -> None:
    """Releases of SQLAlchemy differ in decoding: the file that exists decides, and two do not."""
    here, uri = str(tmp_path), "sqlite:///a%20b.db"
    (tmp_path / "a%20b.db").touch()
    assert sqlite_path(uri, here) == f"{here}/a%20b.db"

    (tmp_path / "a b.db").touch()
    with pytest.raises(BadUsage, match="both exist"):
        sqlite_path(uri, here)

    (tmp_path / "a%20b.db").unlink()
    assert sqlite_path(uri, here) == f"{here}/a b.db"


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("sqlite://", "a database in a file"),
        ("sqlite:///", "a database in a file"),
        ("sqlite:///:memory:", "a database in a file"),
        ("mssql+pyodbc://u:p@h/db", "SQLite, PostgreSQL, MySQL and MariaDB can be watched"),
        ("oracle://h/db", "migrate-filestore"),
        ("http://127.0.0.1:5000", "beside the tracking server"),
        ("https://h", "beside the tracking server"),
        ("databricks", "beside the tracking server"),
        ("databricks://profile", "beside the tracking server"),
        ("./mlruns", "migrate-filestore"),
        ("/abs/mlruns", "migrate-filestore"),
        ("file:///abs/mlruns", "migrate-filestore"),
        ("", "migrate-filestore"),
    ],
)
def test_a_store_that_cannot_be_watched_is_told_with_a_way_on(uri: str, hint: str) -> None:
    """Each kind of store that is no database we can read has its own advice."""
    with pytest.raises(UnsupportedBackend, match=hint):
        database_of(uri, "/home")


@pytest.mark.parametrize(
    ("uri", "kind", "name"),
    [
        ("postgresql://u:s3cret@h/db", POSTGRESQL, "postgresql://h/db"),
        ("postgres://u:s3cret@h/db", POSTGRESQL, "postgresql://h/db"),
        ("postgresql+psycopg2://u:s3cret@H:5432/db", POSTGRESQL, "postgresql://h/db"),
        ("postgresql+psycopg://u@h:5433/Db?password=s3cret", POSTGRESQL, "postgresql://h:5433/Db"),
        ("postgresql:///db?host=/run/s&user=u", POSTGRESQL, "postgresql://%2Frun%2Fs/db"),
        ("postgresql://u:s3c%40ret@[::1]:1/db", POSTGRESQL, "postgresql://[::1]:1/db"),
        ("mysql://u:s3/c:r?et@h/db", MYSQL, "mysql://h/db"),
        ("mysql+pymysql://u:s3cret@h:3306/db?charset=utf8mb4", MYSQL, "mysql://h/db"),
        ("mariadb+mariadbconnector://u:s3cret@h:3307/db", MYSQL, "mysql://h:3307/db"),
    ],
)
def test_a_database_on_a_server_is_named_without_secrets(uri: str, kind: str, name: str) -> None:
    """What is shown has no user, no password and no query; what connects has everything."""
    found = database_of(uri, "/home")

    assert (found.kind, found.name, found.path, str(found)) == (kind, name, None, name)
    assert found.url == uri
    assert uri not in repr(found)
    assert "cret" not in repr(found)


def test_another_password_makes_no_other_database() -> None:
    """What is compared is what is shown: a password may be changed while a ledger lives on."""
    one, other = (database_of(f"mysql://u:{word}@h/db", "/") for word in ("a", "b"))

    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    "uri",
    ["postgresql://user:s3@cret@host/db", "mysql://user:s3cret", "mysql://h:s3cret/db"],
)
def test_a_uri_that_can_be_misread_is_refused_without_showing_it(uri: str) -> None:
    """What may be a piece of a password stands in no message."""
    with pytest.raises(BadUsage, match="HOST:PORT") as told:
        database_of(uri, "/home")
    assert "cret" not in str(told.value)
    assert "s3" not in str(told.value)


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://user:secret@host/db",
        "postgresql://user:se/cret@host/db",
        "postgresql://user:se@cret@host/db",
        "postgresql://user:@secret@host:5432/db?x=y",
        "mysql+pymysql://:secret@host/db",
    ],
)
def test_no_password_stands_in_a_message(uri: str) -> None:
    """Whatever characters a password has, none of it is shown."""
    shown = redacted(uri)

    assert "cret" not in shown
    assert "user" not in shown
    assert shown.partition("?")[0].endswith(("@host/db", "@host:5432/db"))


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "postgresql://host/db", "./mlruns@1"])
def test_what_has_no_password_is_shown_as_it_is(uri: str) -> None:
    """Nothing is taken out where there is no user."""
    assert redacted(uri) == uri


def test_the_ledger_lies_beside_the_database() -> None:
    """Each tracking database has a state directory of its own."""
    assert state_dir_for(Database.of_file("/data/mlflow.db")) == Path("/data/.mlflow-cleanup")


def test_without_a_file_the_ledger_lies_in_the_working_directory() -> None:
    """A database on a server has no place beside it, and its name says nothing secret."""
    database = database_of("postgresql://u:s3cret@h/db", "/srv")

    assert state_dir_for(database, "/srv") == Path("/srv/.mlflow-cleanup")


def test_keys_of_the_file_may_be_written_with_dashes_or_underscores(tmp_path: Path) -> None:
    """Both spellings are the option's name."""
    path = tmp_path / "x.toml"
    path.write_text("poll-interval = 1\nstate_dir = '/s'\n")

    assert read_file(path, frozenset({"poll_interval", "state_dir"})) == {
        "poll_interval": 1,
        "state_dir": "/s",
    }


def test_a_database_behind_a_link_has_the_ledger_of_the_real_one(tmp_path: Path) -> None:
    """However it is reached, one database has one ledger, so that one lease holds for it."""
    real = tmp_path.resolve() / "data" / "mlflow.db"
    real.parent.mkdir()
    real.touch()
    (tmp_path / "link.db").symlink_to(real)
    (tmp_path / "linked").symlink_to(real.parent)
    uris = [f"sqlite:///{path}" for path in (real, "link.db", "linked/mlflow.db")]

    assert {sqlite_path(uri, str(tmp_path)) for uri in uris} == {str(real)}
    assert state_dir_for(database_of(uris[1], str(tmp_path))) == real.parent / ".mlflow-cleanup"
