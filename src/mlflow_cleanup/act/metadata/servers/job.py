"""Removing rows on a server, from the first look at the schema to the last batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice

from sqlalchemy import delete, false

from mlflow_cleanup.act.metadata.graph import Graph, graphs_of
from mlflow_cleanup.act.metadata.kinds import KINDS
from mlflow_cleanup.act.metadata.pacing import SERVER_PACE, Pace, Pacer
from mlflow_cleanup.act.metadata.patience import KeepGoing, Patience, Stopped
from mlflow_cleanup.act.metadata.references import Action
from mlflow_cleanup.act.metadata.schema import Schema
from mlflow_cleanup.act.metadata.servers.catalogue import ServerCatalogue
from mlflow_cleanup.act.metadata.servers.phase import Phase
from mlflow_cleanup.act.metadata.servers.session import Session, opened
from mlflow_cleanup.act.metadata.servers.shelf import Shelf
from mlflow_cleanup.act.metadata.targets import Outcome, Result, Target, TargetKind
from mlflow_cleanup.errors import DatabaseBusy
from mlflow_cleanup.model.database import Database

TARGETS_A_PAGE = 1_000


def remove_rows(
    database: Database,
    targets: Iterable[Target],
    keep_going: KeepGoing,
    tell: Callable[[DatabaseBusy], object],
    pace: Pace,
) -> Iterator[Outcome]:
    """Remove the rows of some entities from a database on a server."""
    with Shelf.opened() as shelf, opened(database, pace) as session:
        patience = Patience(session.explaining, Pacer(pace), keep_going, tell)
        try:
            graphs = patience.insist(partial(read_graphs, session))
            yield from take_down(targets, shelf)
            for kind in KINDS:
                yield from _carry_out(session, kind, graphs, shelf, patience)
        except Stopped:
            return


def require_removable(database: Database) -> None:
    """Raise TrackingUnwritable where the rows of runs could not be removed at all.

    No row is: a statement that finds none is refused as any other.
    """
    with opened(database, SERVER_PACE) as session:
        graph = read_graphs(session).get(TargetKind.RUN)
        if graph is None:
            return
        names = {edge.rows.name: edge.rows for edge in graph.steps if edge.action is Action.GOES}
        with suppress(DatabaseBusy), session.batch():
            for rows in (*names.values(), graph.rows):
                session.connection.execute(delete(rows).where(false()))


def read_graphs(session: Session) -> Mapping[TargetKind, Graph]:
    """Find what hangs on what there."""
    with session.batch():
        return graphs_of(Schema(ServerCatalogue(session.connection)))


def take_down(targets: Iterable[Target], shelf: Shelf) -> Iterator[Outcome]:
    """Put all targets on the shelf; yields those that cannot be."""
    waiting = iter(targets)
    while page := list(islice(waiting, TARGETS_A_PAGE)):
        yield from shelf.add(page)


def _carry_out(
    session: Session,
    kind: TargetKind,
    graphs: Mapping[TargetKind, Graph],
    shelf: Shelf,
    patience: Patience,
) -> Iterator[Outcome]:
    graph = graphs.get(kind)
    if graph is not None and graph.obstacle is None:
        yield from Phase(session, graph, shelf).carry_out(patience)
        return
    for page in shelf.pages(kind, TARGETS_A_PAGE):
        for item in page:
            if graph is None:
                why = f"there is no table {KINDS[kind].table} in this database"
                yield Outcome(item.target, Result.ABSENT, why)
            else:
                yield Outcome(item.target, Result.KEPT, graph.obstacle or "", is_trouble=True)
