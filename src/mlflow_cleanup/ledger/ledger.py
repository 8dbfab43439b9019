"""The ledger as one thing: its tables, its own time, and single facts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from mlflow_cleanup.ledger.ageing import Age, Reading, utc
from mlflow_cleanup.ledger.database import SET_FACT, LedgerDatabase, to_blob, to_text
from mlflow_cleanup.ledger.fence import Fence
from mlflow_cleanup.ledger.items import Items
from mlflow_cleanup.ledger.journal import History, Refusals
from mlflow_cleanup.ledger.known import KnownRuns
from mlflow_cleanup.ledger.opening import open_to_read, open_to_write
from mlflow_cleanup.ledger.requests import Requests
from mlflow_cleanup.ledger.sqlite import LedgerFile
from mlflow_cleanup.ledger.sweeps import Brakes, Pins, Plans, Sightings
from mlflow_cleanup.model.ledger_home import LedgerHome
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.snapshot import BackendIdentity

_SAVE_AGE_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True)
class KnownRoot:
    """One artifact root: whether our marker was written there, and what is wrong with it now."""

    path: str
    is_marked: bool
    problem: str | None


class Ledger:
    """The durable record; requests and answers apart, only the holder of the lease writes it."""

    def __init__(self, file: LedgerDatabase) -> None:
        self._file = file
        self.items = Items(file)
        self.history = History(file)
        self.refusals = Refusals(file)
        self.requests = Requests(file)
        self.sightings = Sightings(file)
        self.pins = Pins(file)
        self.plans = Plans(file)
        self.brakes = Brakes(file)
        self._known: KnownRuns | None = None
        self._age: Age | None = None

    @classmethod
    def open(cls, home: LedgerHome, fence: Fence | None = None) -> Ledger:
        """Open to write, creating what is missing; raises LedgerUnwritable.

        `fence` is that of the lease, where this is its holder and it is held on a server.
        """
        return cls(open_to_write(home, fence))

    @classmethod
    def read(cls, home: LedgerHome) -> Ledger:
        """Open to read; raises LedgerMissing."""
        return cls(open_to_read(home))

    @classmethod
    def empty(cls) -> Ledger:
        """Open one that remembers nothing, where there is none to read."""
        return cls(LedgerFile.in_memory())

    @property
    def known(self) -> KnownRuns:
        """The known runs, loaded when first asked for."""
        if self._known is None:
            self._known = KnownRuns(self._file)
        return self._known

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several entries one: all on the disk or none."""
        try:
            with self._file.transaction():
                yield
        except BaseException:
            self._known = None  # what was noted beside the table may not have happened
            raise

    def now(self, reading: Reading) -> Moment:
        """Turn a reading of the clocks into the moment that a cycle hands down."""
        if self._age is None:
            stored = self.fact("age")
            self._age = Age.decode(stored) if stored else Age(0.0, reading)
        age = self._age.at(reading)
        is_new_base = age.reading.boot != self._age.reading.boot or self.fact("age") is None
        if (
            is_new_base
            or age.was_set(self._age)
            or age.aged_s - self._saved_s() >= _SAVE_AGE_EVERY_S
        ):
            self.set_fact("age", age.encode())
        self._age = age
        return _moment(age)

    def peek(self, reading: Reading) -> Moment:
        """Say what `now` would, without writing; for readers."""
        stored = self.fact("age")
        return _moment(Age.decode(stored).at(reading) if stored else Age(0.0, reading))

    def fact(self, name: str) -> str | None:
        """Return a single fact by name."""
        row = self._file.connection.execute(
            "SELECT value FROM facts WHERE name = ?", (name,)
        ).fetchone()
        return None if row is None else str(row[0])

    def set_fact(self, name: str, value: str) -> None:
        """Set a single fact."""
        with self._file.transaction() as connection:
            connection.execute(SET_FACT, (name, value))

    @property
    def identity(self) -> BackendIdentity | None:
        """By what the tracking database is recognised; None before the first look."""
        stored = self.fact("identity")
        if stored is None:
            return None
        told = json.loads(stored)
        return BackendIdentity(**told)

    def set_identity(self, identity: BackendIdentity | None) -> None:
        """Remember what the tracking database is recognised by; None: as if it was never seen."""
        if identity is None:
            with self._file.transaction() as connection:
                connection.execute("DELETE FROM facts WHERE name = 'identity'")
            return
        self.set_fact("identity", json.dumps(asdict(identity)))

    @property
    def registry(self) -> str | None:
        """The model registry's own database, as it was given last; None: there is none."""
        return self.fact("registry") or None

    def set_registry(self, path: str | None) -> None:
        """Remember it; None: the registry is in the tracking database."""
        if path != self.registry:
            self.set_fact("registry", path or "")

    def vanished_within(self, window: timedelta, now: Moment) -> int:
        """Count the active runs whose rows vanished unexplained within `window`."""
        since_s = now.aged_s - window.total_seconds()
        return sum(count for at_s, count in self._vanished() if at_s >= since_s)

    def note_vanished(self, count: int, window: timedelta, now: Moment) -> None:
        """Add to that count, letting go of what is older than the window."""
        if count:
            since_s = now.aged_s - window.total_seconds()
            recent = [pair for pair in self._vanished() if pair[0] >= since_s]
            self.set_fact("vanished", json.dumps([*recent, (now.aged_s, count)]))

    def forget_vanished(self) -> None:
        """Begin that count anew: an operator said that it was meant."""
        self.set_fact("vanished", "[]")

    def _vanished(self) -> list[tuple[float, int]]:
        stored = self.fact("vanished")
        return [(at_s, count) for at_s, count in json.loads(stored)] if stored else []

    @property
    def watching(self) -> dict[str, Any] | None:
        """What the last monitor said it watches: backend, roots, retention, when it began."""
        stored = self.fact("watching")
        return json.loads(stored) if stored else None

    def set_watching(self, told: dict[str, Any]) -> None:
        """Say what is watched, for `status`."""
        self.set_fact("watching", json.dumps(told))

    @property
    def id(self) -> str:
        """The ledger's own name, given to it when it was made; copies of it have the same."""
        return self.fact("id") or ""

    def roots(self) -> dict[str, KnownRoot]:
        """Return every artifact root ever used, by path."""
        rows = self._file.connection.execute("SELECT * FROM roots ORDER BY path")
        known = [
            KnownRoot(to_text(row["path"]) or "", bool(row["is_marked"]), to_text(row["problem"]))
            for row in rows
        ]
        return {root.path: root for root in known}

    def note_root(self, path: str, *, is_marked: bool, problem: str | None) -> None:
        """Remember a root's marker and what is wrong with it."""
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT INTO roots (path, is_marked, problem) VALUES (?, ?, ?) "
                "ON CONFLICT (path) DO UPDATE SET is_marked = excluded.is_marked, "
                "problem = excluded.problem",
                (to_blob(path), int(is_marked), to_blob(problem)),
            )

    def tokens(self) -> frozenset[str]:
        """Return what the owner markers written with this ledger say; see `note_tokens`."""
        rows = self._file.connection.execute("SELECT tokens FROM roots WHERE tokens IS NOT NULL")
        return frozenset(token for row in rows for token in json.loads(row[0]))

    def tokens_of(self, path: str) -> list[str]:
        """Return what one root's marker may say."""
        row = self._file.connection.execute(
            "SELECT tokens FROM roots WHERE path = ?", (to_blob(path),)
        ).fetchone()
        return [] if row is None or row[0] is None else list(json.loads(row[0]))

    def note_tokens(self, path: str, tokens: Sequence[str]) -> None:
        """Remember what a root's marker says, or will say: two while it is being rewritten."""
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT INTO roots (path, tokens) VALUES (?, ?) "
                "ON CONFLICT (path) DO UPDATE SET tokens = excluded.tokens",
                (to_blob(path), json.dumps(list(tokens))),
            )

    def keep_reserve(self) -> None:
        """Keep room on the disk for recording a purge when there is no other."""
        self._file.keep_reserve()

    def require_held(self) -> None:
        """Raise LeaseLost when another process may have taken over: right before anything moves."""
        self._file.require_held()

    def may_go_on(self) -> bool:
        """Tell, without asking anybody, whether long work may go on."""
        return self._file.may_go_on()

    @property
    def is_lost(self) -> bool:
        """Tell whether the connection is over, so that it has to be opened anew."""
        return self._file.is_lost

    def abandon(self) -> None:
        """Have nobody wait any longer for the ledger's server; called from another thread."""
        self._file.abandon()

    def wake(self) -> None:
        """Make a running monitor look at requests and answers now."""
        self._file.wake()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _saved_s(self) -> float:
        stored = self.fact("age")
        return Age.decode(stored).aged_s if stored else 0.0


def _moment(age: Age) -> Moment:
    return Moment(utc(age.reading.wall_s), age.aged_s, age.off_s, age.behind_s)
