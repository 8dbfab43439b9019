from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.leaky import Leaky
from tests.kit.mlflow_gc import Ground, MLflow, ground_at, template
from tests.kit.server import Site


@pytest.fixture(scope="session")
def used_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking database as MLflow's server makes it, with its experiment 0."""
    site = Site(tmp_path_factory.mktemp("used-database"))
    site.serve_plainly()
    site.close()
    return site.database


@pytest.fixture
def bare_site(tmp_path: Path) -> Iterator[Site]:
    """An empty directory to work in."""
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.fixture
def site(bare_site: Site, used_database: Path) -> Site:
    """A directory in which MLflow has been used before: there is a tracking database."""
    shutil.copyfile(used_database, bare_site.database)
    return bare_site


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, used_database: Path) -> Iterator[Site]:
    """A site where `mlflow-cleanup ui` runs with its defaults, shared as starting takes long.

    Each test there keeps to runs of its own.
    """
    site = Site(tmp_path_factory.mktemp("served"))
    shutil.copyfile(used_database, site.database)
    site.serve()
    yield site
    site.close()


@pytest.fixture(scope="session")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaky]:
    """A site with a plain MLflow server, whose artifact root was adopted, for full cycles.

    They see everything there, so each test keeps to an experiment of its own.
    """
    made = Leaky(Site(tmp_path_factory.mktemp("leaky")))
    try:
        made.start()
        yield made
    finally:
        made.site.close()


@pytest.fixture(scope="session")
def mlflow() -> Iterator[MLflow]:
    """A process that has MLflow imported, which takes ten seconds."""
    made = MLflow()
    yield made
    made.close()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory, mlflow: MLflow) -> Path:
    """An empty tracking database that MLflow made."""
    return template(tmp_path_factory.mktemp("empty"), mlflow)


@pytest.fixture
def ground(tmp_path: Path, mlflow: MLflow, empty_database: Path) -> Ground:
    """A directory with a database that MLflow made."""
    return ground_at(tmp_path / "home", mlflow, empty_database)
