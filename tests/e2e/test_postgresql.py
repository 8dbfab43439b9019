"""A real MLflow server with its metadata in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.server import Site
from tests.kit.servers.postgresql import PASSWORD, PostgreSQL

pytestmark = pytest.mark.e2e

FILES = {"a.txt": b"a" * 10, "deep/b.txt": b"b" * 100}


@pytest.fixture
def uri(postgresql: PostgreSQL) -> str:
    """The backend store URI of a database with MLflow's tables."""
    url = postgresql.url(postgresql.new_database())
    return url.replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A directory in which nothing has been used before."""
    made = Site(tmp_path)
    yield made
    made.close()


def test_ui_cleans_up_behind_a_server_on_postgresql(site: Site, uri: str) -> None:
    """Delete, restore, delete again and purge; no verb and no file of ours tells a secret."""
    program = site.serve("--backend-store-uri", uri)
    mlflow = site.tracking
    run, other = mlflow.log_run(FILES), mlflow.log_run(FILES)
    before = site.tree(run)
    program.until(lambda: site.status()["known_active_runs"] == 2, "both are known")

    mlflow.delete(run)
    program.line(run.id, "moved to the trash")
    assert not site.place_of(run).exists()
    mlflow.restore(run)
    program.line(run.id, "are back")
    assert site.tree(run) == before

    mlflow.delete(run)
    program.until(site.held, "it is in the trash again")
    said = [
        site.say(*words, environment={"MLFLOW_BACKEND_STORE_URI": uri})
        for words in (
            ("doctor",),
            ("plan",),
            ("usage",),
            ("status",),
            ("trash", "purge", "--all", "--yes"),
        )
    ]
    program.until(lambda: site.events(run)[-1] == "purged", "it is purged")

    assert [one.code for one in said] == [0, 0, 0, 0, 0]
    assert site.tree(other) == before
    assert program.stop() == 0
    told = "".join(one.out + one.err for one in said) + "\n".join(program.ours())
    kept = b"".join(path.read_bytes() for path in site.state_dir.iterdir() if path.is_file())
    for secret in (PASSWORD, "s3cr%3At"):
        assert secret not in told
        assert secret.encode() not in kept
