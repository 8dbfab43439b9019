from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_cleanup.decide.usage import ORDERS, Facts, Sums, attribute, wanted_ids
from mlflow_cleanup.model.entity import Entity, EntityKind
from mlflow_cleanup.model.inventory import Inventory, Place
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.usage import By, Kind, Owner, Owners, Portion, RootContent, Row
from tests.kit.tracking_db import run_id
from tests.kit.values import ROOT, item

MODEL, TRACE = "m-" + "a" * 32, "tr-" + "b" * 32
ADA = Owner("1", run_id(1), "ada")


def place(
    id_: str, *, size: Size, marked: Size | None = None, above: tuple[str, ...] = ("1",)
) -> Place:
    """Make a place of an entity, where MLflow puts it unless told otherwise."""
    kind = EntityKind.RUN
    folder: tuple[str, ...] = ()
    if id_ == MODEL:
        kind, folder = EntityKind.LOGGED_MODEL, ("models",)
    elif id_ == TRACE:
        kind, folder = EntityKind.TRACE, ("traces",)
    inside = (*above, *folder, id_, "artifacts")
    return Place(Entity(kind, id_), inside, above, False, size, 1.0, marked or Size())


def content(*places: Place, **more: Any) -> RootContent:  # noqa: ANN401 - the fields' own types
    """Make a root's content of places and other bytes."""
    foreign = more.pop("foreign", {})
    by_inside = {one.inside: one for one in places}
    total = sum((one.size for one in places), sum(foreign.values(), Size()))
    return RootContent(Inventory(ROOT, by_inside, foreign, total), **more)


def facts(**more: Any) -> Facts:  # noqa: ANN401 - the fields' own types
    """Say what is known: run 1 is Ada's."""
    known = {
        "owners": Owners({run_id(1): ADA}),
        "orphans": frozenset(),
        "experiments": frozenset(),
        "items": {},
    }
    return Facts(**{**known, **more})


def portions(root: RootContent, known: Facts | None = None) -> list[Portion]:
    """Attribute one root; what has no files is left out."""
    return [one for one in attribute([root], known or facts()) if one.files]


def test_each_kind_of_entity_is_a_kind_of_bytes() -> None:
    """Runs, models and traces, each with its owner as far as that is known."""
    root = content(
        place(run_id(1), size=Size(1, 10)),
        place(MODEL, size=Size(2, 20)),
        place(TRACE, size=Size(3, 30)),
    )
    owners = Owners({run_id(1): ADA, MODEL: ADA})

    assert portions(root, facts(owners=owners)) == [
        (Kind.RUN, ADA, 1, 10),
        (Kind.MODEL, ADA, 2, 20),
        (Kind.TRACE, Owner("1"), 3, 30),
    ]


def test_checkpoints_are_parted_from_the_rest() -> None:
    """What was marked is a kind of its own, with the same owner."""
    root = content(place(run_id(1), size=Size(5, 500), marked=Size(2, 400)))

    assert portions(root) == [(Kind.CHECKPOINT, ADA, 2, 400), (Kind.RUN, ADA, 3, 100)]


def test_run_without_a_row_is_told_by_its_id() -> None:
    """Whose it was is not known, where it lies and what it is called are."""
    lost = place(run_id(9), size=Size(1, 10))
    spot = (ROOT, lost.inside)

    assert portions(content(lost)) == [(Kind.RUN, Owner("1", run_id(9)), 1, 10)]
    assert portions(content(lost), facts(orphans={spot})) == [
        (Kind.ORPHANED, Owner("1", run_id(9)), 1, 10)
    ]


def test_orphan_is_of_one_kind_whatever_its_names() -> None:
    """A checkpoint that nobody claims is orphaned."""
    lost = place(run_id(9), size=Size(5, 500), marked=Size(2, 400))

    found = portions(content(lost), facts(orphans={(ROOT, lost.inside)}))

    assert [one.kind for one in found] == [Kind.ORPHANED]


@pytest.mark.parametrize(
    ("above", "is_known", "kind"),
    [
        (("1",), False, Kind.RUN),
        (("workspaces", "w", "1"), False, Kind.RUN),
        (("backup", "1"), False, Kind.FOREIGN),
        (("backup", "1"), True, Kind.RUN),
        ((), False, Kind.FOREIGN),
        ((), True, Kind.RUN),
    ],
)
def test_copy_kept_elsewhere_is_foreign(
    above: tuple[str, ...], kind: Kind, *, is_known: bool
) -> None:
    """A run's directory counts where MLflow puts it, or where an experiment says that it does."""
    root = content(place(run_id(1), size=Size(1, 10), above=above))
    known = facts(experiments={(ROOT, above)} if is_known else frozenset())

    assert [one.kind for one in portions(root, known)] == [kind]


