"""What can be asked for, on whatever kind of database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from mlflow_cleanup.act.metadata.pacing import DEFAULT_PACE, SERVER_PACE, Pace
from mlflow_cleanup.act.metadata.patience import KeepGoing
from mlflow_cleanup.act.metadata.servers import foresight as servers_foresight
from mlflow_cleanup.act.metadata.servers import job as servers_job
from mlflow_cleanup.act.metadata.servers import vacuum as servers_vacuum
from mlflow_cleanup.act.metadata.sqlite import foresight as sqlite_foresight
from mlflow_cleanup.act.metadata.sqlite import job as sqlite_job
from mlflow_cleanup.act.metadata.sqlite import vacuum as sqlite_vacuum
from mlflow_cleanup.act.metadata.targets import Outcome, Target
from mlflow_cleanup.act.metadata.vacuumed import WAIT_S, Vacuumed
from mlflow_cleanup.errors import DatabaseBusy
from mlflow_cleanup.model.database import Database


def _always() -> bool:
    return True


def _say_nothing(_: DatabaseBusy) -> None: ...


def remove_rows(
    database: Database,
    targets: Iterable[Target],
    *,
    keep_going: KeepGoing = _always,
    tell: Callable[[DatabaseBusy], object] = _say_nothing,
    pace: Pace | None = None,
) -> Iterator[Outcome]:
    """Remove the rows of some entities, and all that hangs on them, from a tracking database.

    All targets are taken down first. Then they go by kind: jobs, traces, logged models, runs,
    experiments. Each goes in one transaction, whose last statement carries the state it was decided
    on, or it stays as it is. An experiment goes only when no run, logged model and trace is in it
    any more. An outcome is told when its transaction has been committed; a target that was named
    twice has one.

    `keep_going` is asked between two transactions; once it says no there are no more outcomes, and
    calling this again with the same targets goes on. `tell` hears that others have the database
    locked; it is tried again until it works. `pace`: None is the usual one of such a database.
    Raises DatabaseMissing, TrackingUnwritable, or what keeps a server from being reached.
    """
    if database.path is not None:
        pace = pace or DEFAULT_PACE
        return sqlite_job.remove_rows(database.path, targets, keep_going, tell, pace)
    return servers_job.remove_rows(database, targets, keep_going, tell, pace or SERVER_PACE)


def require_removable(database: Database) -> None:
    """Ask a server whether its rows may be removed, before anything that belongs to them is.

    Raises TrackingUnwritable, or what keeps the server from being reached.
    """
    if database.path is None:
        servers_job.require_removable(database)


def foresee(
    database: Database,
    targets: Iterable[Target],
    *,
    keep_going: KeepGoing,
    tell: Callable[[DatabaseBusy], object] = _say_nothing,
) -> Mapping[Target, str]:
    """Say which targets would stay, and why, if all of them were to be removed; changes nothing.

    What goes itself holds nothing, as far as it goes no later than what it refers to. Raises what
    `remove_rows` does; told to stop, it returns nothing.
    """
    if database.path is not None:
        return sqlite_foresight.foresee(database.path, targets, keep_going, tell)
    return servers_foresight.foresee(database, targets, keep_going, tell)


def vacuum(database: Database, *, wait_s: float = WAIT_S) -> Vacuumed:
    """Give the space of removed rows back, as far as its kind of database can.

    Raises DatabaseMissing, DatabaseBusy when a lock cannot be had for `wait_s`, NoRoomToVacuum or
    TrackingUnwritable; what is in the database is as it was then.
    """
    if database.path is not None:
        return sqlite_vacuum.vacuum(database.path, wait_s)
    return servers_vacuum.vacuum(database, wait_s)
