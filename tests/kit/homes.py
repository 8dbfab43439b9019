"""The homes that a ledger may have, so that one test can be made for each of them."""

from __future__ import annotations

import itertools
import os

import pytest

from mlflow_cleanup.config import ledger_server_of
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.ledger.sqlite import LedgerFile
from mlflow_cleanup.model.ledger_home import LedgerServer
from tests.kit.servers.postgresql import PostgreSQL

FILE, POSTGRESQL = "file", "postgresql"

USUAL = os.environ.get("MLFLOW_CLEANUP_TEST_LEDGER", FILE)
"""Where the ledger of a test lives that does not say it; for trying all of them on a server."""

in_both_homes = pytest.mark.parametrize("ledger_server", [FILE, POSTGRESQL], indirect=True)
"""Makes a test, or all of a module's, once with a file and once with a schema on a server."""

_numbers = itertools.count()


def new_schema(server: PostgreSQL, options: str = "") -> LedgerServer:
    """Name a schema that nobody has used; opening the ledger makes it.

    `options` are added to the URI, as `&name=value`.
    """
    return ledger_server_of(f"{server.url()}?schema=ledger_{next(_numbers)}{options}")


def asked_server(request: pytest.FixtureRequest) -> LedgerServer | None:
    """Return the server of a test that wants one, None where it wants a file."""
    if getattr(request, "param", USUAL) == FILE:
        return None
    return new_schema(request.getfixturevalue("postgresql"))


def make_unwritable(ledger: Ledger, *, is_so: bool = True) -> None:
    """Let a ledger be read only, in whichever home it is, or let it be written again."""
    on_server = f"SET default_transaction_read_only = {'on' if is_so else 'off'}"
    in_file = f"PRAGMA query_only = {'ON' if is_so else 'OFF'}"
    is_file = isinstance(ledger._file, LedgerFile)
    ledger._file.connection.execute(in_file if is_file else on_server)
