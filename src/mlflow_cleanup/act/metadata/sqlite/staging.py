"""The targets of one job, in temporary tables, so that their number does not matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    MetaData,
    String,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
)

from mlflow_cleanup.act.metadata.kinds import LARGEST, Kind
from mlflow_cleanup.act.metadata.targets import NO_ID, Outcome, Result, Target, Waiting


class Staged:
    """The targets of one kind, in the order in which they came."""

    def __init__(self, kind: Kind, rows: FromClause, connection: Connection) -> None:
        self.kind, self._rows, self._connection = kind, rows, connection
        self.table = Table(
            f"mlflow_cleanup_{kind.kind.name.lower()}",
            MetaData(),
            Column("number", Integer, primary_key=True),
            # The type is that of the key it is compared with, or no index would be of use.
            Column("id", Integer if kind.has_numbers else String(255), nullable=False, index=True),
            Column("at", BigInteger),
            prefixes=["TEMPORARY"],
        )
        self.table.create(connection)

    def add(self, targets: Iterable[Target]) -> list[Outcome]:
        """Take down targets; those with ids that nothing can have are kept."""
        keys = [(target, self._key_of(target)) for target in targets]
        rows = [{"id": key, "at": target.at_ms} for target, key in keys if key is not None]
        if rows:
            self._connection.execute(insert(self.table), rows)
        return [Outcome(target, Result.KEPT, NO_ID) for target, key in keys if key is None]

    def _key_of(self, target: Target) -> str | int | None:
        if target.at_ms is not None and abs(target.at_ms) > LARGEST:
            return None
        return self.kind.key_of(target.id)

    def close(self) -> None:
        """All are there: what was named twice counts once, as it was named first."""
        first = select(func.min(self.table.c.number)).group_by(self.table.c.id)
        self._connection.execute(delete(self.table).where(self.table.c.number.not_in(first)))

    def after(self, number: int, limit: int) -> Sequence[Waiting]:
        """Return the next targets after a number."""
        mine = self.table.c
        query = select(mine.number, mine.id, mine.at).where(mine.number > number)
        found = self._connection.execute(query.order_by(mine.number).limit(limit))
        return [
            Waiting(number, key, Target(self.kind.kind, str(key), at_ms))
            for number, key, at_ms in found
        ]

    def states(self, some: Sequence[Waiting]) -> dict[int, bool | None]:
        """Tell of some targets whether their rows are as it was decided; None: there is no row."""
        mine, key = self.table, self._rows.c[self.kind.key]
        query = (
            select(mine.c.number, key.is_not(None), self.as_decided(self._rows, mine.c.at))
            .select_from(mine.outerjoin(self._rows, key == mine.c.id))
            .where(self.among(some))
        )
        return {
            number: bool(is_same) if is_there else None
            for number, is_there, is_same in self._connection.execute(query)
        }

    def as_decided(self, rows: FromClause, at: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return the condition that a row may go, and is no other than it was decided on."""
        may_go = self.kind.may_go(rows)
        if self.kind.at is None or self.kind.at not in rows.c:
            return may_go
        return and_(may_go, rows.c[self.kind.at].is_not_distinct_from(at))

    def among(self, some: Sequence[Waiting]) -> ColumnElement[bool]:
        """Return the condition that a target is one of some that follow one another."""
        return self.table.c.number.between(some[0].number, some[-1].number)

    def forget(self, some: Iterable[Waiting]) -> None:
        """Drop targets that have no row: what hangs on such an id is none of our business."""
        numbers = [{"gone": item.number} for item in some]
        if numbers:
            gone = self.table.c.number == bindparam("gone")
            self._connection.execute(delete(self.table).where(gone), numbers)
