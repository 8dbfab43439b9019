from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_cleanup.errors import BadUsage
from mlflow_cleanup.server.flags import Whereabout, default_backend, derive, root_of

PLAIN = Whereabout(
    backend="sqlite:///mlflow.db",
    destination="/home/mlartifacts",
    roots=("/home/mlartifacts", "/home/mlruns"),
)


def found(*arguments: str, **environment: str) -> Whereabout:
    """Read arguments and MLflow's environment in an empty working directory."""
    return derive(
        arguments, {f"MLFLOW_{name}": value for name, value in environment.items()}, "/home"
    )


def test_without_flags_mlflow_uses_its_working_directory() -> None:
    """A database file, proxied artifacts beside it, and what clients put there by themselves."""
    assert found() == PLAIN


VALUED = [
    ("--backend-store-uri", "BACKEND_STORE_URI", "backend"),
    ("--registry-store-uri", "REGISTRY_STORE_URI", "registry"),
]


@pytest.mark.parametrize(("flag", "variable", "field"), VALUED)
def test_a_flag_is_read_in_every_form(flag: str, variable: str, field: str) -> None:
    """`--x v` and `--x=v`; the last one wins; a variable only stands in for a missing flag."""
    for whereabout, value in [
        (found(flag, "sqlite:///a"), "sqlite:///a"),
        (found(f"{flag}=sqlite:///a"), "sqlite:///a"),
        (found(f"{flag}=sqlite:///a=b"), "sqlite:///a=b"),
        (found(flag, "sqlite:///a", f"{flag}=sqlite:///b"), "sqlite:///b"),
        (found(f"{flag}=sqlite:///a", flag, "sqlite:///b"), "sqlite:///b"),
        (found("--dev", flag, "sqlite:///a", "--workers", "2"), "sqlite:///a"),
        (found(**{variable: "sqlite:///e"}), "sqlite:///e"),
        (found(flag, "sqlite:///a", **{variable: "sqlite:///e"}), "sqlite:///a"),
        (found(f"{flag}x=sqlite:///a"), getattr(PLAIN, field)),
        (found(flag), getattr(PLAIN, field)),
        (found(**{variable: ""}), getattr(PLAIN, field)),
    ]:
        assert getattr(whereabout, field) == value


@pytest.mark.parametrize(
    ("arguments", "environment", "address"),
    [
        ([], {}, ("127.0.0.1", "5000")),
        (["--host", "::", "--port", "1"], {}, ("::", "1")),
        (["--host=::", "--port=1"], {}, ("::", "1")),
        (["-h", "::", "-p", "1"], {}, ("::", "1")),
        (["-h::", "-p5001"], {}, ("::", "5001")),
        (["-p1", "--port", "2"], {}, ("127.0.0.1", "2")),
        (["--port", "2", "-p1"], {}, ("127.0.0.1", "1")),
        ([], {"HOST": "h", "PORT": "7"}, ("h", "7")),
        (["-p1"], {"HOST": "h", "PORT": "7"}, ("h", "1")),
        (["-w4"], {}, ("127.0.0.1", "5000")),
    ],
)
def test_host_and_port_have_short_forms(
    arguments: list[str], environment: dict[str, str], address: tuple[str, str]
) -> None:
    """`-p5001`, `-p 5001`, `--port=5001` and their like name where MLflow listens."""
    assert found(*arguments, **environment).address == address


@pytest.mark.parametrize("option", ["--gunicorn-opts", "--uvicorn-opts", "--waitress-opts"])
def test_the_value_of_another_option_is_no_flag(option: str) -> None:
    """What is handed on to a web server is not read as MLflow's own."""
    assert found(option, "-p /run/pid").address == PLAIN.address
    assert found(option, "--port=1").address == PLAIN.address
    assert found(option, "--host=h -p9").address == PLAIN.address


def test_a_switch_of_a_later_release_hides_nothing() -> None:
    """An option that is not known here may have no value: what follows is read all the same."""
    whereabout = found("--brand-new", "--backend-store-uri", "sqlite:///a", "--newer", "-p1")

    assert whereabout.backend == "sqlite:///a"
    assert whereabout.address == ("127.0.0.1", "1")


