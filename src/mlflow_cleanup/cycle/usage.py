"""Where the bytes are: every root is listed, with our own directory, and MLflow asked whose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from mlflow_cleanup.cycle.survey import its_own, list_roots, see
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.decide.sweep import Spot, make_sweep_plan
from mlflow_cleanup.decide.usage import Facts, Sums, attribute, wanted_ids
from mlflow_cleanup.errors import CleanupError
from mlflow_cleanup.ledger.items import HELD, OPEN
from mlflow_cleanup.model.globs import files_and_directories
from mlflow_cleanup.model.inventory import Inventory, Unseen
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.usage import By, Owners, RootContent, Table, Usage
from mlflow_cleanup.model.verdict import Gone
from mlflow_cleanup.observe.listing import take_inventory
from mlflow_cleanup.stores.base import ArtifactStore


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be shown: by what, in which order, and how many rows (0: all of them).

    `checkpoints` are patterns of file names, and, with a `/` at the end, of directories' names.
    """

    by: tuple[By, ...]
    order: str
    most: int
    checkpoints: tuple[str, ...]


def measure_usage(workplace: Workplace, question: Question) -> Usage:
    """Say where the bytes under the roots are, and whose; reads only. Raises TrackingUnreadable."""
    inventories = _list(workplace, question.checkpoints)
    contents = tuple(_with_own(workplace, inventory) for inventory in inventories)
    now = workplace.ledger.peek(workplace.clock())
    judged = _judge(workplace, inventories, now)
    items = {item.id: item for item in workplace.ledger.items.in_state(*HELD, *OPEN)}
    owners = workplace.tracking.owners(wanted_ids(contents, items.values()))
    facts = Facts(owners, judged.orphans, judged.experiments, items)
    sums = Sums(question.by)
    sums.add(attribute(contents, facts))
    tables = {by: sums.table(by, question.order, question.most) for by in question.by}
    return Usage(
        made_at=now.at,
        database=workplace.settings.database.name,
        roots=tuple(
            replace(content, problem=judged.problems.get(content.inventory.root))
            for content in contents
        ),
        tables={by: _named(by, table, owners, workplace) for by, table in tables.items()},
    )


def _list(workplace: Workplace, checkpoints: Iterable[str]) -> tuple[Inventory, ...]:
    files, directories = files_and_directories(checkpoints)

    def take(store: ArtifactStore) -> Inventory:
        listed = its_own(workplace, store.root, store.listing(files, workplace.unhurried))
        return take_inventory(store.root, listed, directories)

    return list_roots(workplace, workplace.unhurried, take)


def _with_own(workplace: Workplace, inventory: Inventory) -> RootContent:
    """Add what our own directory under a root holds."""
    if any(one.path == inventory.root for one in inventory.unseen):
        return RootContent(inventory)
    trash: dict[str, Size] = {}
    own, unseen = Size(), []
    try:
        for found in workplace.store_of(inventory.root).own_listing(workplace.unhurried):
            if isinstance(found, Unseen):
                unseen.append(found)
            elif found.inside:
                trash[found.inside[0]] = trash.get(found.inside[0], Size()) + found.size
            else:
                own += found.size
    except CleanupError as error:
        unseen.append(Unseen(inventory.root, str(error)))
    return RootContent(inventory, trash, own, tuple(unseen))


class _Judged(NamedTuple):
    """What is needed of a plan's ground, which itself may be as large as the database."""

    orphans: frozenset[Spot]
    experiments: frozenset[Spot]
    problems: Mapping[str, str]


def _judge(workplace: Workplace, inventories: tuple[Inventory, ...], now: Moment) -> _Judged:
    """Find the places that `plan` calls orphans, and what it says of the roots."""
    settings = workplace.settings
    view, identity = see(workplace, inventories, now)
    plan = make_sweep_plan(view, settings.terms, settings.database.name, identity)
    orphans = frozenset(
        (item.place.root, item.place.inside)
        for item in (*plan.take, *plan.keep)
        if item.candidate.gone is Gone.ORPHAN
    )
    return _Judged(orphans, view.experiments, view.problems)


def _named(by: By, table: Table, owners: Owners, workplace: Workplace) -> Table:
    """Add the names of the experiments and runs that are shown."""
    if by is By.EXPERIMENT:
        names = dict(owners.experiments)
    elif by is By.RUN:
        shown = [row.key for row in table.rows if row.key is not None]
        found = workplace.tracking.rows(shown)
        names = {id_: row.name for id_, row in found.items() if row.name}
    else:
        return table
    rows = tuple(replace(row, name=names.get(row.key or "")) for row in table.rows)
    return replace(table, rows=rows)
