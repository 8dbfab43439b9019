"""What happened, and what was refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from mlflow_cleanup.ledger.database import LedgerDatabase, Row, to_blob, to_text
from mlflow_cleanup.model.entity import Entity, EntityKind
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.plan import Refusal


class History:
    """Every event, in order."""

    def __init__(self, file: LedgerDatabase) -> None:
        self._file = file

    def add(self, events: Iterable[Event]) -> None:
        """Append events."""
        with self._file.transaction() as connection:
            connection.executemany(
                "INSERT INTO history "
                "(at, event, kind, entity_id, name, item_id, detail, files, bytes) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_event_row(event) for event in events],
            )

    def latest(self, limit: int, run_ids: Sequence[str] = ()) -> list[Event]:
        """Return the latest events, oldest of them first; of the given runs only, where given."""
        where = f"WHERE entity_id IN ({', '.join('?' * len(run_ids))})" if run_ids else ""
        rows = self._file.connection.execute(
            f"SELECT * FROM history {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
            [*run_ids, limit],
        )
        return [_event(row) for row in rows][::-1]


@dataclass(frozen=True, slots=True)
class OpenRefusal:
    """A refused plan that is still waiting for an answer, or has one that is not used yet."""

    refusal: Refusal
    at: str
    answer: str | None


class Refusals:
    """Refused plans and what the operator said of them: "confirmed" or "forget"."""

    def __init__(self, file: LedgerDatabase) -> None:
        self._file = file

    def answer_to(self, refusal: Refusal, at: datetime) -> tuple[str | None, bool]:
        """Return the operator's answer to this refusal, and whether this is its first time."""
        with self._file.transaction() as connection:
            row = connection.execute(
                "SELECT answer, is_current FROM refusals WHERE plan_id = ?", (refusal.plan_id,)
            ).fetchone()
            if row is not None and row["is_current"]:
                return row["answer"], False
            connection.execute(
                # One that lasts gives way only to what is said anew of the same.
                "UPDATE refusals SET is_current = 0 WHERE answer IS NULL AND is_lasting <= ?",
                (int(refusal.is_lasting),),
            )
            connection.execute(
                "INSERT INTO refusals (plan_id, at, reason, is_lasting) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (plan_id) DO UPDATE SET at = excluded.at, reason = excluded.reason, "
                "answer = NULL, is_current = 1",
                (
                    refusal.plan_id,
                    at.isoformat(),
                    to_blob(refusal.reason),
                    int(refusal.is_lasting),
                ),
            )
        return None, True

    def confirmed(self) -> frozenset[str]:
        """Return the ids of the plans that the operator let go ahead, while they stand."""
        rows = self._file.connection.execute(
            "SELECT plan_id FROM refusals "
            "WHERE is_current = 1 AND answer IN ('confirmed', 'accepted')"
        )
        return frozenset(row["plan_id"] for row in rows)

    def accept(self) -> list[Refusal]:
        """Take down that confirmed plans go ahead; returns those of which it is news."""
        with self._file.transaction() as connection:
            rows = connection.execute(
                "SELECT * FROM refusals WHERE is_current = 1 AND answer = 'confirmed'"
            ).fetchall()
            connection.execute(
                "UPDATE refusals SET answer = 'accepted' "
                "WHERE is_current = 1 AND answer = 'confirmed'"
            )
        return [_refusal(row) for row in rows]

    def lasting(self) -> list[Refusal]:
        """Return the refusals that stand until answered, though their signs may be gone."""
        rows = self._file.connection.execute(
            "SELECT * FROM refusals WHERE is_current = 1 AND is_lasting = 1 "
            "AND coalesce(answer, '') <> 'accepted'"
        )
        return [_refusal(row) for row in rows]

    def keep_only(self, plan_ids: AbstractSet[str], problems: Sequence[str] = ()) -> None:
        """Let go of refusals whose situation is over, and of the answers to them.

        While there are `problems`, which are refused without a choice, nothing is let go of.
        """
        rows = self._file.connection.execute(
            "SELECT plan_id FROM refusals WHERE is_current = 1 "
            "AND NOT (is_lasting = 1 AND coalesce(answer, '') <> 'accepted')"
        )
        over = [] if problems else [row[0] for row in rows if row[0] not in plan_ids]
        if over:
            with self._file.transaction() as connection:
                connection.executemany(
                    "UPDATE refusals SET is_current = 0 WHERE plan_id = ?", [(id_,) for id_ in over]
                )

    def settle(self) -> None:
        """Take down that nothing is refused any more; answers given are used up."""
        if self._file.connection.execute("SELECT 1 FROM refusals WHERE is_current = 1").fetchone():
            with self._file.transaction() as connection:
                connection.execute("UPDATE refusals SET is_current = 0")

    def current(self) -> OpenRefusal | None:
        """Return the refusal that stands now and waits for an answer."""
        row = self._file.connection.execute(
            "SELECT * FROM refusals WHERE is_current = 1 AND coalesce(answer, '') <> 'accepted' "
            "ORDER BY answer IS NULL DESC"
        ).fetchone()
        if row is None:
            return None
        return OpenRefusal(_refusal(row), row["at"], row["answer"])

    def answer(self, plan_id: str, answer: str) -> bool:
        """Take down the operator's answer; False when no such refusal stands."""
        with self._file.transaction() as connection:
            changed = connection.execute(
                "UPDATE refusals SET answer = ? WHERE plan_id = ? AND is_current = 1",
                (answer, plan_id),
            )
            return changed.rowcount > 0


def _refusal(row: Row) -> Refusal:
    return Refusal(row["plan_id"], to_text(row["reason"]) or "", bool(row["is_lasting"]))


def _event_row(event: Event) -> tuple[object, ...]:
    entity, size = event.entity, event.size
    return (
        event.at.isoformat(),
        event.kind.value,
        entity.kind.value if entity else None,
        entity.id if entity else None,
        to_blob(event.name),
        event.item_id,
        to_blob(event.detail),
        size.files if size else None,
        size.bytes if size else None,
    )


def _event(row: Row) -> Event:
    return Event(
        kind=EventKind(row["event"]),
        at=datetime.fromisoformat(row["at"]),
        entity=Entity(EntityKind(row["kind"]), row["entity_id"]) if row["kind"] else None,
        name=to_text(row["name"]),
        item_id=row["item_id"],
        detail=to_text(row["detail"]) or "",
        size=None if row["files"] is None else Size(row["files"], row["bytes"]),
    )
