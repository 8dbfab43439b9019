"""Ledgers as earlier versions left them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from mlflow_cleanup.ledger.sqlite import FILE

FORMATS = Path(__file__).parent / "ledgers"


def as_format_1(state_dir: Path) -> None:
    """Write a closed ledger anew as the first format had it: fewer columns, and fewer tables."""
    path, old = state_dir / FILE, state_dir / "old.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript((FORMATS / "format_1.sql").read_text(encoding="utf-8"))
        connection.execute("ATTACH ? AS newer", (str(path),))
        with connection:
            for name in tables(connection):
                newer = columns(connection, name, "newer")
                shared = ", ".join(one for one in columns(connection, name) if one in newer)
                if name == "requests":  # called otherwise then
                    connection.execute("INSERT INTO requests SELECT 1, 'restore', '[]', NULL")
                    continue
                connection.execute(
                    f"INSERT INTO {name} ({shared}) SELECT {shared} FROM newer.{name}"
                )
            connection.execute("UPDATE facts SET value = '1' WHERE name = 'format'")
            connection.execute("DELETE FROM facts WHERE name = 'id'")
            # Text then was stored as text.
            connection.execute("UPDATE refusals SET reason = CAST(reason AS TEXT)")
            connection.execute("UPDATE roots SET problem = CAST(problem AS TEXT)")
        connection.execute("DETACH newer")
        connection.execute("PRAGMA journal_mode = WAL")
    old.replace(path)


def tables(connection: sqlite3.Connection) -> list[str]:
    """Name the tables of the main database."""
    rows = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")
    return sorted(row[0] for row in rows)


def columns(connection: sqlite3.Connection, name: str, database: str = "main") -> list[str]:
    """Name the columns of a table."""
    return [row[1] for row in connection.execute(f"PRAGMA {database}.table_info({name})")]


def content(path: Path) -> dict[str, list[dict[str, object]]]:
    """Read every row of every table, by the names of its columns."""
    with closing(sqlite3.connect(path)) as connection:
        found = {}
        for name in tables(connection):
            names = columns(connection, name)
            rows = connection.execute(f"SELECT {', '.join(names)} FROM {name}")
            found[name] = sorted((dict(zip(names, row, strict=True)) for row in rows), key=repr)
        return found
