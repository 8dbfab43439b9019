"""The items: what was taken out of use, and where it stands in its life."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from mlflow_cleanup.ledger.database import LedgerDatabase, Row, to_blob, to_text
from mlflow_cleanup.model.batches import batches
from mlflow_cleanup.model.entity import Entity, EntityKind
from mlflow_cleanup.model.item import Held, Item, ItemState, Size
from mlflow_cleanup.model.location import Location

OPEN = (ItemState.QUARANTINING, ItemState.PURGING, ItemState.RESTORING)
"""States that are intents: after a crash, the next start finishes or reverts them."""

HELD = (ItemState.QUARANTINED, ItemState.PURGING, ItemState.CONFLICT)
"""States in which the trash holds bytes, or may."""

_COLUMNS = (
    "id, kind, entity_id, root, inside, state, reason, held, name, experiment_id, quarantined_at, "
    "quarantined_s, settled_s, files, bytes, attempts, retry_s, error, by_hand, deleted_at"
)

_FREED = (
    "CAST(coalesce(sum(freed_files), 0) AS BIGINT), CAST(coalesce(sum(freed_bytes), 0) AS BIGINT)"
)


class Items:
    """The table of items."""

    def __init__(self, file: LedgerDatabase) -> None:
        self._file = file

    def put(self, items: Iterable[Item], aged_s: float) -> None:
        """Enter items or their new states, all or none; on the disk when this returns."""
        with self._file.transaction() as connection:
            connection.executemany(
                f"INSERT INTO items ({_COLUMNS}) VALUES ({', '.join('?' * 20)}) "  # noqa: S608
                "ON CONFLICT (id) DO UPDATE SET state = excluded.state, held = excluded.held, "
                "quarantined_at = excluded.quarantined_at, quarantined_s = excluded.quarantined_s, "
                "settled_s = excluded.settled_s, files = excluded.files, bytes = excluded.bytes, "
                "attempts = excluded.attempts, retry_s = excluded.retry_s, error = excluded.error, "
                "by_hand = excluded.by_hand, deleted_at = excluded.deleted_at",
                [_row(item, aged_s) for item in items],
            )

    def add_freed(self, item_id: str, freed: Size) -> None:
        """Add what an attempt really freed to the item's account, without waiting for the disk."""
        with self._file.unsynced() as connection:
            connection.execute(
                "UPDATE items SET freed_files = freed_files + ?, freed_bytes = freed_bytes + ? "
                "WHERE id = ?",
                (freed.files, freed.bytes, item_id),
            )

    def in_state(self, *states: ItemState) -> list[Item]:
        """List the items in any of the given states, in the order in which they were taken."""
        marks = ", ".join("?" * len(states))
        return self._select(f"state IN ({marks}) ORDER BY rowid", [state.value for state in states])

    def named(self, ids: Iterable[str], *states: ItemState) -> list[Item]:
        """List the items with the given ids, or of entities with them, newest first."""
        wanted = set(ids)
        found = [item for item in self.in_state(*states) if {item.id, item.entity.id} & wanted]
        return found[::-1]

    def of(self, entity_ids: Iterable[str], *states: ItemState) -> list[Item]:
        """List the items of the given entities in any of the given states, the oldest first."""
        marks, found = ", ".join("?" * len(states)), list[Item]()
        for some in batches(entity_ids):
            found += self._select(
                f"entity_id IN ({', '.join('?' * len(some))}) AND state IN ({marks}) "
                "ORDER BY rowid",
                [*some, *(state.value for state in states)],
            )
        return found

    def held_in_place(self) -> list[Item]:
        """List the items whose bytes wait where they always were, in the order of their taking."""
        marks = ", ".join("?" * len(HELD))
        return self._select(
            f"held = ? AND state IN ({marks}) ORDER BY rowid",
            [Held.IN_PLACE.value, *(state.value for state in HELD)],
        )

    def has_any_under(self, root: str) -> bool:
        """Tell whether anything was ever taken under an artifact root."""
        row = self._file.connection.execute(
            "SELECT 1 FROM items WHERE root = ? LIMIT 1", (to_blob(root),)
        ).fetchone()
        return row is not None

    def among(self, ids: Iterable[str]) -> frozenset[str]:
        """Return those of the ids that are items', whatever became of them."""
        found: set[str] = set()
        for some in batches(ids):
            marks = ", ".join("?" * len(some))
            rows = self._file.connection.execute(
                f"SELECT id FROM items WHERE id IN ({marks})",  # noqa: S608 - marks only
                some,
            )
            found.update(row[0] for row in rows)
        return frozenset(found)

    def restored_by_hand(self) -> list[Item]:
        """List what an operator gave back, in whole or as far as nothing collided."""
        return self._select("by_hand = 1 AND state IN ('restored', 'conflict') ORDER BY rowid", [])

    def settled_since(self, aged_s: float) -> list[Item]:
        """List the items that were purged, or are held, since ledger time `aged_s`."""
        return self._select(
            "state = 'quarantined' OR (state IN ('purged', 'abandoned') AND settled_s >= ?)",
            [aged_s],
        )

    def roots_held(self) -> set[str]:
        """Name the artifact roots that hold items, or may after a crash."""
        marks = ", ".join("?" * len({*HELD, *OPEN}))
        rows = self._file.connection.execute(
            f"SELECT DISTINCT root FROM items WHERE state IN ({marks})",  # noqa: S608
            [state.value for state in {*HELD, *OPEN}],
        )
        return {to_text(row[0]) or "" for row in rows}

    def paths(self, *states: ItemState) -> dict[str, str]:
        """Map where items in any of the given states come from to their ids."""
        marks = ", ".join("?" * len(states))
        rows = self._file.connection.execute(
            f"SELECT root, inside, id FROM items WHERE state IN ({marks})",  # noqa: S608
            [state.value for state in states],
        )
        return {f"{to_text(row[0]) or ''}/{to_text(row[1]) or ''}": row[2] for row in rows}

    def move_root(self, was: str, is_now: str) -> None:
        """Let every item of an artifact root follow it to its new place."""
        with self._file.transaction() as connection:
            connection.execute(
                "UPDATE items SET root = ? WHERE root = ?", (to_blob(is_now), to_blob(was))
            )

    def count(self) -> dict[ItemState, tuple[int, Size]]:
        """Return for each state how many items there are and their measured size."""
        rows = self._file.connection.execute(
            "SELECT state, count(*), CAST(coalesce(sum(files), 0) AS BIGINT), "
            "CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM items GROUP BY state"
        )
        return {ItemState(row[0]): (row[1], Size(row[2], row[3])) for row in rows}

    def freed(self) -> Size:
        """Return what purging has really freed, ever."""
        return self._freed("", [])

    def freed_of(self, item_id: str) -> Size:
        """Return what purging has really freed of one item."""
        return self._freed("WHERE id = ?", [item_id])

    def _freed(self, where: str, values: list[object]) -> Size:
        row = self._file.connection.execute(
            f"SELECT {_FREED} FROM items {where}",  # noqa: S608 - constants only
            values,
        ).fetchone()
        return Size(row[0], row[1])

    def _select(self, where: str, values: list[object]) -> list[Item]:
        query = f"SELECT {_COLUMNS} FROM items WHERE {where}"  # noqa: S608 - constants only
        return [_item(row) for row in self._file.connection.execute(query, values)]


