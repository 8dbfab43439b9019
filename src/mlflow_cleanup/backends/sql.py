"""What each kind of database writes in its own way, as expressions for the queries of `observe`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, ColumnElement, Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.visitors import InternalTraversal

STREAMED = {"stream_results": True, "max_row_buffer": 1000}
"""For a query with as many rows as there are runs: they are fetched as they are taken."""


class exact(ColumnElement[Any]):  # noqa: N801 - reads as a function, like SQLAlchemy's own
    """A text that is compared byte by byte.

    MySQL's usual collations take "Deleted " for "deleted", and two paths that differ in case for
    one. No index helps to find it then: not for looking up ids.
    """

    inherit_cache = True
    _traverse_internals = [("text", InternalTraversal.dp_clauseelement)]  # noqa: RUF012 - its way

    def __init__(self, text: ColumnElement[Any]) -> None:
        self.text = text
        self.type = text.type


class is_run_id(ColumnElement[bool]):  # noqa: N801 - likewise
    """Whether a text is a run's id as MLflow makes them: 32 hexadecimal digits, small letters."""

    inherit_cache = True
    type = Boolean()
    _traverse_internals = [("text", InternalTraversal.dp_clauseelement)]  # noqa: RUF012 - its way

    def __init__(self, text: ColumnElement[Any]) -> None:
        self.text = text


def page_key(key: str, connection: Connection) -> str:
    """Name the column in whose order a whole table is read page by page.

    On SQLite that of the rows themselves: in the order of text keys each would be looked up.
    """
    return "rowid" if connection.dialect.name == "sqlite" else key


@compiles(exact)
def _exact(element: exact, compiler: SQLCompiler, **how: Any) -> str:  # noqa: ANN401
    return compiler.process(element.text, **how)


@compiles(exact, "mysql")
@compiles(exact, "mariadb")
def _exact_on_mysql(element: exact, compiler: SQLCompiler, **how: Any) -> str:  # noqa: ANN401
    return f"CAST({_written(element.text, compiler, how)} AS BINARY)"


@compiles(is_run_id, "sqlite")
def _run_id_on_sqlite(element: is_run_id, compiler: SQLCompiler, **how: Any) -> str:  # noqa: ANN401
    text = _written(element.text, compiler, how)
    return f"(length({text}) = 32 AND {text} NOT GLOB '*[^0-9a-f]*')"


@compiles(is_run_id, "postgresql")
def _run_id_on_postgresql(
    element: is_run_id,
    compiler: SQLCompiler,
    **how: Any,  # noqa: ANN401
) -> str:
    return f"({_written(element.text, compiler, how)} ~ '^[0-9a-f]{{32}}$')"


@compiles(is_run_id, "mysql")
@compiles(is_run_id, "mariadb")
def _run_id_on_mysql(element: is_run_id, compiler: SQLCompiler, **how: Any) -> str:  # noqa: ANN401
    # Regular expressions follow the collation, and are spelled differently in MySQL and MariaDB.
    text = _written(element.text, compiler, how)
    return f"(length({text}) = 32 AND CAST(lower(hex(unhex({text}))) AS BINARY) = {text})"


def _written(part: ClauseElement, compiler: SQLCompiler, how: dict[str, Any]) -> str:
    return str(compiler.process(part, **how))
