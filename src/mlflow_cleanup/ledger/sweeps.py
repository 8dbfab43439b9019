"""What full cycles remember: orphans seen before, pins, plans carried out."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from mlflow_cleanup.ledger.database import SET_FACT, Connection, LedgerDatabase, to_blob, to_text
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.plan import Refusal

_BRAKED, _SIGHTED = "braked", "sighted_at"

Spot = tuple[str, tuple[str, ...]]
"""A root and the names that lead on from it."""


class Sightings:
    """Since when each unclaimed place was seen unclaimed, without a break.

    In ledger time without what passed while the machine was off: nobody could claim anything then.
    """

    def __init__(self, file: LedgerDatabase) -> None:
        self._file = file

    def first_seen(self) -> dict[Spot, float]:
        """Return every place that was unclaimed in the last full cycle, and since when."""
        rows = self._file.connection.execute("SELECT root, inside, first_s FROM sightings")
        return {(to_text(row[0]) or "", _inside(row[1])): row[2] for row in rows}

    def note(
        self, unclaimed: Mapping[str, Collection[tuple[str, ...]]], now: Moment, made_at: datetime
    ) -> None:
        """Take down, for each root that was looked at, what a plan of `made_at` calls unclaimed.

        What is claimed, gone or not judged meanwhile begins anew when it is seen again. A plan that
        is older than the last one noted can only say what was claimed, not what still is not.
        """
        with self._file.transaction() as connection:
            is_newest = self._note_plan(connection, now, made_at)
            for root, places in unclaimed.items():
                self._replace(connection, root, places, now.awake_s if is_newest else None)

    def since_when(self, name: str) -> dict[tuple[str, ...], float]:
        """Return what was noted under a root, or a name that is none, and since when."""
        rows = self._file.connection.execute(
            "SELECT inside, first_s FROM sightings WHERE root = ?", (to_blob(name),)
        )
        return {_inside(row[0]): row[1] for row in rows}

    def note_other(self, name: str, things: Collection[tuple[str, ...]], now: Moment) -> None:
        """Take down the whole of something else that is seen now, under a name that is no root."""
        with self._file.transaction() as connection:
            self._replace(connection, name, things, now.awake_s)

    def _replace(
        self,
        connection: Connection,
        root: str,
        places: Collection[tuple[str, ...]],
        first_s: float | None,
    ) -> None:
        """Let go of what is not among the places, and add what is new (None: add nothing)."""
        known, there = set(self.since_when(root)), set(places)
        connection.executemany(
            "DELETE FROM sightings WHERE root = ? AND inside = ?",
            [(to_blob(root), to_blob("/".join(place))) for place in known - there],
        )
        connection.executemany(
            "INSERT INTO sightings VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [
                (to_blob(root), to_blob("/".join(place)), first_s)
                for place in (there if first_s is not None else ())
            ],
        )

    def forget(self) -> None:
        """Let everything begin anew: for a while nobody could say what is claimed."""
        if self.first_seen():
            with self._file.transaction() as connection:
                connection.execute("DELETE FROM sightings")

    def _note_plan(self, connection: Connection, now: Moment, made_at: datetime) -> bool:
        """Remember the newest plan that was noted, and tell whether this is it."""
        row = connection.execute("SELECT value FROM facts WHERE name = ?", (_SIGHTED,)).fetchone()
        last = made_at if row is None else datetime.fromisoformat(row[0])
        # One from the future was made before the clock was set back; it is not newer for ever.
        newest = min(max(last, made_at), now.at)
        connection.execute(SET_FACT, (_SIGHTED, newest.isoformat()))
        return last <= made_at


def _inside(blob: bytes) -> tuple[str, ...]:
    return tuple((to_text(blob) or "").split("/"))


class Pin(NamedTuple):
    """An operator's word to keep something: an id, or an absolute path."""

    target: str
    at: str
    reason: str | None


class Pins:
    """What operators pinned here, beside the tags in MLflow."""

    def __init__(self, file: LedgerDatabase) -> None:
        self._file = file

    def all(self) -> list[Pin]:
        """List the pins, by target."""
        rows = self._file.connection.execute("SELECT * FROM pins ORDER BY target")
        return [Pin(to_text(row[0]) or "", row[1], to_text(row[2])) for row in rows]

    def add(self, targets: Iterable[str], at: datetime, reason: str | None) -> None:
        """Pin."""
        with self._file.transaction() as connection:
            connection.executemany(
                "INSERT INTO pins VALUES (?, ?, ?) ON CONFLICT (target) "
                "DO UPDATE SET at = excluded.at, reason = excluded.reason",
                [(to_blob(target), at.isoformat(), to_blob(reason)) for target in targets],
            )

    def remove(self, targets: Iterable[str]) -> int:
        """Unpin; returns how many were pinned."""
        with self._file.transaction() as connection:
            return sum(
                connection.execute("DELETE FROM pins WHERE target = ?", (to_blob(target),)).rowcount
                for target in targets
            )


class Plans:
    """Which plans were begun, by their stamps, and which are done: none is carried out twice."""

    def __init__(self, file: LedgerDatabase) -> None:
        self._file = file

    def is_done(self, stamp: str) -> bool:
        """Tell whether a plan was carried out to its end."""
        row = self._file.connection.execute(
            "SELECT is_done FROM plans WHERE stamp = ?", (stamp,)
        ).fetchone()
        return row is not None and bool(row[0])

    def begin(self, stamp: str, at: datetime) -> None:
        """Take down that a plan is being carried out."""
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT INTO plans (stamp, begun_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (stamp, at.isoformat()),
            )

    def end(self, stamp: str) -> None:
        """Take down that it was carried out to its end."""
        with self._file.transaction() as connection:
            connection.execute("UPDATE plans SET is_done = 1 WHERE stamp = ?", (stamp,))


class Braked(NamedTuple):
    """A full cycle that was refused for what it would take, and whether it may go ahead."""

    plan_id: str
    reason: str
    at: str
    is_confirmed: bool


class Brakes:
    """The last full cycle that was refused; only its own plan's id lets it go ahead."""

    def __init__(self, file: LedgerDatabase) -> None:
        self._file = file

    def current(self) -> Braked | None:
        """Return the refused full cycle that waits, or may go ahead by now."""
        row = self._file.connection.execute(
            "SELECT value FROM facts WHERE name = ?", (_BRAKED,)
        ).fetchone()
        return None if row is None else Braked(*json.loads(row[0]))

    def refuse(self, refusal: Refusal, at: datetime) -> bool:
        """Take down that this plan waits for a confirmation; False when it did already."""
        current = self.current()
        if current is not None and current.plan_id == refusal.plan_id:
            return False
        self._set(Braked(refusal.plan_id, refusal.reason, at.isoformat(), is_confirmed=False))
        return True

    def confirm(self, plan_id: str) -> bool:
        """Let the plan that waits go ahead; False when it is another one, or none."""
        current = self.current()
        if current is None or current.plan_id != plan_id:
            return False
        self._set(current._replace(is_confirmed=True))
        return True

    def is_confirmed(self, plan_id: str) -> bool:
        """Tell whether an operator let exactly this go ahead."""
        current = self.current()
        return current is not None and current.plan_id == plan_id and current.is_confirmed

    def settle(self) -> None:
        """Let go of it: a full cycle went ahead, confirmed or as nothing stood in its way."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM facts WHERE name = ?", (_BRAKED,))

    def _set(self, braked: Braked) -> None:
        with self._file.transaction() as connection:
            connection.execute(SET_FACT, (_BRAKED, json.dumps(braked)))
