from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import mlflow_cleanup
from mlflow_cleanup.cli.exits import EXIT_CODES, exit_code_of, fail
from mlflow_cleanup.cycle.guard import Forgotten
from mlflow_cleanup.errors import (
    BadUsage,
    CleanupError,
    DatabaseBusy,
    DatabaseGone,
    DatabaseMissing,
    DatabaseNotReady,
    DatabaseRefused,
    DriverMissing,
    FailedThere,
    ForeignOwner,
    LeaseHeld,
    LeaseLost,
    LeaseTaken,
    LedgerDriverMissing,
    LedgerFull,
    LedgerLost,
    LedgerMissing,
    LedgerRefused,
    LedgerReplaced,
    LedgerUnreachable,
    LedgerUnwritable,
    NoRoomToVacuum,
    NotAnswered,
    NotATrackingDatabase,
    OutcomeUntold,
    OutputLost,
    PlanBrokenOff,
    PlanRefused,
    QuarantineFailed,
    ServerMissing,
    StoreUnreachable,
    TrackingUnreadable,
    TrackingUnwritable,
    UnknownItems,
    UnsafePlace,
    UnsupportedBackend,
)

CASES = [
    (BadUsage("what"), 2),
    (UnsupportedBackend("uri", "hint"), 2),
    (DatabaseMissing("/db"), 2),
    (NotATrackingDatabase("/db", "why"), 2),
    (DatabaseNotReady("/db"), 2),
    (DriverMissing("mysql://h/db", "pymysql", "mysql"), 2),
    (DatabaseRefused("mysql://h/db", "why"), 2),
    (DatabaseGone("mysql://h/db", "why"), 3),
    (LedgerMissing("/ledger"), 2),
    (ServerMissing(), 2),
    (UnknownItems(["a"]), 2),
    (TrackingUnreadable("why"), 3),
    (DatabaseBusy("/db", 5.0), 3),
    (TrackingUnwritable("/db", "why"), 3),
    (NoRoomToVacuum("/db", "/tmp", 2, 1), 3),
    (StoreUnreachable("/art", "why"), 3),
    (ForeignOwner("/art", "other"), 3),
    (UnsafePlace("/art/a", "why"), 3),
    (QuarantineFailed("/art/a", "why"), 3),
    (LedgerUnwritable("/ledger", "why"), 3),
    (FailedThere("why"), 3),
    (OutputLost("why"), 1),
    (NotAnswered("why"), 3),
    (PlanRefused("1f2e", "why"), 4),
    (Forgotten("1f2e", "why"), 4),
    (LedgerFull("/ledger", "why"), 3),
    (LedgerReplaced("/ledger"), 3),
    (OutcomeUntold("/ledger", "why"), 3),
    (PlanBrokenOff("1f2e", 1, 10, "why"), 3),
    (LedgerUnreachable("server", "why"), 3),
    (LedgerLost("server", "why"), 3),
    (LedgerRefused("server", "why"), 2),
    (LedgerDriverMissing("server"), 2),
    (LeaseHeld("somebody", "/state"), 5),
    (LeaseTaken("server", "why"), 5),
    (LeaseLost("/state/lease.lock"), 5),
]
NAMES = [type(error).__name__ for error, _ in CASES]


def every_kind(kind: type[CleanupError] = CleanupError) -> Iterator[type[CleanupError]]:
    """Find every error of ours, wherever it is defined."""
    for below in kind.__subclasses__():
        if below.__module__.startswith("mlflow_cleanup."):
            yield below
        yield from every_kind(below)


@pytest.mark.parametrize(("error", "code"), CASES, ids=NAMES)
def test_each_error_has_the_exit_code_of_its_kind(error: CleanupError, code: int) -> None:
    """Wrong usage is 2, what could not be done 3, a refusal 4, a held lease 5."""
    assert exit_code_of(error) == code


def test_no_error_is_left_out_of_the_table() -> None:
    """Every error of ours, or a base of it, has an exit code that somebody chose."""
    for module in pkgutil.walk_packages(mlflow_cleanup.__path__, "mlflow_cleanup."):
        if module.name not in ("mlflow_cleanup.__main__", "mlflow_cleanup.mlflow_plugin"):
            importlib.import_module(module.name)

    kinds = list(every_kind())

    assert len(kinds) >= len(CASES)
    assert [kind.__name__ for kind in kinds if not set(kind.__mro__) & set(EXIT_CODES)] == []
    assert CleanupError not in EXIT_CODES


def test_an_error_without_a_kind_is_unexpected() -> None:
    """The root of all errors counts as unexpected."""
    assert exit_code_of(CleanupError("what")) == 1


@pytest.mark.parametrize("error", [error for error, _ in CASES], ids=NAMES)
def test_an_error_is_told_on_stderr(
    error: CleanupError, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message goes to stderr, under our name, and stdout stays clean for programs."""
    assert fail(error) == exit_code_of(error)

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"mlflow-cleanup: {error}\n"


def test_strangers_text_in_an_error_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """Markers, revisions and plans can be written by any client: what they say is one line."""
    fail(ForeignOwner("/art", "x\x1b[2J\n\x1b]0;owned\x07mlflow-cleanup: all is well\u202e\udcff"))

    said = capsys.readouterr().err
    assert said.endswith("\n")
    assert said[:-1].isprintable()
    assert "x\\x1b[2J\\x0a" in said
