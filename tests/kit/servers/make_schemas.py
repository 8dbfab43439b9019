"""Makes `schemas/<postgresql|mysql>/<revision>.sql` from the migrations of the installed MLflow.

`python -m tests.kit.servers.make_schemas` writes all of them anew.
"""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing

from tests.kit.make_schemas import migrate_at
from tests.kit.servers.mariadb import MariaDB
from tests.kit.servers.postgresql import PASSWORD, PostgreSQL, programs
from tests.kit.tracking_db import REVISIONS, SCHEMAS

VERSIONS = ("1.27", "2.22", "3.17")
_UNWANTED = re.compile(r"^(--.*|\\.*|SET .*|SELECT pg_catalog.set_config.*|)$")
_HEAD = "-- MLflow {}, made by its own migrations (tests/kit/servers/make_schemas.py).\n"


def main() -> None:
    """Make all of them."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with PostgreSQL.running() as postgresql, MariaDB.running() as mariadb:
        for version in VERSIONS:
            name = postgresql.new_database(None)
            migrate_at(
                postgresql.url(name).replace("postgresql:", "postgresql+psycopg:"),
                REVISIONS[version],
            )
            _write("postgresql", version, _dumped_by_postgresql(postgresql, name))
            name = mariadb.new_database(None)
            migrate_at(mariadb.url(name), REVISIONS[version])
            _write("mysql", version, "\n".join(_dumped_by_mariadb(mariadb, name)))


def _write(kind: str, version: str, text: str) -> None:
    path = SCHEMAS / kind / f"{REVISIONS[version]}.sql"
    path.parent.mkdir(exist_ok=True)
    path.write_text(_HEAD.format(version) + text.strip() + "\n", encoding="utf-8")


def _dumped_by_postgresql(server: PostgreSQL, name: str) -> str:
    done = subprocess.run(
        [
            str(programs() / "pg_dump"),
            *("--no-owner", "--no-privileges", "--inserts", "--restrict-key=none"),
            *("-d", server.url(name)),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"PGPASSWORD": PASSWORD},
    )
    return "\n".join(line for line in done.stdout.splitlines() if not _UNWANTED.match(line))


def _dumped_by_mariadb(server: MariaDB, name: str) -> Iterator[str]:
    yield "SET FOREIGN_KEY_CHECKS = 0;"
    with closing(server.connection(name)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        for (table,) in sorted(cursor.fetchall()):
            cursor.execute(f"SHOW CREATE TABLE `{table}`")
            row = cursor.fetchone()
            assert row is not None
            yield re.sub(r" AUTO_INCREMENT=\d+", "", row[1]) + ";"
            cursor.execute(f"SELECT * FROM `{table}`")
            for values in cursor.fetchall():
                yield f"INSERT INTO `{table}` VALUES {connection.escape(tuple(values))};"
    yield "SET FOREIGN_KEY_CHECKS = 1;"


if __name__ == "__main__":
    main()
