"""Reading every live claim: who says "these bytes are mine"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Connection,
    String,
    and_,
    case,
    column,
    func,
    select,
    table,
)

from mlflow_cleanup.backends.sql import exact, is_run_id
from mlflow_cleanup.model.batches import batches
from mlflow_cleanup.model.claim import Claim, ClaimIndex, Crowd
from mlflow_cleanup.model.entity import Entity, EntityKind, run
from mlflow_cleanup.model.shape import ARTIFACTS
from mlflow_cleanup.model.verdict import Gone
from mlflow_cleanup.observe.members import Members, is_live
from mlflow_cleanup.observe.places import Places, is_plain
from mlflow_cleanup.observe.schema import Layout, missing_columns, missing_tables
from mlflow_cleanup.observe.texts import (
    OF_MODEL,
    OF_RUN,
    can_be_asked_for,
    reference,
    strings,
    text_of,
    version_label,
)

KEEP_TAG = "mlflow-cleanup.keep"
"""The tag by which an operator pins a run or an experiment; any value but "false" keeps."""

_DELETED_STAGE = "Deleted_Internal"  # what MLflow writes into a deleted version's current_stage
_MEMBER_TABLES = (
    (EntityKind.RUN, "runs", "run_uuid"),
    (EntityKind.LOGGED_MODEL, "logged_models", "model_id"),
    (EntityKind.TRACE, "trace_info", "request_id"),
)
"""What an experiment's pin keeps."""

_LIVE = is_live(column("lifecycle_stage"))

_MOST_FOLLOWED = 50  # references from version to version; a circle of them ends there

_NEEDED = {
    "trace_info": frozenset({"request_id", "experiment_id"}),
    "tags": frozenset({"run_uuid", "key", "value"}),
    "experiments": frozenset({"experiment_id", "artifact_location", "lifecycle_stage"}),
    "experiment_tags": frozenset({"experiment_id", "key", "value"}),
    "logged_models": frozenset(
        {"model_id", "artifact_location", "lifecycle_stage", "experiment_id", "source_run_id"}
    ),
    "model_versions": frozenset({"name", "version", "source", "current_stage"}),
    "trace_tags": frozenset({"request_id", "key", "value"}),
    "trace_request_metadata": frozenset({"request_id", "key", "value"}),
    "datasets": frozenset({"dataset_uuid", "name", "dataset_source"}),
    "inputs": frozenset({"source_type", "source_id", "destination_type", "destination_id"}),
}
"""The columns that each claiming table has in every known schema revision."""

_ROWS_AT_ONCE = 1000  # a call for each row would take as long as reading it

_REFERRED = {
    OF_RUN: ("runs", "run_uuid", "artifact_uri"),
    OF_MODEL: ("logged_models", "model_id", "artifact_location"),
}
"""Where a reference's bytes are named, by its scheme."""

Row = Any
_Versions = dict[tuple[str, str], list[Row]]
_Rows = Iterator[Row]  # which columns a row has is known where it is asked for


@dataclass(frozen=True, slots=True)
class Claimed:
    """What was read of claims, their texts not yet resolved to paths.

    Each kind is resolved once, and let go of on the way: there may be as many as runs.
    """

    claims: list[Claim]
    soft: list[Claim]
    containers: list[Claim]
    pinned: frozenset[Entity]
    problems: tuple[str, ...]
    crowd: tuple[tuple[str, str], ...] = ()
    """Locations of experiments with live runs where MLflow puts them, each with one of them."""

    def index(
        self, places: Places, fold: Callable[[str], str], active: AbstractSet[str]
    ) -> ClaimIndex:
        """Resolve every text to the paths that it may mean; looks at the file system.

        `active` are the ids of all live runs.
        """
        linked = (
            Claim(run(id_), text, places.claimed(text))
            for base, _ in self.crowd
            for id_ in places.linked_runs(base)
            if id_ in active
            for text in (f"{base}/{id_}/{ARTIFACTS}",)
        )
        return ClaimIndex(
            claims=chain(resolved(self.claims, places), linked),
            containers=resolved(self.containers, places),
            pinned=self.pinned,
            fold=fold,
            crowd=Crowd(
                {path: id_ for base, id_ in self.crowd for path in places.bases(base)}, active
            ),
        )

    def soft_index(self, places: Places, fold: Callable[[str], str]) -> ClaimIndex:
        """Do the same for the claims of models whose run was deleted."""
        return ClaimIndex(resolved(self.soft, places), fold=fold)


