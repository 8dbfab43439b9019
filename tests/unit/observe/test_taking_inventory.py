from __future__ import annotations

import random

import pytest

from mlflow_cleanup.model.entity import Entity, EntityKind
from mlflow_cleanup.model.inventory import Inventory, Listed, Unseen
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.observe.listing import take_inventory

RUN, OTHER = "a" * 32, "b" * 32
MODEL, TRACE = f"m-{RUN}", f"tr-{RUN}"


def listed(path: str, files: int = 1, size: int = 10, **more: float) -> Listed:
    """List a directory by its path."""
    newest = more.get("newest", 100.0)
    inside = tuple(path.split("/")) if path else ()
    return Listed(inside, files, size, newest, has_directories=bool(more.get("below", 0)))


def sizes(inventory: Inventory) -> dict[str, int]:
    """Return the bytes of every place by its path."""
    return {"/".join(inside): place.size.bytes for inside, place in inventory.places.items()}


@pytest.mark.parametrize(
    ("path", "entity", "above"),
    [
        (f"1/{RUN}/artifacts", Entity(EntityKind.RUN, RUN), ("1",)),
        (f"1/models/{MODEL}/artifacts", Entity(EntityKind.LOGGED_MODEL, MODEL), ("1",)),
        (f"1/traces/{TRACE}/artifacts", Entity(EntityKind.TRACE, TRACE), ("1",)),
        (f"workspaces/w/1/{RUN}/artifacts", Entity(EntityKind.RUN, RUN), ("workspaces", "w", "1")),
        (f"{RUN}/artifacts", Entity(EntityKind.RUN, RUN), ()),
    ],
)
def test_everything_below_artifacts_is_one_place(
    path: str, entity: Entity, above: tuple[str, ...]
) -> None:
    """A place is an entity's `artifacts` directory with all that is below."""
    found = take_inventory(
        "/r",
        [
            listed(path.removesuffix("/artifacts"), 0, 0, below=1),
            listed(path, 1, 1, newest=5.0),
            listed(f"{path}/model", 2, 10, newest=7.0),
            listed(f"{path}/model/artifacts/deeper", 3, 100, newest=6.0),
        ],
    )

    [place] = found.places.values()
    assert (place.entity, place.inside, place.above) == (entity, tuple(path.split("/")), above)
    assert (place.size, place.newest, place.is_shell) == (Size(6, 111), 7.0, False)
    assert found.total == Size(6, 111)
    assert found.foreign == {}


def test_places_are_told_apart_however_they_come() -> None:
    """The order in which directories are listed changes nothing: several may list at once."""
    every = [
        listed("", 1, 1),
        listed("1", 1, 2),
        listed(f"1/{RUN}", 0, 0, below=1),
        listed(f"1/{RUN}/artifacts", 1, 10),
        listed(f"1/{RUN}/artifacts/a", 1, 20),
        listed(f"1/{RUN}/artifacts/b", 1, 40),
        listed(f"1/{OTHER}/artifacts", 1, 100),
        listed(f"1/{OTHER}/artifacts/a", 1, 200),
        listed("notes/2024/x", 1, 1_000),
        listed("notes/2024/y", 1, 2_000),
    ]
    for seed in range(50):
        random.Random(seed).shuffle(every)
        found = take_inventory("/r", every)
        assert sizes(found) == {f"1/{RUN}/artifacts": 70, f"1/{OTHER}/artifacts": 300}
        assert {name: size.bytes for name, size in found.foreign.items()} == {
            "": 1,
            "1": 2,
            "notes/2024": 3_000,
        }
        assert found.total == Size(9, 3_373)


def test_marked_files_are_added_up_by_place() -> None:
    """What the lister told apart stays told apart."""
    found = take_inventory(
        "/r",
        [
            Listed(("1", RUN, "artifacts"), 3, 30, 1.0, True, 1, 10),
            Listed(("1", RUN, "artifacts", "x"), 2, 20, 1.0, False, 2, 20),
            Listed(("1", OTHER, "artifacts"), 1, 5, 1.0, has_directories=False),
        ],
    )

    assert {place.entity.id: place.marked for place in found.places.values()} == {
        RUN: Size(3, 30),
        OTHER: Size(),
    }


def test_empty_directory_of_an_entity_is_a_shell() -> None:
    """What MLflow's own clean-up leaves behind is found, but not where anything lies in it."""
    found = take_inventory(
        "/r",
        [
            listed(f"1/{RUN}", 0, 0),
            listed(f"1/{OTHER}", 0, 0, below=1),
            listed(f"1/{OTHER}/logs", 1, 10),
            listed(f"1/models/{MODEL}", 0, 0),
        ],
    )

    assert {place.entity.id: place.is_shell for place in found.places.values()} == {
        RUN: True,
        MODEL: True,
    }
    assert found.foreign == {f"1/{OTHER}": Size(1, 10)}


def test_what_was_not_seen_is_kept_and_counts_nothing() -> None:
    """An unseen directory is told with its reason."""
    closed = Unseen("/r/1/closed", "Permission denied")

    found = take_inventory("/r", [listed("1", 1, 2), closed])

    assert found.unseen == (closed,)
    assert found.total == Size(1, 2)
