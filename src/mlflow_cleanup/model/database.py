"""Which tracking database is meant, and what may be said of it."""

from __future__ import annotations

from dataclasses import dataclass, field

SQLITE, POSTGRESQL, MYSQL = "sqlite", "postgresql", "mysql"
"""The kinds of database that can be read; MariaDB is one of MySQL's kind."""


@dataclass(frozen=True, slots=True)
class Database:
    """One tracking database.

    `name` is what is shown and written down: the absolute real path of an SQLite file, or a URL
    without user, password and query. `url` has everything that connecting needs, the password too,
    so it goes nowhere else and does not count when two are compared. `path` is that of SQLite's
    file, None for a database on a server.
    """

    name: str
    kind: str
    url: str = field(repr=False, compare=False)
    path: str | None = None

    @classmethod
    def of_file(cls, path: str) -> Database:
        """Name an SQLite database by its path, which is taken as it is."""
        return cls(path, SQLITE, f"sqlite:///{path}", path)

    @property
    def is_on_server(self) -> bool:
        """Tell whether it is reached over a connection, so that files tell nothing of it."""
        return self.path is None

    def __str__(self) -> str:
        return self.name
