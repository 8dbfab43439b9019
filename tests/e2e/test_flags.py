from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.kit.server import Site, tree_of, write_tree

pytestmark = pytest.mark.e2e

FILES = {"a.txt": b"a" * 10, "deep/with space.txt": b"b" * 100}


@dataclass(frozen=True)
class Setup:
    """How to start, and where things must be then, relative to the site's directory.

    `{here}` in a word stands for that directory. `is_proxied`: artifacts go through the server;
    else a client writes them where the run says.
    """

    words: tuple[str, ...]
    root: str
    database: str = "mlflow.db"
    environment: Mapping[str, str] = field(default_factory=dict)
    is_proxied: bool = True
    verb: str = "ui"


SETUPS = {
    "flags": Setup(
        ("--backend-store-uri", "sqlite:///sub/other.db", "--artifacts-destination", "./elsewhere"),
        root="elsewhere",
        database="sub/other.db",
        verb="server",
    ),
    "flags after a double dash": Setup(
        (
            "--retention",
            "3d",
            "--",
            "--backend-store-uri=sqlite:///{here}/sub/other.db",
            "--artifacts-destination=file://{here}/elsewhere",
        ),
        root="elsewhere",
        database="sub/other.db",
        environment={"MLFLOW_ARTIFACTS_DESTINATION": "overruled by the flag"},
    ),
    "environment": Setup(
        (),
        root="elsewhere",
        database="sub/other.db",
        environment={
            "MLFLOW_BACKEND_STORE_URI": "sqlite:///sub/other.db",
            "MLFLOW_ARTIFACTS_DESTINATION": "elsewhere",
        },
    ),
    "clients write directly": Setup(
        ("--default-artifact-root", "{here}/store"), root="store", is_proxied=False
    ),
    "artifacts not served": Setup(("--no-serve-artifacts",), root="mlruns", is_proxied=False),
}


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS.keys())
def test_mlflows_own_options_say_where_things_are(
    bare_site: Site, used_database: Path, setup: Setup
) -> None:
    """However MLflow is told its places, deletes are handled there, and restores too."""
    site, here = bare_site, bare_site.directory
    database, root = here / setup.database, here / setup.root
    database.parent.mkdir(exist_ok=True)
    shutil.copyfile(used_database, database)
    words = [word.format(here=here) for word in setup.words]
    program = site.serve(*words, verb=setup.verb, environment=setup.environment)
    run = site.tracking.create_run(site.tracking.create_experiment())
    artifacts = root / run.experiment / run.id / "artifacts"
    if setup.is_proxied:
        for name, content in FILES.items():
            site.tracking.upload(run, name, content)
    else:
        write_tree(here / run.artifact_uri.removeprefix("file://"), FILES)
    before = tree_of(artifacts)
    assert {name: content for name, content in before.items() if content is not None} == FILES

    site.tracking.delete(run)
    program.line(run.id, "2 files (110 B)", "moved to the trash")
    assert not artifacts.parent.exists()
    assert len(site.trash(root)) == 1
    site.tracking.restore(run)
    program.line(run.id, "are back")

    assert tree_of(artifacts) == before
    assert (database.parent / ".mlflow-cleanup" / "ledger.db").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--port", "5000", "--retention", "1d"],
        ["--workers", "1", "--retention=1d"],
        ["--host", "127.0.0.1", "--backlog", "include", "--", "--port", "5000"],
    ],
)
def test_our_option_after_mlflows_own_is_refused(site: Site, words: list[str]) -> None:
    """An option of ours in the wrong place ends with code 2, told clearly, nothing started."""
    said = site.say("ui", *words)

    assert said.code == 2
    assert "is an option of mlflow-cleanup and has to come before MLflow's own" in said.err
    assert "Nothing was started" in said.err
    assert not site.state_dir.exists()


def test_option_that_nobody_knows_is_mlflows_to_refuse(site: Site) -> None:
    """A flag that is not ours goes to MLflow, whose error is seen and whose exit code is ours."""
    said = site.say("ui", "--no-such-option")

    assert said.code == 2
    assert "No such option" in said.err + said.out
    assert "MLflow ended by itself with exit code 2" in said.err