@pytest.mark.parametrize(
    ("arguments", "environment", "destination", "roots"),
    [
        (["--artifacts-destination", "art"], {}, "/home/art", ("/home/art", "/home/mlruns")),
        (["--artifacts-destination=/a/b"], {}, "/a/b", ("/a/b", "/home/mlruns")),
        (["--artifacts-destination", "file:///a%20b"], {}, "/a b", ("/a b", "/home/mlruns")),
        (["--artifacts-destination", "~/art"], {}, "/home/~/art", ("/home/~/art", "/home/mlruns")),
        (["--artifacts-destination", "../art"], {}, "/art", ("/art", "/home/mlruns")),
        ([], {"ARTIFACTS_DESTINATION": "/e"}, "/e", ("/e", "/home/mlruns")),
        (
            ["--artifacts-destination", "/a"],
            {"ARTIFACTS_DESTINATION": "/e"},
            "/a",
            ("/a", "/home/mlruns"),
        ),
        (
            ["--artifacts-destination", "s3://bucket/x/"],
            {},
            "s3://bucket/x",
            ("s3://bucket/x", "/home/mlruns"),
        ),
        (["--artifacts-destination", "hdfs://h/x"], {}, None, ("/home/mlruns",)),
        (
            ["--default-artifact-root", "/d"],
            {},
            "/home/mlartifacts",
            ("/d", "/home/mlartifacts", "/home/mlruns"),
        ),
        (
            [],
            {"DEFAULT_ARTIFACT_ROOT": "file:///d"},
            "/home/mlartifacts",
            ("/d", "/home/mlartifacts", "/home/mlruns"),
        ),
        (
            ["--default-artifact-root", "s3://bucket"],
            {},
            "/home/mlartifacts",
            ("s3://bucket", "/home/mlartifacts", "/home/mlruns"),
        ),
        (
            ["--default-artifact-root", "mlflow-artifacts:/"],
            {},
            "/home/mlartifacts",
            ("/home/mlartifacts", "/home/mlruns"),
        ),
        (
            ["--default-artifact-root", "./mlruns"],
            {},
            "/home/mlartifacts",
            ("/home/mlruns", "/home/mlartifacts"),
        ),
        (["--no-serve-artifacts"], {}, None, ("/home/mlruns",)),
        (
            ["--no-serve-artifacts", "--default-artifact-root", "/d"],
            {},
            None,
            ("/d", "/home/mlruns"),
        ),
        (["--no-serve-artifacts", "--serve-artifacts"], {}, PLAIN.destination, PLAIN.roots),
        (["--serve-artifacts", "--no-serve-artifacts"], {}, None, ("/home/mlruns",)),
        ([], {"SERVE_ARTIFACTS": "false"}, None, ("/home/mlruns",)),
        ([], {"SERVE_ARTIFACTS": "0"}, None, ("/home/mlruns",)),
        ([], {"SERVE_ARTIFACTS": "NO"}, None, ("/home/mlruns",)),
        ([], {"SERVE_ARTIFACTS": "true"}, PLAIN.destination, PLAIN.roots),
        ([], {"SERVE_ARTIFACTS": ""}, PLAIN.destination, PLAIN.roots),
        (["--serve-artifacts"], {"SERVE_ARTIFACTS": "0"}, PLAIN.destination, PLAIN.roots),
    ],
)
def test_artifact_roots_are_where_the_server_puts_artifacts(
    arguments: list[str],
    environment: dict[str, str],
    destination: str | None,
    roots: tuple[str, ...],
) -> None:
    """Destination and default root, as far as they are local, and the clients' own directory."""
    whereabout = found(*arguments, **environment)

    assert whereabout.destination == destination
    assert whereabout.roots == roots


@pytest.mark.parametrize(
    "uri", ["s3://host:9000/b/x", "s3://bucket/x?a=b", "S3://bucket/x", "s3://bucket//x", "gs://"]
)
def test_a_root_in_an_object_store_is_written_plainly(uri: str) -> None:
    """A host, a port, a query or an empty name leave it open which bucket or key is meant."""
    with pytest.raises(BadUsage, match="no plain place in an object store"):
        root_of(uri, "/home")


@pytest.mark.parametrize("uri", ["file:///a?b", "file:///a%2520b", "FILE:///a"])
def test_a_root_that_can_be_read_in_two_ways_is_refused(uri: str) -> None:
    """Nothing is guessed about where files may be removed."""
    with pytest.raises(BadUsage, match="more than one way"):
        found("--artifacts-destination", uri)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("art", "/home/art"),
        ("/art", "/art"),
        ("/a b", "/a b"),
        ("/a%20b", "/a b"),
        ("/100%", "/100%"),
        ("/a\\b", "/a\\b"),
        ("file:art", "/home/art"),
        ("gs://bucket/x", "gs://bucket/x"),
        ("hdfs://h/x", None),
        ("mlflow-artifacts:/", None),
    ],
)
def test_a_root_is_told_from_what_is_not_handled(uri: str, path: str | None) -> None:
    """What lies on a local file system or in an object store can be an artifact root."""
    assert root_of(uri, "/home") == path


@pytest.mark.parametrize(
    ("files", "backend"),
    [
        ([], "sqlite:///mlflow.db"),
        (["0/meta.yaml"], "./mlruns"),
        (["0/x", "123456789/meta.yaml"], "./mlruns"),
        (["0/meta.yml"], "sqlite:///mlflow.db"),
        (["meta.yaml"], "sqlite:///mlflow.db"),
        (["models/meta.yaml"], "sqlite:///mlflow.db"),
        ([".trash/0/meta.yaml"], "sqlite:///mlflow.db"),
        (["0a/meta.yaml"], "sqlite:///mlflow.db"),
        (["0/1/meta.yaml"], "sqlite:///mlflow.db"),
    ],
)
def test_a_file_store_is_found_as_mlflow_finds_it(
    tmp_path: Path, files: list[str], backend: str
) -> None:
    """An experiment's `meta.yaml` under a number in `mlruns` makes MLflow use the file store."""
    for name in files:
        path = tmp_path / "mlruns" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert default_backend(str(tmp_path)) == backend
    assert derive([], {}, str(tmp_path)).backend == backend
    named = ["--backend-store-uri", "sqlite:///named.db"]
    assert derive(named, {}, str(tmp_path)).backend == "sqlite:///named.db"


def test_a_tracking_uri_is_the_clients_not_the_servers() -> None:
    """MLflow's server does not look at MLFLOW_TRACKING_URI."""
    assert found(TRACKING_URI="sqlite:///client.db").backend == PLAIN.backend
