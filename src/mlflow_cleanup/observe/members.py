"""Logged models and traces, each with what became of it, its run and its experiment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, column, func, select, table
from sqlalchemy import false as never

from mlflow_cleanup.backends.sql import exact
from mlflow_cleanup.model.verdict import Gone
from mlflow_cleanup.observe.schema import Layout

_TRACE_PLACE_TAGS = ("mlflow.artifactLocation", "mlflow.trace.archiveLocation")
_TRACE_RUN_KEY = "mlflow.sourceRun"

Row = Any


def is_live(stage: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whatever is not called deleted is live, an unknown or missing stage too."""
    return exact(func.coalesce(stage, "active")) != "deleted"


class Members:
    """One read of the tables of logged models and traces, as far as the schema has them."""

    def __init__(self, connection: Connection, layout: Layout) -> None:
        self._connection, self._layout = connection, layout
        self._models: list[tuple[Row, Gone | None]] | None = None

    def models(self) -> list[tuple[Row, Gone | None]]:
        """Read every logged model with how it left; None: it is live.

        One whose run was deleted has left in a weaker sense: it can still be opened by its id.
        """
        if self._models is None:
            used = self._used_models()
            self._models = [(row, _how_model_left(row, used)) for row in self._model_rows()]
        return self._models

    def traces(self) -> Iterator[tuple[Row, Gone | None]]:
        """Read every trace with how it left; None: it is live. `place` may be None."""
        for row in self._trace_rows():
            is_dead = row.experiment_stage == "deleted" and not _is_active(row)
            yield row, Gone.EXPERIMENT_DELETED if is_dead else None

    def _model_rows(self) -> Iterator[Row]:
        if not self._layout.has("logged_models", "model_id", "source_run_id"):
            return
        names = ("model_id", "artifact_location", "lifecycle_stage", "experiment_id")
        optional = [
            name
            for name in ("name", "last_updated_timestamp_ms")
            if self._layout.has("logged_models", name)
        ]
        models = table("logged_models", *map(column, (*names, "source_run_id", *optional)))
        runs, experiments = _stages("runs", "run_uuid"), _stages("experiments", "experiment_id")
        query = (
            select(
                *models.c,
                runs.c.run_uuid.label("run_id"),
                runs.c.lifecycle_stage.label("run_stage"),
                experiments.c.lifecycle_stage.label("experiment_stage"),
            )
            .select_from(models)
            .outerjoin(runs, runs.c.run_uuid == models.c.source_run_id)
            .outerjoin(experiments, experiments.c.experiment_id == models.c.experiment_id)
        )
        yield from self._connection.execute(query)

    def _used_models(self) -> frozenset[str]:
        """Name the models that are inputs of live runs."""
        if not self._layout.has("inputs", "source_id", "destination_type", "destination_id"):
            return frozenset()
        names = ("source_id", "destination_type", "destination_id")
        inputs, runs = table("inputs", *map(column, names)), _stages("runs", "run_uuid")
        query = (
            select(inputs.c.destination_id)
            .select_from(inputs)
            .join(runs, runs.c.run_uuid == inputs.c.source_id)
            .where(inputs.c.destination_type == "MODEL_INPUT", is_live(runs.c.lifecycle_stage))
        )
        return frozenset(str(row[0]) for row in self._connection.execute(query))

    def _trace_rows(self) -> Iterator[Row]:
        if not self._layout.has("trace_info", "request_id", "experiment_id"):
            return
        traces = table("trace_info", column("request_id"), column("experiment_id"))
        tags = self._values_of("trace_tags", *_TRACE_PLACE_TAGS)
        notes = self._values_of("trace_request_metadata", _TRACE_RUN_KEY)
        runs, experiments = _stages("runs", "run_uuid"), _stages("experiments", "experiment_id")
        query = (
            select(
                traces.c.request_id,
                traces.c.experiment_id,
                tags.c.value.label("place"),
                runs.c.run_uuid.label("run_id"),
                runs.c.lifecycle_stage.label("run_stage"),
                experiments.c.lifecycle_stage.label("experiment_stage"),
            )
            .select_from(traces)
            .outerjoin(tags, tags.c.request_id == traces.c.request_id)
            .outerjoin(experiments, experiments.c.experiment_id == traces.c.experiment_id)
            .outerjoin(
                notes,
                # Asked only where it matters, as there is a note for every trace.
                and_(
                    notes.c.request_id == traces.c.request_id,
                    experiments.c.lifecycle_stage == "deleted",
                ),
            )
            .outerjoin(runs, runs.c.run_uuid == notes.c.value)
        )
        yield from self._connection.execute(query)

    def _values_of(self, name: str, *keys: str) -> Any:  # noqa: ANN401 - an SQLAlchemy subquery
        source = table(name, column("request_id"), column("key"), column("value"))
        has_it = self._layout.has(name, "request_id", "key", "value")
        if not has_it:
            empty = table("trace_info", column("request_id"))
            nothing = select(empty.c.request_id, empty.c.request_id.label("value"))
            return nothing.where(never()).subquery()
        wanted = and_(source.c.key.in_(keys), exact(source.c.key).in_(keys))
        return select(source.c.request_id, source.c.value).where(wanted).subquery()


def _stages(name: str, id_: str) -> Any:  # noqa: ANN401 - an SQLAlchemy table
    return table(name, column(id_), column("lifecycle_stage"))


def _how_model_left(row: Row, used: frozenset[str]) -> Gone | None:
    if row.lifecycle_stage == "deleted":
        return Gone.MODEL_DELETED
    if _is_active(row) or str(row.model_id) in used:
        return None
    if row.experiment_stage == "deleted":
        return Gone.EXPERIMENT_DELETED
    return Gone.RUN_DELETED if row.source_run_id else None


def _is_active(row: Row) -> bool:
    """Tell whether the run that made it is there, and not deleted."""
    return row.run_id is not None and row.run_stage != "deleted"