def test_trash_belongs_to_the_runs_that_it_came_from() -> None:
    """As MLflow says now, else as it said when it was taken; what no item has is nobody's."""
    held = {one.id: one for one in (item(1), item(2, experiment_id="5"))}
    trash = {"item-1": Size(1, 10), "item-2": Size(1, 20), "odd": Size(1, 40)}

    assert portions(content(trash=trash, own=Size(1, 80)), facts(items=held)) == [
        (Kind.QUARANTINED, ADA, 1, 10),
        (Kind.QUARANTINED, Owner("5", run_id(2)), 1, 20),
        (Kind.QUARANTINED, Owner(), 1, 40),
        (Kind.OWN, Owner(), 1, 80),
    ]


def test_what_has_to_be_asked_for_is_what_lies_there() -> None:
    """Listed or in the trash, by kind."""
    wanted = wanted_ids(
        [content(place(run_id(1), size=Size()), place(MODEL, size=Size()))], [item(2)]
    )

    assert wanted[EntityKind.RUN] == {run_id(1), run_id(2)}
    assert wanted[EntityKind.LOGGED_MODEL] == {MODEL}
    assert wanted[EntityKind.TRACE] == frozenset()


SIZES = st.builds(
    lambda files, size: Size(files, size if files else 0), st.integers(0, 9), st.integers(0, 999)
)


@st.composite
def contents(draw: st.DrawFn) -> RootContent:
    """Draw what a root holds: places of some entities, checkpoints in them, and all the rest."""
    ids = draw(st.lists(st.sampled_from([*map(run_id, range(6)), MODEL, TRACE]), unique=True))
    places = []
    for id_ in ids:
        marked, rest = draw(SIZES), draw(SIZES)
        above = draw(st.sampled_from([("1",), ("2",), ("backup", "1"), ()]))
        places.append(place(id_, size=marked + rest, marked=marked, above=above))
    some = st.dictionaries(st.sampled_from(["item-1", "item-2", "odd"]), SIZES)
    return content(*places, foreign=draw(some), trash=draw(some), own=draw(SIZES))


@given(
    roots=st.lists(contents(), max_size=2),
    lost=st.sets(st.integers(0, 5)),
    most=st.integers(0, 4),
    order=st.sampled_from(ORDERS),
)
def test_every_table_adds_up_to_what_was_listed(
    roots: list[RootContent], lost: set[int], most: int, order: str
) -> None:
    """Whatever is there and known, each byte is in one row of each table, or in its rest."""
    orphans = {(ROOT, ("1", run_id(number), "artifacts")) for number in lost}
    known = facts(orphans=orphans, items={one.id: one for one in (item(1), item(2))})
    sums = Sums(By)
    sums.add(attribute(roots, known))
    total = sum((root.total for root in roots), Size())

    for by in By:
        table = sums.table(by, order, most)
        shown = sum((Size(row.files, row.bytes) for row in table.rows), Size())
        assert shown + table.rest == total
        assert len({row.key for row in table.rows}) == len(table.rows)
        assert all(row.checkpoint_bytes <= row.bytes for row in table.rows)
        assert not most or len(table.rows) <= most


def rows(order: str, *given_: Portion, by: By = By.USER, most: int = 0) -> Iterable[Row]:
    """Add portions up and return the rows."""
    sums = Sums([by])
    sums.add(given_)
    return sums.table(by, order, most).rows


def test_rows_come_in_the_order_asked_for() -> None:
    """The largest, the most files, or by key, with what has none last."""
    some = [
        Portion(Kind.RUN, Owner(None, None, "b"), 1, 30),
        Portion(Kind.RUN, Owner(), 2, 20),
        Portion(Kind.RUN, Owner(None, None, "a"), 3, 10),
    ]

    assert [row.key for row in rows("bytes", *some)] == ["b", None, "a"]
    assert [row.key for row in rows("files", *some)] == ["a", None, "b"]
    assert [row.key for row in rows("key", *some)] == ["a", "b", None]


def test_runs_are_shown_with_experiment_and_user() -> None:
    """A run's models and traces count as the run's."""
    some = [Portion(Kind.RUN, ADA, 1, 10), Portion(Kind.CHECKPOINT, ADA, 1, 5)]

    assert rows("bytes", *some, by=By.RUN) == (Row(run_id(1), 2, 15, 5, None, "1", "ada"),)
