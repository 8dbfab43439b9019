"""The letter box between verbs and the process that holds the lease."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlflow_cleanup.errors import LedgerUnwritable
from mlflow_cleanup.ledger.database import LedgerDatabase


@dataclass(frozen=True, slots=True)
class Request:
    """Something a verb asks the holder of the lease to do; what `words` are is up to the verb."""

    id: int
    verb: str
    words: tuple[str, ...]


def _request(number: int, verb: bytes, words: bytes) -> Request | None:
    """Read one row, None where it is no request."""
    try:
        told = json.loads(words)
        if isinstance(told, list) and all(isinstance(word, str) for word in told):
            return Request(number, verb.decode(), tuple(told))
    except (ValueError, RecursionError):
        return None
    return None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a request that takes long has come."""

    done: int
    bytes: int


class Requests:
    """The table of requests: posted and withdrawn by verbs, reported and settled by the holder."""

    def __init__(self, file: LedgerDatabase) -> None:
        self._file = file
        self._untold: dict[int, dict[str, Any]] = {}
        # As bytes: what is no text must not stand in the way of what is.
        self._fields = ", ".join(["id", *(file.as_bytes.format(one) for one in ("verb", "words"))])

    def post(self, verb: str, words: Sequence[str]) -> int:
        """Leave a request; returns its number."""
        with self._file.transaction() as connection:
            row = connection.execute(
                "INSERT INTO requests (verb, words) VALUES (?, ?)", (verb, json.dumps(list(words)))
            )
            return int(row.lastrowid or 0)

    def waiting(self) -> list[Request]:
        """Return the requests that were not carried out, oldest first."""
        rows = self._file.connection.execute(
            f"SELECT {self._fields} FROM requests WHERE outcome IS NULL ORDER BY id"  # noqa: S608
        )
        read = [_request(*row) for row in rows if row["id"] not in self._untold]
        return [request for request in read if request is not None]

    def throw_away_unreadable(self) -> int:
        """Throw away what waits and is no request, whoever wrote it; returns how many."""
        rows = self._file.connection.execute(
            f"SELECT {self._fields} FROM requests WHERE outcome IS NULL"  # noqa: S608 - names of ours
        )
        unreadable = [row["id"] for row in rows if _request(*row) is None]
        for number in unreadable:
            self.forget(number)
        return len(unreadable)

    @property
    def untold(self) -> dict[int, dict[str, Any]]:
        """The outcomes that were not written yet, by the numbers of their requests."""
        return dict(self._untold)

    def keep(self, request_id: int, outcome: dict[str, Any]) -> None:
        """Remember an outcome until it is settled, so that nothing is carried out twice."""
        self._untold[request_id] = outcome

    def settle(self, request_id: int, outcome: dict[str, Any]) -> None:
        """Leave the outcome for the verb that waits for it."""
        with self._file.transaction() as connection:
            connection.execute(
                "UPDATE requests SET outcome = ? WHERE id = ?", (json.dumps(outcome), request_id)
            )
        self._untold.pop(request_id, None)

    def is_writable(self, request_id: int) -> bool:
        """Tell whether an outcome could be written now, which takes a write."""
        try:
            with self._file.transaction() as connection:
                connection.execute("UPDATE requests SET verb = verb WHERE id = ?", (request_id,))
        except LedgerUnwritable:
            return False
        return True

    def outcome(self, request_id: int) -> dict[str, Any] | None:
        """Return a request's outcome, None while there is none."""
        told = self._value("outcome", request_id)
        return None if told is None else json.loads(told)

    def forget(self, request_id: int) -> None:
        """Let go of a request whose outcome was read."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM requests WHERE id = ?", (request_id,))

    def begin(self, request_id: int) -> bool:
        """Take down that it is being carried out; False when it was withdrawn."""
        return self._report(request_id, Progress(0, 0))

    def report(self, request_id: int, progress: Progress) -> None:
        """Say how far a request has come."""
        self._report(request_id, progress)

    def _report(self, request_id: int, progress: Progress) -> bool:
        with self._file.transaction() as connection:
            changed = connection.execute(
                "UPDATE requests SET progress = ? WHERE id = ?",
                (json.dumps([progress.done, progress.bytes]), request_id),
            )
            return changed.rowcount > 0

    def progress(self, request_id: int) -> Progress | None:
        """Return how far a request has come, None while it was not begun."""
        told = self._value("progress", request_id)
        return None if told is None else Progress(*json.loads(told))

    def withdraw(self, request_id: int) -> bool:
        """Take a request back; False when it was begun or carried out meanwhile."""
        with self._file.transaction() as connection:
            gone = connection.execute(
                "DELETE FROM requests WHERE id = ? AND outcome IS NULL AND progress IS NULL",
                (request_id,),
            )
            return gone.rowcount > 0

    def is_there(self, request_id: int) -> bool:
        """Tell whether it is in the box still, carried out or not."""
        return self._value("id", request_id) is not None

    def clear(self) -> None:
        """Throw everything away: when a holder begins, nobody can have asked it anything yet."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM requests")

    def ask_to_stop(self, request_id: int) -> None:
        """Ask the holder to finish the step in hand and leave the rest."""
        with self._file.transaction() as connection:
            connection.execute("UPDATE requests SET is_to_stop = 1 WHERE id = ?", (request_id,))

    def is_to_stop(self, request_id: int) -> bool:
        """Tell whether whoever asked does not want the rest any more."""
        return bool(self._value("is_to_stop", request_id))

    def _value(self, column: str, request_id: int) -> Any:  # noqa: ANN401 - SQLite's values
        row = self._file.connection.execute(
            f"SELECT {column} FROM requests WHERE id = ?",  # noqa: S608 - names of ours only
            (request_id,),
        ).fetchone()
        return None if row is None else row[0]
