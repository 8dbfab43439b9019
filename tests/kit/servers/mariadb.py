"""A MariaDB server of its own, from the distribution's packages."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymysql
from pymysql.constants import CLIENT

from tests.kit.servers import absent, free_port, wait_until
from tests.kit.servers.schemas import script
from tests.kit.tracking_db import NEWEST

USER, PASSWORD = "mlflow", "s3cr:t/@%word"
"""A password with all that a URL has to encode; no text may ever show it."""

_SETTINGS = (
    "--no-defaults",
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-doublewrite=0",
    "--innodb-buffer-pool-size=32M",
    "--skip-log-bin",
)


def program(name: str) -> str:
    """Return the path of a program; skips the test where it is not installed."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        absent("MariaDB", "apt-get install mariadb-server-core mariadb-client-core")
    return found


@dataclass
class MariaDB:
    """One server in a temporary directory."""

    home: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[MariaDB]:
        """Make a server, start it, and remove everything in the end."""
        home = Path(tempfile.mkdtemp(prefix="my-"))
        made = cls(home)
        try:
            made._make()
            made.start()
            made._let_in()
            yield made
        finally:
            made.stop()
            shutil.rmtree(home, ignore_errors=True)

    @property
    def data(self) -> str:
        """The directory of the server."""
        return str(self.home / "data")

    def url(self, database: str = "mysql", *, user: str = USER, password: str = PASSWORD) -> str:
        """Return the URI of a database, as MLflow takes it."""
        secret = quote(password, safe="")
        return f"mysql+pymysql://{user}:{secret}@127.0.0.1:{self.port}/{database}"

    def start(self, *more: str) -> None:
        """Start the server, and wait until it answers; `more` are further settings."""
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program("mariadbd"),
                    *_SETTINGS,
                    f"--datadir={self.data}",
                    f"--tmpdir={self.home}",
                    f"--port={self.port}",
                    f"--socket={self._socket}",
                    f"--pid-file={self.home / 'pid'}",
                    *_as_user(),
                    *more,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        process = self._process
        wait_until(self._answers, lambda: process.poll() is None, "MariaDB")

    def stop(self, *, kills: bool = False) -> None:
        """Stop the server, breaking every connection; `kills`: as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if kills else signal.SIGTERM)
            self._process.wait(60)
            self._process = None

    def connection(self, database: str | None = None) -> pymysql.Connection[Any]:
        """Connect as the one who may do everything; each statement commits by itself."""
        return pymysql.connect(
            unix_socket=self._socket,
            user="root",
            database=database,
            autocommit=True,
            connect_timeout=10,
            charset="utf8mb4",
            client_flag=CLIENT.MULTI_STATEMENTS,
        )

    def execute(self, statement: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Execute statements in a connection of their own, and return the rows of the first one."""
        with closing(self.connection(database)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            found = list(cursor.fetchall())
            while cursor.nextset():
                pass
            return found

    def new_database(self, version: str | None = NEWEST) -> str:
        """Make a database with the tables of an MLflow release, or empty, and return its name."""
        name = f"tracking_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        if version is not None:
            self.execute(script("mysql", version), name)
        return name

    @property
    def _environment(self) -> dict[str, str]:
        """A server that starts removes the temporary tables of any other in the same directory."""
        return {**os.environ, "TMPDIR": str(self.home)}

    @property
    def _socket(self) -> str:
        return str(self.home / "socket")

    def _answers(self) -> bool:
        # The driver leaves a socket open that could not be connected.
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self._socket)
            except OSError:
                return False
        try:
            self.connection().close()
        except pymysql.err.OperationalError:
            return False  # it listens, and is not ready yet
        return True

    def _make(self) -> None:
        done = subprocess.run(
            [
                program("mariadb-install-db"),
                "--no-defaults",
                f"--datadir={self.data}",
                f"--tmpdir={self.home}",  # two that start at once would share names in /tmp
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                *_as_user(),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=self._environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _let_in(self) -> None:
        self.execute(
            f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO '{USER}'@'%'"
        )


def _as_user() -> list[str]:
    """Say that running as root is meant, where it is."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return ["--user=root"] if is_root else []
