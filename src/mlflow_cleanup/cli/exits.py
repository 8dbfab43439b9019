"""One table from error to exit code."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import click

from mlflow_cleanup.errors import (
    BadSelection,
    BadUsage,
    CleanupError,
    DatabaseMissing,
    DatabaseRefused,
    DriverMissing,
    FailedThere,
    LeaseHeld,
    LeaseLost,
    LedgerDriverMissing,
    LedgerMissing,
    LedgerRefused,
    LedgerUnwritable,
    NotAnswered,
    NotATrackingDatabase,
    OutputLost,
    PlanBrokenOff,
    PlanOutdated,
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
from mlflow_cleanup.report.text import printable

DONE, UNEXPECTED, USAGE, NOT_CLEANED, REFUSED, LEASE = 0, 1, 2, 3, 4, 5

EXIT_CODES: Mapping[type[CleanupError], int] = {
    BadUsage: USAGE,
    BadSelection: USAGE,
    UnsupportedBackend: USAGE,
    DatabaseMissing: USAGE,
    DatabaseRefused: USAGE,
    DriverMissing: USAGE,
    NotATrackingDatabase: USAGE,
    LedgerMissing: USAGE,
    LedgerRefused: USAGE,
    LedgerDriverMissing: USAGE,
    PlanOutdated: REFUSED,
    PlanBrokenOff: NOT_CLEANED,
    ServerMissing: USAGE,
    UnknownItems: USAGE,
    TrackingUnreadable: NOT_CLEANED,
    TrackingUnwritable: NOT_CLEANED,
    StoreUnreachable: NOT_CLEANED,
    UnsafePlace: NOT_CLEANED,
    QuarantineFailed: NOT_CLEANED,
    LedgerUnwritable: NOT_CLEANED,
    NotAnswered: NOT_CLEANED,
    FailedThere: NOT_CLEANED,
    PlanRefused: REFUSED,
    LeaseHeld: LEASE,
    LeaseLost: LEASE,
    OutputLost: UNEXPECTED,
}


def exit_code_of(error: CleanupError) -> int:
    """Return the exit code of an error: its own class's, or the nearest base class's."""
    for kind in type(error).__mro__:
        if kind in EXIT_CODES:
            return EXIT_CODES[kind]
    return UNEXPECTED


def fail(error: CleanupError) -> int:
    """Print an error to stderr, as one line whatever it tells of, and return its exit code."""
    with suppress(OSError):  # where nothing can be said, the exit code says it
        click.echo(f"mlflow-cleanup: {printable(str(error))}", err=True)
    return exit_code_of(error)
