"""Makes `schemas/<revision>.sql` from the migrations of the installed MLflow.

`python -m tests.kit.make_schemas` writes all of them anew. To add a release of MLflow, install it,
enter its newest revision in `tests.kit.tracking_db.REVISIONS`, and run this.
"""

from __future__ import annotations

import importlib.util
import logging
import sqlite3
import tempfile
from pathlib import Path

from tests.kit.tracking_db import REVISIONS, SCHEMAS


def migrations() -> Path:
    """Return where the installed MLflow keeps its migrations, without importing MLflow."""
    found = importlib.util.find_spec("mlflow")
    if found is None or not found.submodule_search_locations:
        raise LookupError("MLflow is not installed")
    return Path(found.submodule_search_locations[0], "store", "db_migrations")


def migrate(path: Path, revision: str) -> None:
    """Make an empty tracking database of one revision, as MLflow itself would have."""
    migrate_at(f"sqlite:///{path}", revision)


def migrate_at(url: str, revision: str) -> None:
    """Make the tables of one revision in an empty database."""
    from alembic import command  # noqa: PLC0415 - a dependency of MLflow, and slow to import
    from alembic.config import Config  # noqa: PLC0415
    from mlflow.store.tracking.dbmodels.initial_models import Base  # noqa: PLC0415
    from sqlalchemy import create_engine  # noqa: PLC0415

    engine = create_engine(url)
    Base.metadata.create_all(engine)
    config = Config()
    config.set_main_option("script_location", str(migrations()))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def dump(path: Path) -> str:
    """Write a database as the SQL that makes it, rows included."""
    connection = sqlite3.connect(path)
    try:
        lines = [line.rstrip() for line in "\n".join(connection.iterdump()).splitlines()]
    finally:
        connection.close()
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make all of them."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for version, revision in REVISIONS.items():
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "mlflow.db")
            migrate(path, revision)
            head = f"-- MLflow {version}, made by its own migrations (tests/kit/make_schemas.py).\n"
            (SCHEMAS / f"{revision}.sql").write_text(head + dump(path), encoding="utf-8")


if __name__ == "__main__":
    main()
