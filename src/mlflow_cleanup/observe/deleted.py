"""Reading what MLflow calls deleted, a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, column, null, select, table, true

from mlflow_cleanup.backends.sql import exact, page_key
from mlflow_cleanup.model.batches import batches
from mlflow_cleanup.model.deleted import Deleted, Named
from mlflow_cleanup.model.entity import plain
from mlflow_cleanup.model.target import DELETED, FINISHED_JOBS, Target, TargetKind
from mlflow_cleanup.model.verdict import Gone
from mlflow_cleanup.observe.members import Members, is_live
from mlflow_cleanup.observe.schema import Layout
from mlflow_cleanup.observe.texts import text_or_none

PAGE = 1_000
"""Rows read in one transaction; a writer waits for no more than that."""

_NUMBERED = TargetKind.EXPERIMENT
_KEYS = {
    TargetKind.RUN: ("runs", "run_uuid"),
    TargetKind.EXPERIMENT: ("experiments", "experiment_id"),
    TargetKind.LOGGED_MODEL: ("logged_models", "model_id"),
    TargetKind.TRACE: ("trace_info", "request_id"),
}

Row = Any
Position = int | str | None
"""Where a page of rows ended; None: before the first one."""


class DeletedReader:
    """One transaction's look at what is deleted, in one workspace or (None) in all."""

    def __init__(self, connection: Connection, layout: Layout, workspace: str | None) -> None:
        self._connection, self._layout, self._workspace = connection, layout, workspace

    def named(self, ids: Iterable[Target]) -> Named:
        """Look up the stages of ids, those that are in the workspace, and the workspaces."""
        wanted = list(ids)
        stages: dict[Target, str] = {}
        for kind, (name, key) in _KEYS.items():
            same = [item.id for item in wanted if item.kind is kind]
            for some in batches(_askable(same, kind)):
                where = and_(column(key).in_(some), self._in_workspace())
                for id_, stage in self._select(name, (key, "lifecycle_stage"), where):
                    stages[Target(kind, plain(id_))] = plain(stage)
        return Named(stages, *self._workspaces())

    def knows(self, kind: TargetKind, ids: Iterable[str]) -> bool:
        """Tell whether there is a row of any of these runs, logged models or traces."""
        name, key = _KEYS[kind]
        for some in batches(_askable(ids, kind)):
            if any(self._select(name, (key,), column(key).in_(some))):
                return True
        return False

    def experiments(self) -> list[Deleted]:
        """Read all deleted experiments."""
        names = ("experiment_id", "name", "last_update_time", "artifact_location")
        where = and_(exact(column("lifecycle_stage")) == DELETED, self._in_workspace())
        return [
            Deleted(
                Target(TargetKind.EXPERIMENT, plain(row.experiment_id), _ms(row.last_update_time)),
                texts=(text_or_none(row.artifact_location),),
                since_ms=_ms(row.last_update_time),
                name=text_or_none(row.name),
                experiment_id=plain(row.experiment_id),
            )
            for row in self._select("experiments", names, where)
        ]

    def active_runs_in(self, experiment_ids: Iterable[str]) -> dict[str, str]:
        """Name a run that is not deleted for each of the experiments that has one."""
        found: dict[str, str] = {}
        for some in batches(_askable(experiment_ids, _NUMBERED)):
            where = and_(column("experiment_id").in_(some), is_live(column("lifecycle_stage")))
            for row in self._select("runs", ("experiment_id", "run_uuid"), where):
                found.setdefault(plain(row.experiment_id), plain(row.run_uuid))
        return found

    def runs_named_by_models(self, experiment_ids: Collection[str]) -> dict[str, str]:
        """Name a deleted run for each experiment that has one which a model elsewhere needs.

        Metrics of a logged model name the run that logged them by their key, so that its row stays.
        """
        metrics = table("logged_model_metrics", column("model_id"), column("run_id"))
        known = self._layout.has("logged_models", "model_id", "lifecycle_stage", "experiment_id")
        if not known or not self._layout.has("logged_model_metrics", "model_id", "run_id"):
            return {}
        models = table(
            "logged_models", *map(column, ("model_id", "lifecycle_stage", "experiment_id"))
        )
        runs = table("runs", column("run_uuid"), column("experiment_id"))
        found: dict[str, str] = {}
        for some in batches(_askable(experiment_ids, _NUMBERED)):
            query = (
                select(runs.c.experiment_id, runs.c.run_uuid, models.c.experiment_id.label("other"))
                .distinct()
                .select_from(metrics)
                .join(runs, runs.c.run_uuid == metrics.c.run_id)
                .join(models, models.c.model_id == metrics.c.model_id)
                .where(runs.c.experiment_id.in_(some), is_live(models.c.lifecycle_stage))
            )
            for row in self._connection.execute(query):
                if plain(row.other) not in experiment_ids:
                    found.setdefault(plain(row.experiment_id), plain(row.run_uuid))
        return found

    def runs_after(self, last: Position = None) -> tuple[list[Deleted], Position]:
        """Read a page of deleted runs, and the position after which the next one begins."""
        place: ColumnElement[Any] = column(page_key("run_uuid", self._connection))
        where = and_(true() if last is None else place > last, self._in_workspace())
        query = self._runs(where).add_columns(place.label("position"))
        rows = self._connection.execute(query.order_by(place).limit(PAGE)).all()
        return [_run(row) for row in rows], rows[-1].position if rows else last

    def runs_named(self, ids: Collection[str]) -> list[Deleted]:
        """Read those of the given runs that are deleted."""
        found: list[Deleted] = []
        for some in batches(_askable(ids, TargetKind.RUN)):
            where = and_(column("run_uuid").in_(some), self._in_workspace())
            found += map(_run, self._connection.execute(self._runs(where)))
        return found

    def runs_of(self, experiment_ids: Collection[str]) -> list[Deleted]:
        """Read the deleted runs of experiments."""
        found: list[Deleted] = []
        for some in batches(_askable(experiment_ids, _NUMBERED)):
            where = column("experiment_id").in_(some)
            found += map(_run, self._connection.execute(self._runs(where)))
        return found

    def models(self) -> list[Deleted]:
        """Read the logged models that are deleted, or left with their experiment."""
        within = self._experiments_within()
        return [
            _model(row, gone)
            for row, gone in Members(self._connection, self._layout).models()
            if gone in (Gone.MODEL_DELETED, Gone.EXPERIMENT_DELETED)
            and (within is None or plain(row.experiment_id) in within)
        ]

    def traces(self) -> list[Deleted]:
        """Read the traces that left with their experiment."""
        places: dict[str, tuple[str | None, ...]] = {}
        of: dict[str, str] = {}
        for row, gone in Members(self._connection, self._layout).traces():
            if gone is not None:
                id_ = plain(row.request_id)
                of[id_] = plain(row.experiment_id)
                known = places.setdefault(id_, ())
                if row.place:
                    places[id_] = (*known, text_or_none(row.place))
        return [
            Deleted(
                Target(TargetKind.TRACE, id_),
                Gone.EXPERIMENT_DELETED,
                texts,
                experiment_id=of[id_],
            )
            for id_, texts in places.items()
        ]

    def jobs(self, ids: Collection[str] | None) -> list[Deleted]:
        """Read the finished jobs, all or those of the given ids."""
        if not self._layout.has("jobs", "id", "status"):
            return []
        is_finished = and_(column("status").in_(FINISHED_JOBS), self._in_workspace("jobs"))
        conditions = (
            [is_finished]
            if ids is None
            else [and_(is_finished, column("id").in_(some)) for some in batches(ids)]
        )
        return [
            Deleted(
                Target(TargetKind.JOB, plain(row.id)),
                since_ms=_ms(row.creation_time),
                name=text_or_none(row.job_name),
            )
            for where in conditions
            for row in self._select("jobs", ("id", "creation_time", "job_name"), where)
        ]

    def _runs(self, where: ColumnElement[bool]) -> Any:  # noqa: ANN401 - an SQLAlchemy select
        names = ("run_uuid", "experiment_id", "artifact_uri", "name", "deleted_time")
        optional = [self._optional("runs", name) for name in names[3:]]
        wanted = [*map(column, names[:3]), *optional]
        is_deleted = exact(column("lifecycle_stage")) == DELETED
        return select(*wanted).select_from(table("runs")).where(is_deleted, where)

    def _in_workspace(self, name: str = "experiments") -> ColumnElement[bool]:
        """Return the condition that rows belong to the workspace, by their experiment or itself."""
        if self._workspace is None:
            return true()
        if name == "jobs":
            return exact(column("workspace")) == self._workspace
        source = table("experiments", column("experiment_id"), column("workspace"))
        inside = select(source.c.experiment_id).where(exact(source.c.workspace) == self._workspace)
        return column("experiment_id").in_(inside.correlate(None))

    def _experiments_within(self) -> frozenset[str] | None:
        if self._workspace is None:
            return None
        rows = self._select("experiments", ("experiment_id",), self._in_workspace())
        return frozenset(plain(row.experiment_id) for row in rows)

    def _workspaces(self) -> tuple[frozenset[str] | None, frozenset[str]]:
        """Name all workspaces, and those that have experiments."""
        if not self._layout.has("experiments", "workspace"):
            return None, frozenset()
        named = self._select("workspaces", ("name",), true())
        has_one = column("workspace").is_not(None)
        rows = self._select("experiments", ("workspace",), has_one)
        used = frozenset(plain(row.workspace) for row in rows)
        return used | {plain(row.name) for row in named}, used

    def _select(
        self, name: str, columns: Iterable[str], where: ColumnElement[bool]
    ) -> Iterator[Row]:
        """Read rows; a column that this schema does not have is NULL."""
        if self._layout.has(name):
            wanted = [self._optional(name, item) for item in columns]
            query = select(*wanted).select_from(table(name)).where(where)
            yield from self._connection.execute(query)

    def _optional(self, name: str, item: str) -> ColumnElement[Any]:
        return column(item) if self._layout.has(name, item) else null().label(item)


def _run(row: Row) -> Deleted:
    return Deleted(
        Target(TargetKind.RUN, plain(row.run_uuid), _ms(row.deleted_time)),
        Gone.DELETED,
        (text_or_none(row.artifact_uri),),
        _ms(row.deleted_time),
        text_or_none(row.name),
        plain(row.experiment_id),
    )


def _model(row: Row, gone: Gone) -> Deleted:
    updated_ms = _ms(getattr(row, "last_updated_timestamp_ms", None))
    return Deleted(
        Target(TargetKind.LOGGED_MODEL, plain(row.model_id), updated_ms),
        gone,
        (text_or_none(row.artifact_location),),
        updated_ms,
        text_or_none(getattr(row, "name", None)),
        plain(row.experiment_id),
    )


def _ms(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _askable(ids: Iterable[str], kind: TargetKind) -> list[Any]:
    """Turn ids into values that can be asked for; what no row can have is left out."""
    if kind is _NUMBERED:
        return [int(id_) for id_ in ids if id_.isascii() and id_.isdecimal() and len(id_) < 19]  # noqa: PLR2004
    return [id_ for id_ in ids if id_.isprintable()]
