"""The known runs: what earlier cycles saw, durable, so that nothing that left is missed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from mlflow_cleanup.ledger.database import LedgerDatabase, Row, to_blob, to_text


class RunState(str, Enum):
    """What is known of a run."""

    ACTIVE = "active"
    ORPHANED = "orphaned"
    """It left, and its artifacts have not been dealt with yet, or are kept for a reason."""
    GONE = "gone"
    """It left, and its artifacts were dealt with."""
    BACKLOG = "backlog"
    """It had been deleted before the very first start."""
    RELEASED = "released"
    """Its files were restored by hand; it is left alone until it is active again."""


class KnownRun(NamedTuple):
    """One known run and where its artifacts were said to be.

    `kept` says why they are still there, or what went wrong with the last of `attempts` to move
    them; before ledger time `retry_s` it is not tried again.
    """

    run_id: str
    state: RunState
    experiment_id: str | None
    artifact_uri: str | None
    kept: str | None = None
    attempts: int = 0
    retry_s: float = 0.0


class KnownRuns:
    """The table of known runs, with the ids by state at hand."""

    def __init__(self, file: LedgerDatabase) -> None:
        self._file = file
        self._ids: dict[RunState, set[str]] = {state: set() for state in RunState}
        for run_id, state in file.connection.execute("SELECT run_id, state FROM known_runs"):
            self._ids[RunState(state)].add(run_id)

    def ids(self, *states: RunState) -> frozenset[str]:
        """Return the ids of the runs in any of the given states."""
        return frozenset().union(*(self._ids[state] for state in states))

    @property
    def active(self) -> frozenset[str]:
        """The last known active runs."""
        return frozenset(self._ids[RunState.ACTIVE])

    @property
    def others(self) -> frozenset[str]:
        """Every known run that is not active."""
        return self.ids(*(state for state in RunState if state is not RunState.ACTIVE))

    def learn(self, runs: Iterable[KnownRun]) -> None:
        """Enter runs, or say anew what is known of them."""
        runs = list(runs)
        if not runs:
            return
        with self._file.transaction() as connection:
            connection.executemany(
                "INSERT INTO known_runs (run_id, state, experiment_id, artifact_uri, kept) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT (run_id) DO UPDATE SET "
                "state = excluded.state, kept = excluded.kept, attempts = 0, retry_s = 0, "
                "experiment_id = coalesce(excluded.experiment_id, known_runs.experiment_id), "
                "artifact_uri = coalesce(excluded.artifact_uri, known_runs.artifact_uri)",
                [
                    (
                        run.run_id,
                        run.state.value,
                        run.experiment_id,
                        to_blob(run.artifact_uri),
                        to_blob(run.kept),
                    )
                    for run in runs
                ],
            )
        self._note({run.run_id: run.state for run in runs})

    def move(self, states: Mapping[str, RunState]) -> None:
        """Change the state of known runs."""
        if not states:
            return
        with self._file.transaction() as connection:
            connection.executemany(
                "UPDATE known_runs SET state = ?, kept = NULL, attempts = 0, retry_s = 0 "
                "WHERE run_id = ?",
                [(state.value, run_id) for run_id, state in states.items()],
            )
        known = self.ids(*RunState)
        self._note({run_id: state for run_id, state in states.items() if run_id in known})

    def keep(self, reasons: Mapping[str, str]) -> None:
        """Remember why orphaned runs are kept."""
        if not reasons:
            return
        with self._file.transaction() as connection:
            connection.executemany(
                "UPDATE known_runs SET kept = ? WHERE run_id = ?",
                [(to_blob(reason), run_id) for run_id, reason in reasons.items()],
            )

    def postpone(self, run_id: str, error: str, retry_s: float) -> None:
        """Count a failed attempt to deal with an orphaned run, and when the next may follow."""
        with self._file.transaction() as connection:
            connection.execute(
                "UPDATE known_runs SET kept = ?, attempts = attempts + 1, retry_s = ? "
                "WHERE run_id = ?",
                (to_blob(error), retry_s, run_id),
            )

    def in_state(self, *states: RunState) -> list[KnownRun]:
        """List the runs in any of the given states, by id."""
        marks = ", ".join("?" * len(states))
        rows = self._file.connection.execute(
            f"SELECT * FROM known_runs WHERE state IN ({marks}) ORDER BY run_id",  # noqa: S608
            [state.value for state in states],
        )
        return [_known(row) for row in rows]

    def get(self, run_id: str) -> KnownRun | None:
        """Return one known run."""
        row = self._file.connection.execute(
            "SELECT * FROM known_runs WHERE run_id = ?", (run_id,)
        ).fetchone()
        return None if row is None else _known(row)

    def forget_all(self) -> None:
        """Forget every run: the next cycle is a first one."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM known_runs")
        for ids in self._ids.values():
            ids.clear()

    def _note(self, states: Mapping[str, RunState]) -> None:
        for run_id, state in states.items():
            for ids in self._ids.values():
                ids.discard(run_id)
            self._ids[state].add(run_id)


def _known(row: Row) -> KnownRun:
    return KnownRun(
        row["run_id"],
        RunState(row["state"]),
        row["experiment_id"],
        to_text(row["artifact_uri"]),
        to_text(row["kept"]),
        row["attempts"],
        row["retry_s"],
    )
