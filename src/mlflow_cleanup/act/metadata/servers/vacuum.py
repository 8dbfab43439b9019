"""Giving the space of removed rows back on a server, as far as that goes without locking others."""

from __future__ import annotations

from dataclasses import replace

from mlflow_cleanup.act.metadata.pacing import SERVER_PACE
from mlflow_cleanup.act.metadata.servers.job import read_graphs
from mlflow_cleanup.act.metadata.servers.session import opened
from mlflow_cleanup.act.metadata.vacuumed import Vacuumed
from mlflow_cleanup.model.database import Database


def vacuum(database: Database, wait_s: float) -> Vacuumed:
    """Clean every table that rows can have gone from, one after another.

    PostgreSQL uses the space again, and gives back what is free at a table's end; MySQL and MariaDB
    write the tables anew beside the old ones, for which there has to be room.
    """
    with opened(database, replace(SERVER_PACE, wait_s=wait_s)) as session:
        graphs = read_graphs(session).values()
        tables = sorted(
            {
                *(graph.rows.name for graph in graphs),
                *(edge.rows.name for graph in graphs for edge in graph.steps),
            }
        )
        connection = session.connection.execution_options(isolation_level="AUTOCOMMIT")
        with session.explaining():
            before_bytes = session.dialect.size_bytes(connection, tables)
            for name in tables:
                session.dialect.shrink(connection, name)
            return Vacuumed(before_bytes, session.dialect.size_bytes(connection, tables))
