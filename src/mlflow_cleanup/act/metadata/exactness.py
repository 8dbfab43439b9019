"""Comparing texts as they are, also where a database would take 'Deleted ' for 'deleted'."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType


class exactly(FunctionElement[Any]):  # noqa: N801 - reads as a function of SQL does
    """A text column, to be compared byte by byte.

    MySQL and MariaDB compare texts without regard to case, accents and blanks at the end, unless a
    column was made otherwise. No index helps with such a comparison there.
    """

    type = NullType()
    inherit_cache = True


@compiles(exactly)
def _plain(element: exactly, compiler: SQLCompiler, **more: object) -> str:
    return str(compiler.process(element.clauses, **more))


@compiles(exactly, "mysql", "mariadb")
def _binary(element: exactly, compiler: SQLCompiler, **more: object) -> str:
    return f"CAST({compiler.process(element.clauses, **more)} AS BINARY)"