def resolved(claims: list[Claim], places: Places) -> Iterator[Claim]:
    """Take claims out of the list, the first one first, with the paths that each text may mean."""
    claims.reverse()
    while claims:
        claim = claims.pop()
        yield Claim(claim.holder, claim.text, places.claimed(claim.text))


def read_claims(reader: Reader, more: Iterable[Claim] = ()) -> Claimed:
    """Read the live claims, `more` among them; quick, as a writer may be waiting."""
    if problems := reader.problems():
        return Claimed([], [], [], frozenset(), tuple(problems))
    pinned = reader.pins()
    return Claimed(
        claims=list(chain(reader.claims(), reader.held(pinned), reader.completed(more))),
        soft=list(reader.soft_claims()),
        containers=[*reader.experiments(), *reader.datasets()],
        pinned=pinned,
        problems=(),
        crowd=tuple(reader.crowd()),
    )


class Reader:
    """One pass over the tables that hold claims, each only as far as the schema has it."""

    def __init__(self, connection: Connection, layout: Layout) -> None:
        self._connection, self._layout = connection, layout
        self._members = Members(connection, layout)
        self._places_of: dict[tuple[str, str], list[str]] = {}
        self._asked_for: set[tuple[str, str]] = set()

    def claims(self) -> Iterator[Claim]:
        """Read the claims of everything that holds bytes of its own."""
        yield from self._runs()
        yield from self._logged_models()
        yield from self.model_versions()
        yield from self._traces()

    def soft_claims(self) -> Iterator[Claim]:
        """Read the claims of active models of which only the run was deleted."""
        for row, gone in self._members.models():
            if gone is Gone.RUN_DELETED:
                yield self._claim(EntityKind.LOGGED_MODEL, row.model_id, row.artifact_location)

    def completed(self, claims: Iterable[Claim]) -> Iterator[Claim]:
        """Follow the claims of another registry to the runs and models of this database."""
        claims = list(claims)
        self._look_up(claim.text for claim in claims)
        for claim in claims:
            yield claim
            for text in self._referred(claim.text):
                yield self._claim(claim.holder.kind, claim.holder.id, text)

    def problems(self) -> list[str]:
        """Name the tables, and the columns of them, without which claims would be missed."""
        present = self._layout.columns
        missing = [f"table {name} is missing" for name in missing_tables(self._layout)]
        missing += [f"column {name} is missing" for name in missing_columns(self._layout)]
        return missing + [
            f"table {name} lacks {', '.join(sorted(lacking))}"
            for name, needed in _NEEDED.items()
            if name in present and (lacking := needed - present[name])
        ]

    def experiments(self) -> Iterator[Claim]:
        """Read the places of live experiments, which hold those of others."""
        for id_, place in self._select(
            "experiments", "experiment_id", "artifact_location", where=_LIVE
        ):
            yield self._claim(EntityKind.EXPERIMENT, id_, place)

    def held(self, pinned: frozenset[Entity]) -> Iterator[Claim]:
        """Read the places of what is pinned: everything in them stays."""
        runs = [entity.id for entity in pinned if entity.kind is EntityKind.RUN]
        for some in batches(filter(can_be_asked_for, runs)):
            same = column("run_uuid").in_(some)
            for id_, uri in self._select("runs", "run_uuid", "artifact_uri", where=same):
                yield self._claim(EntityKind.RUN, id_, uri)
        for id_, place in self._select("experiments", "experiment_id", "artifact_location"):
            if Entity(EntityKind.EXPERIMENT, str(id_)) in pinned:
                yield self._claim(EntityKind.EXPERIMENT, id_, place)

    def datasets(self) -> Iterator[Claim]:
        """Read where the datasets lie that live runs used: they can be another run's artifacts."""
        if not self._layout.has("inputs", "source_type", "source_id", "destination_id"):
            return
        if not self._layout.has("datasets", "dataset_uuid", "name", "dataset_source"):
            return
        used = table("inputs", *map(column, ("source_type", "source_id", "destination_id")))
        data = table("datasets", *map(column, ("dataset_uuid", "name", "dataset_source")))
        by = table("runs", column("run_uuid"), column("lifecycle_stage"))
        query = (
            select(data.c.name, data.c.dataset_source)
            .distinct()
            .select_from(used)
            .join(data, data.c.dataset_uuid == used.c.source_id)
            .join(by, by.c.run_uuid == used.c.destination_id)
            .where(used.c.source_type == "DATASET")
            .where(is_live(by.c.lifecycle_stage))
        )
        rows = self._connection.execute(query)
        named = [(name, text) for name, source in rows for text in strings(text_of(source))]
        self._look_up(text for _, text in named)
        for name, text in named:
            yield self._claim(EntityKind.DATASET, name, text)
            for referred in self._referred(text):
                yield self._claim(EntityKind.DATASET, name, referred)

    def pins(self) -> frozenset[Entity]:
        """Read what an operator pinned: runs with their models, experiments with all in them."""
        is_pin = and_(
            column("key") == KEEP_TAG,
            exact(func.lower(func.coalesce(column("value"), ""))) != "false",
        )
        pinned = {
            Entity(EntityKind.RUN, str(row[0]))
            for row in self._select("tags", "run_uuid", where=is_pin)
        }
        runs = {entity.id for entity in pinned}
        for (experiment,) in self._select("experiment_tags", "experiment_id", where=is_pin):
            if not can_be_asked_for(experiment):
                continue
            pinned.add(Entity(EntityKind.EXPERIMENT, str(experiment)))
            inside = column("experiment_id") == experiment
            for kind, name, id_ in _MEMBER_TABLES:
                pinned.update(
                    Entity(kind, str(row[0])) for row in self._select(name, id_, where=inside)
                )
        models = self._select("logged_models", "model_id", "source_run_id")
        pinned.update(
            Entity(EntityKind.LOGGED_MODEL, str(id_)) for id_, run_id in models if run_id in runs
        )
        return frozenset(pinned)

    def crowd(self) -> Iterator[tuple[str, str]]:
        """Name where experiments lie that have live runs, as far as that is read plainly.

        Each with one of its runs.
        """
        places = self._experiment_places
        some: ColumnElement[Any] = func.min(column("run_uuid"))
        query = select(column("experiment_id"), some).select_from(table("runs"))
        for id_, run_id in self._connection.execute(
            query.where(_LIVE).group_by(column("experiment_id"))
        ):
            if is_plain(places.get(str(id_), "")):
                yield places[str(id_)], str(run_id)

    def _runs(self) -> Iterator[Claim]:
        """Read the live runs that are not simply where MLflow puts them: see `crowd`."""
        runs = table("runs", *map(_text_column, ("run_uuid", "artifact_uri", "lifecycle_stage")))
        runs.append_column(column("experiment_id"))
        of = table("experiments", column("experiment_id"), _text_column("artifact_location"))
        usual = of.c.artifact_location + "/" + runs.c.run_uuid + f"/{ARTIFACTS}"
        is_usual = and_(
            exact(runs.c.artifact_uri) == usual,
            is_run_id(runs.c.run_uuid),
        )
        query = (
            select(runs.c.run_uuid, runs.c.artifact_uri)
            .select_from(runs)
            .outerjoin(of, of.c.experiment_id == runs.c.experiment_id)
            .where(is_live(runs.c.lifecycle_stage))
        )
        odd = [id_ for id_, text in self._experiment_places.items() if not is_plain(text)]
        unusual = query.where(case((is_usual, 0), else_=1) == 1)
        elsewhere = [query.where(is_usual, runs.c.experiment_id.in_(some)) for some in batches(odd)]
        for one in (unusual, *elsewhere):
            for some in self._connection.execute(one).partitions(_ROWS_AT_ONCE):
                for id_, uri in some:
                    yield self._claim(EntityKind.RUN, id_, uri)

    @cached_property
    def _experiment_places(self) -> dict[str, str]:
        rows = self._select("experiments", "experiment_id", "artifact_location")
        return {str(id_): place for id_, place in rows if isinstance(place, str)}

    def _logged_models(self) -> Iterator[Claim]:
        for row, gone in self._members.models():
            if gone is None:
                yield self._claim(EntityKind.LOGGED_MODEL, row.model_id, row.artifact_location)

    def model_versions(self) -> Iterator[Claim]:
        """Read the claims of registered model versions that are not deleted."""
        columns = ["name", "version", "source", "current_stage"]
        optional = ("storage_location", "workspace")
        columns += [item for item in optional if self._layout.has("model_versions", item)]
        rows = list(self._select("model_versions", *columns))
        self._look_up(text_of(row.source) for row in rows)
        versions: _Versions = {}
        for row in rows:
            # Workspaces may each have a version of the same name and number.
            versions.setdefault((text_of(row.name), str(row.version)), []).append(row)
        for row in rows:
            if row.current_stage == _DELETED_STAGE:
                continue
            label = version_label(row.name, row.version, getattr(row, "workspace", None))
            for text in self._version_texts(row, versions):
                yield self._claim(EntityKind.MODEL_VERSION, label, text)

    def _version_texts(self, row: Row, versions: _Versions) -> Iterator[object]:
        """Follow a version's source to every text that says where its bytes are."""
        pending, followed = [row], 0
        while pending and followed < _MOST_FOLLOWED:
            row, followed = pending.pop(), followed + 1
            yield row.source
            yield getattr(row, "storage_location", None)
            source = text_of(row.source)
            yield from self._referred(source)
            if source.startswith("models:/"):
                name, _, version = source.removeprefix("models:/").strip("/").rpartition("/")
                pending += versions.get((name, version), [])

    def _referred(self, source: str) -> Iterator[object]:
        """Resolve `models:/m-…` and `runs:/<id>/…`, whatever state the model or run is in."""
        scheme, id_, inside = reference(source)
        for place in self._places_of.get((scheme, _folded(id_)), ()):
            yield f"{place}/{inside}" if inside and scheme == OF_RUN else place

    def _look_up(self, texts: Iterable[str]) -> None:
        """Read where referred runs and models lie, many at a time: writers may be waiting."""
        wanted: dict[str, set[str]] = {OF_RUN: set(), OF_MODEL: set()}
        for text in texts:
            scheme, id_, _ = reference(text)
            if scheme and (scheme, id_) not in self._asked_for and can_be_asked_for(id_):
                wanted[scheme].add(id_)
                self._asked_for.add((scheme, id_))
        for scheme, (name, key, place) in _REFERRED.items():
            for some in batches(wanted[scheme]):
                for id_, text in self._select(name, key, place, where=column(key).in_(some)):
                    found = self._places_of.setdefault((scheme, _folded(str(id_))), [])
                    found.append(text_of(text))

    def _traces(self) -> Iterator[Claim]:
        for row, gone in self._members.traces():
            if gone is None:
                yield self._claim(EntityKind.TRACE, row.request_id, row.place)

    def _claim(self, kind: EntityKind, id_: object, text: object) -> Claim:
        return Claim(Entity(kind, str(id_)), text_of(text))

    def _select(self, name: str, *columns: str, where: ColumnElement[bool] | None = None) -> _Rows:
        if not self._layout.has(name, *columns):
            return
        wanted: list[ColumnElement[Any]] = [column(item) for item in columns]
        query = select(*wanted).select_from(table(name))
        if where is not None:
            query = query.where(where)
        for some in self._connection.execute(query).partitions(_ROWS_AT_ONCE):
            yield from some


def _folded(id_: str) -> str:
    """Return what is the same for ids that a server may think the same, and MLflow with it.

    On MySQL a run is found by its id in capital letters, or with blanks behind it.
    """
    return id_.rstrip(" ").casefold()


def _text_column(name: str) -> ColumnClause[str]:
    return column(name, String)