def _row(item: Item, aged_s: float) -> tuple[object, ...]:
    size = item.size
    return (
        item.id,
        item.entity.kind.value,
        item.entity.id,
        to_blob(item.location.root),
        to_blob("/".join(item.location.inside)),
        item.state.value,
        item.reason,
        item.held.value,
        to_blob(item.name),
        item.experiment_id,
        item.quarantined_at.isoformat() if item.quarantined_at else None,
        item.quarantined_s,
        aged_s,
        size.files if size else None,
        size.bytes if size else None,
        item.attempts,
        item.retry_s,
        to_blob(item.error),
        int(item.by_hand),
        item.deleted_at.isoformat() if item.deleted_at else None,
    )


def _item(row: Row) -> Item:
    files = row["files"]
    return Item(
        id=row["id"],
        entity=Entity(EntityKind(row["kind"]), row["entity_id"]),
        location=Location(
            to_text(row["root"]) or "", tuple((to_text(row["inside"]) or "").split("/"))
        ),
        state=ItemState(row["state"]),
        reason=row["reason"],
        held=Held(row["held"]),
        name=to_text(row["name"]),
        experiment_id=row["experiment_id"],
        deleted_at=_date(row["deleted_at"]),
        quarantined_at=_date(row["quarantined_at"]),
        quarantined_s=row["quarantined_s"],
        size=None if files is None else Size(files, row["bytes"]),
        attempts=row["attempts"],
        retry_s=row["retry_s"],
        error=to_text(row["error"]),
        by_hand=bool(row["by_hand"]),
    )


def _date(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
