"""What hangs on what without a foreign key that says so, or otherwise than its key says.

Each entry names its place in MLflow 3.17 (`SqlAlchemyStore` is its tracking store on a database).
Left alone on purpose, as they tell where something living came from: `model_versions.run_id`,
`logged_models.source_run_id`, `assessments.run_id`, the tag by which a run names its parent run,
and `evaluation_dataset_records.source_id`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from sqlalchemy import ColumnElement, FromClause, and_, column, exists, literal, not_, select, table

from mlflow_cleanup.act.metadata.exactness import exactly
from mlflow_cleanup.model.target import DELETED


class Action(Enum):
    """What becomes of rows when the row they name goes."""

    GOES = "goes too"
    CLEARS = "stays, and names nothing any more"
    HOLDS = "keeps the entity, whatever else"
    REFUSES = "keeps the entity, unless it goes for another reason"


Only = Callable[[FromClause], ColumnElement[bool]]
"""Tells which rows of a table are meant."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A column of `table` that names rows of `parent` by `parent_column`.

    Only rows whose columns have the values of `fixed` do, and that `only` says; `needs` are the
    tables `only` looks at. `why`: told when it holds. `is_text`: the column has a number as text.
    """

    table: str
    column: str
    parent: str
    parent_column: str
    fixed: Mapping[str, str] = field(default_factory=dict)
    action: Action = Action.GOES
    only: Only | None = None
    needs: tuple[str, ...] = ()
    why: str = ""
    is_text: bool = False


def _stays(rows: FromClause) -> ColumnElement[bool]:
    """Tell a logged model's metrics from those of a model that is deleted, or gone altogether."""
    models = table("logged_models", column("model_id"), column("lifecycle_stage")).alias("owner")
    found = select(literal(1)).where(
        and_(
            models.c.model_id == rows.c.model_id,
            exactly(models.c.lifecycle_stage).is_distinct_from(DELETED),
        )
    )
    return exists(found.correlate_except(models))


def _is_used(rows: FromClause) -> ColumnElement[bool]:
    """Tell inputs of a run that is there from those that a removed run has left behind."""
    runs = table("runs", column("run_uuid")).alias("user")
    found = select(literal(1)).where(runs.c.run_uuid == rows.c.destination_id)
    is_there = exists(found.correlate_except(runs))
    return (rows.c.destination_type != "RUN") | is_there


def _not(only: Only) -> Only:
    return lambda rows: not_(only(rows))


def _is_active(rows: FromClause) -> ColumnElement[bool]:
    return exactly(rows.c.lifecycle_stage).is_distinct_from(DELETED)


def _associations(parent: str, key: str, name: str) -> list[Reference]:
    """Return both ends of `entity_associations`; the names are those of EntityAssociationType.

    An experiment's number is written as text there.
    """
    return [
        Reference(
            table="entity_associations",
            column=f"{end}_id",
            parent=parent,
            parent_column=key,
            fixed={f"{end}_type": name},
            is_text=parent == "experiments",
        )
        for end in ("source", "destination")
    ]


def _in_experiment(name: str, why: str, only: Only | None = None) -> Reference:
    """Return what keeps an experiment: an entity that went along with it would leave its files."""
    column = "experiment_id"
    return Reference(name, column, "experiments", column, action=Action.HOLDS, only=only, why=why)


