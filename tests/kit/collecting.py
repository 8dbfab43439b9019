"""Collections in a world of a story, as `mlflow-cleanup gc` does them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from mlflow_cleanup.cli.collecting import here
from mlflow_cleanup.cycle.collection import Collection, look_only
from mlflow_cleanup.cycle.selection import Selected
from mlflow_cleanup.model.collected import Collected, Fate
from mlflow_cleanup.model.deleted import Selection
from mlflow_cleanup.model.plan import Judged, Step
from mlflow_cleanup.report.collected import Tally
from tests.kit.world import Run, World

REMOVED, FILES_REMOVED, HELD = Fate.REMOVED, Fate.FILES_REMOVED, Fate.HELD
KEPT, FAILED, ABSENT = Fate.KEPT, Fate.FAILED, Fate.ABSENT

KEYS = {
    "run": ("runs", "run_uuid"),
    "logged model": ("logged_models", "model_id"),
    "trace": ("trace_info", "request_id"),
    "experiment": ("experiments", "experiment_id"),
    "job": ("jobs", "id"),
}


def seen_world(directory: Path) -> Iterator[World]:
    """Make a world with no retention, seen once already, with one live run; close it at last."""
    made = World.make(directory / "home", retention=timedelta(0))
    made.run({"large": 1_000})
    made.cycle()
    yield made
    made.close()


def nothing() -> None:
    """Let nothing happen."""


@dataclass
class Told:
    """What a collection told, in its order, and its sum."""

    tally: Tally
    one_by_one: list[Collected] = field(default_factory=list)

    def fates(self, *what: Run | str) -> list[Fate]:
        """Say what became of entities, in the order in which it was told."""
        ids = [id_of(one) for one in what]
        return [told.fate for told in self.one_by_one if told.target.id in ids]

    def why(self, what: Run | str) -> str:
        """Say why one entity stays; it was told once."""
        (told,) = (told for told in self.one_by_one if told.target.id == id_of(what))
        return told.reason

    @property
    def every_fate(self) -> dict[str, Fate]:
        """What became of each entity, by id."""
        return {told.target.id: told.fate for told in self.one_by_one}


def id_of(what: Run | str) -> str:
    """Return a run's id, or an id as it is."""
    return what.id if isinstance(what, Run) else what


def collect(
    world: World,
    *,
    files: bool = True,
    rows: bool = True,
    before_rows: Callable[[], object] = nothing,
    of: str | None = None,
    **selection: Any,  # noqa: ANN401 - the fields' own types
) -> Told:
    """Remove what is deleted, as `gc` does it where no monitor runs.

    `before_rows` happens when the files of a page, if it has any entity, are gone and no row is;
    only of the page that has one entity where it is named with `of`.
    """
    told = Told(Tally())
    ready = here(world.workplace, Selection(**selection), told.tally)

    def take(judged: Sequence[Judged], ids: Sequence[str]) -> Iterable[Step]:
        yield from ready.take(judged, ids)
        if ids and (of is None or of in ids):
            before_rows()

    def tell(one: Collected) -> None:
        told.one_by_one.append(one)
        told.tally.add(one)

    ready.collection.remove(tell, take if files else None, with_rows=rows)
    ready.remember(told.tally)
    return told


def shown(world: World, **selection: Any) -> dict[str, str | None]:  # noqa: ANN401 - likewise
    """Say of each entity why it would stay (None: it would go), as `gc --dry-run` does."""
    sight = look_only(world.workplace)
    selected = Selected(world.workplace, Selection(**selection), sight.now)
    _, considered = Collection(world.workplace, sight, selected).plan()
    return {one.row.target.id: one.stays for one in considered}


def has_row(world: World, what: Run | str, kind: str = "run") -> bool:
    """Tell whether an entity's row is there."""
    name, key = KEYS[kind]
    return bool(world.db.execute(f"SELECT 1 FROM {name} WHERE {key} = ?", id_of(what)))


def rows(world: World, *runs: Run) -> list[bool]:
    """Tell for each run whether its row is there."""
    return [has_row(world, run) for run in runs]


def is_whole(world: World, run: Run, size: int = 10) -> bool:
    """Tell whether a run has its row and all of its bytes."""
    return has_row(world, run) and world.bytes_at(run) == size


def is_gone(world: World, run: Run) -> bool:
    """Tell whether nothing at all is left of a run: row, files, directory, trash."""
    return not (
        has_row(world, run)
        or run.place.parent.exists()
        or trashed_bytes(world, run)
        or run_rows(run, world)
    )


def trashed_bytes(world: World, run: Run) -> int:
    """Count the bytes of a run in the trash, where what is purged at once has no note of origin."""
    ids = {item.id for item in world.items(run)}
    return sum(
        len(data) for one in world.trash() if one.item_id in ids for data in one.files.values()
    )


def run_rows(run: Run, world: World) -> int:
    """Count the rows that hang on a run."""
    names = ("tags", "params", "metrics", "latest_metrics")
    return sum(
        len(world.db.execute(f"SELECT 1 FROM {name} WHERE run_uuid = ?", run.id)) for name in names
    )


def deleted_experiment(world: World, id_: str, place: str | None = None) -> str:
    """Add an experiment that is deleted, some time ago."""
    place = place or f"mlflow-artifacts:/{id_}"
    now_ms = int(world.clock.wall_s * 1000)
    return world.db.experiment(id_, place, stage="deleted", created_ms=now_ms)


def model(world: World, id_: str, *, experiment: str = "0", stage: str = "active") -> Path:
    """Add a logged model of 10 bytes; returns its place."""
    world.db.logged_model(
        id_, f"mlflow-artifacts:/{experiment}/models/{id_}/artifacts", stage=stage
    )
    world.db.execute(
        "UPDATE logged_models SET experiment_id = ?, last_updated_timestamp_ms = ? "
        "WHERE model_id = ?",
        int(experiment),
        int(world.clock.wall_s * 1000),
        id_,
    )
    place = world.root / experiment / "models" / id_ / "artifacts"
    world.write(place, "model.bin", 10)
    return place


def trace(world: World, id_: str, *, experiment: str = "0") -> Path:
    """Add a trace of 10 bytes; returns its place."""
    world.db.trace(id_, f"mlflow-artifacts:/{experiment}/traces/{id_}/artifacts")
    world.db.execute(
        "UPDATE trace_info SET experiment_id = ? WHERE request_id = ?", int(experiment), id_
    )
    place = world.root / experiment / "traces" / id_ / "artifacts"
    world.write(place, "traces.json", 10)
    return place


def job(world: World, id_: str, status: int, workspace: str = "default") -> None:
    """Add a job that was made now; 1 is running, 2 to 5 have ended."""
    world.db.insert(
        "jobs",
        id=id_,
        creation_time=int(world.clock.wall_s * 1000),
        job_name="telling job",
        params="{}",
        status=status,
        retry_count=0,
        last_update_time=0,
        workspace=workspace,
    )
