"""What a tracking database has, seen from its tables and columns; its revision only names it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from mlflow_cleanup.backends.base import Columns
from mlflow_cleanup.model.entity import plain
from mlflow_cleanup.model.snapshot import NO_REVISION, Schema

# Every schema revision from MLflow's first up to 3.17, in order.
_IN_ORDER = """
    451aebb31d03 90e64c465722 181f10493468 df50e92ffc5e 7ac759974ad8 89d4b8295536
    2b4d017a5e9b cfd24bdc0731 0a8213491aaa 728d730b5ebd 27a6a02d2cf1 84291f40a231
    a8c4a736bde6 39d1c3be5f05 c48cb773bb87 bd07f7e963c5 0c779009ac13 cc1f77228345
    97727af70f4d 3500859a5d39 7f2a7d5fae7d 2d6e25af4d3e acf3f17fdcc7 867495a8f9d4
    5b0e9adcef9c 4465047574b1 f5a4f2784254 0584bdc529eb 400f98739977 6953534de441
    bda7b8c39065 cbc13b556ace 770bee3ae1dd a1b2c3d4e5f6 de4033877273 1a0cddfcaa16
    534353b11cbc 71994744cf8e 3da73c924c2f bf29a5ff90ea 1bd49d398cd23 b7c8d9e0f1a2
    5d2d30f0abce c9d4e5f6a7b8 2c33131f4dae d3e4f5a6b7c8 d0e1f2a3b4c5 c8d9e0f1a2b3
    1b5f0d9ad7c1 e1f2a3b4c5d6 76601a5f987d c3d6457b6d8a a5b4c3d2e1f0 ae8bbe7743c9
    7d34483879f0 da6fb0208061 89d3d66ed43f b7e4c1a90f23 a8b9c0d1e2f3 c1d2e3f4a5b6
    c3d9e7f1a2b4 6f8d9c3b2a1e 1971f2d9a75b 17e22815139b b7e2c1a4d9f3 75868b020152
    dc11669786a5
"""
_REVISIONS = tuple(_IN_ORDER.split())
KNOWN_REVISIONS = frozenset(_REVISIONS)

_TABLES_SINCE = {
    "7f2a7d5fae7d": ("datasets", "inputs"),
    "867495a8f9d4": ("trace_info", "trace_tags", "trace_request_metadata"),
    "400f98739977": ("logged_models",),
}
"""The revisions that brought tables which claims are read from, those of every release aside."""

_COLUMNS_SINCE = {"acf3f17fdcc7": ("model_versions", "storage_location")}
"""The revisions that brought a column which claims are read from to a table of every release."""

_CLAIMING_TABLES = (
    "runs",
    "tags",
    "experiments",
    "experiment_tags",
    "model_versions",
    "logged_models",
    "trace_info",
    "trace_tags",
    "trace_request_metadata",
    "datasets",
    "inputs",
)

_IN_EVERY_RELEASE = ("experiments", "experiment_tags", "model_versions", "tags")

_NAMING_TABLES = ("logged_model_tags", "logged_model_metrics", "workspaces")
_JOBS = "jobs"

_REVISION_TABLE = "alembic_version"

TABLES = (*_CLAIMING_TABLES, *_NAMING_TABLES, _JOBS, _REVISION_TABLE)
"""The tables that are looked at."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The tables that matter here, with their columns, and what the database calls itself."""

    columns: Columns
    schema: Schema

    def has(self, table: str, *columns: str) -> bool:
        """Tell whether a table is there, with all the given columns."""
        return table in self.columns and self.columns[table] >= set(columns)

    @property
    def is_tracking_database(self) -> bool:
        """Tell whether this is MLflow's database at all."""
        return self.has("runs", "run_uuid", "lifecycle_stage", "artifact_uri", "experiment_id")


def missing_tables(layout: Layout) -> list[str]:
    """Name the tables that the database's revision has and that are not there.

    A migration makes a table anew under another name and drops the old one, each at once for others
    to see; the revision is written last. What only the missing table claims would be nobody's.
    """
    since = (tables for revision, tables in _TABLES_SINCE.items() if _has_had(layout, revision))
    wanted = [*_IN_EVERY_RELEASE, *(name for tables in since for name in tables)]
    return [name for name in wanted if name not in layout.columns]


def missing_columns(layout: Layout) -> list[str]:
    """Name the columns that the database's revision has and that are not there, or not shown.

    MySQL shows nobody the columns that may not be read: what they claim would be nobody's.
    """
    since = [of for revision, of in _COLUMNS_SINCE.items() if _has_had(layout, revision)]
    return [
        f"{table}.{item}"
        for table, item in since
        if table in layout.columns and item not in layout.columns[table]
    ]


def _has_had(layout: Layout, revision: str) -> bool:
    """Tell whether a database is of that revision, or of one after it."""
    schema = layout.schema
    return schema.is_known and _REVISIONS.index(revision) <= _REVISIONS.index(schema.revision)


def read_schema(connection: Connection, columns: Columns) -> Schema:
    """Read which revision the database says it has."""
    if _REVISION_TABLE not in columns:
        return Schema(NO_REVISION, is_known=False)
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    revision = NO_REVISION if found is None else plain(found)
    return Schema(revision, revision in KNOWN_REVISIONS)