KEYLESS: tuple[Reference, ...] = (
    # SqlAlchemyStore._log_inputs_impl and log_outputs write these; none has a foreign key.
    Reference("inputs", "destination_id", "runs", "run_uuid", {"destination_type": "RUN"}),
    Reference("inputs", "source_id", "runs", "run_uuid", {"source_type": "RUN_INPUT"}),
    Reference("inputs", "source_id", "runs", "run_uuid", {"source_type": "RUN_OUTPUT"}),
    *(
        Reference(
            "inputs", "destination_id", "logged_models", "model_id", {"destination_type": name}
        )
        for name in ("MODEL_INPUT", "MODEL_OUTPUT")
    ),
    # SqlInputTag declares a key, the migrations do not make it.
    Reference("input_tags", "input_uuid", "inputs", "input_uuid"),
    # A run logs datasets of its own experiment; another one's may name them all the same.
    Reference(
        table="inputs",
        column="source_id",
        parent="datasets",
        parent_column="dataset_uuid",
        fixed={"source_type": "DATASET"},
        action=Action.HOLDS,
        only=_is_used,
        needs=("runs",),
        why="a run that is still there uses a dataset of it",
    ),
    Reference(
        table="inputs",
        column="source_id",
        parent="datasets",
        parent_column="dataset_uuid",
        fixed={"source_type": "DATASET"},
        only=_not(_is_used),
        needs=("runs",),
    ),
    # SqlEntityAssociation has no keys at all.
    *_associations("runs", "run_uuid", "run"),
    *_associations("logged_models", "model_id", "model"),
    *_associations("trace_info", "request_id", "trace"),
    *_associations("experiments", "experiment_id", "experiment"),
    # SqlAlchemyStore._delete_review_queue_items_for_traces
    Reference("review_queue_items", "item_id", "trace_info", "request_id", {"item_type": "trace"}),
    # SqlAlchemyStore._hard_delete_experiment: an experiment's number is given to a new one again.
    *(
        Reference(name, "experiment_id", "experiments", "experiment_id")
        for name in (
            "sql_trace_metric_daily_rollups",
            "sql_span_cost_daily_rollups",
            "sql_assessment_daily_rollups",
            "sql_trace_rollup_rebuild_queue",
        )
    ),
    # SqlAlchemyStore.delete_scorer
    Reference(
        "endpoint_bindings", "resource_id", "scorers", "scorer_id", {"resource_type": "scorer"}
    ),
)

KEYED: tuple[Reference, ...] = (
    # Both of its keys cascade. The metrics are the model's: while it is active they stay, and as
    # `run_id` is part of their primary key, so does the run.
    Reference(
        table="logged_model_metrics",
        column="run_id",
        parent="runs",
        parent_column="run_uuid",
        action=Action.HOLDS,
        only=_stays,
        needs=("logged_models",),
        why="metrics of a logged model that is not deleted name it",
    ),
    Reference(
        table="logged_model_metrics",
        column="run_id",
        parent="runs",
        parent_column="run_uuid",
        only=_not(_stays),
        needs=("logged_models",),
    ),
    _in_experiment("runs", "a run in it is not deleted", _is_active),
    _in_experiment("runs", "runs of it are still there"),
    _in_experiment("logged_models", "a logged model in it is not deleted", _is_active),
    _in_experiment("logged_models", "logged models of it are still there"),
    _in_experiment("trace_info", "traces of it are still there"),
    # SqlGatewayGuardrailConfig: an endpoint that is in use would lose what guards it.
    Reference(
        table="guardrail_configs",
        column="guardrail_id",
        parent="guardrails",
        parent_column="guardrail_id",
        action=Action.HOLDS,
        why="a gateway endpoint is guarded by a scorer of it",
    ),
)
"""Foreign keys, of one column each, that do not mean what ON DELETE says."""

PARTS: frozenset[tuple[str, str]] = frozenset(
    {
        ("metrics", "runs"),
        ("latest_metrics", "runs"),
        ("params", "runs"),
        ("tags", "runs"),
        ("experiment_tags", "experiments"),
        # In MLflow 2.14 and before its key does not cascade.
        ("datasets", "experiments"),
        # A guardrail that no endpoint has is nothing without its scorer.
        ("guardrails", "scorer_versions"),
    }
)
"""Tables and what they name without CASCADE, whose rows go all the same, as MLflow's store removes
them itself. Of any other table that says no word nobody knows what its rows are worth."""
