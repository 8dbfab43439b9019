"""From what a store lists to an inventory: every byte under its recognised place, or foreign."""

from __future__ import annotations

from collections.abc import Iterable

from mlflow_cleanup.model.inventory import Inventory, Listed, Place, Unseen
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.shape import ARTIFACTS, shape_of


def take_inventory(root: str, listed: Iterable[Listed | Unseen]) -> Inventory:
    """Add up what a store lists, as it comes; memory grows with places, not with files."""
    places: dict[tuple[str, ...], Place] = {}
    foreign: dict[str, Size] = {}
    unseen: list[Unseen] = []
    total = Size()
    for found in listed:
        if isinstance(found, Unseen):
            unseen.append(found)
            continue
        total += found.size
        place = _place_of(found, places)
        if place is None:
            if found.size.files:
                top = "/".join(found.inside[:2])
                foreign[top] = foreign.get(top, Size()) + found.size
            continue
        place.size += found.size
        place.marked += found.marked
        place.newest = max(place.newest, found.newest)
    return Inventory(root, places, foreign, total, tuple(unseen))


def _place_of(found: Listed, places: dict[tuple[str, ...], Place]) -> Place | None:
    shape = shape_of(found.inside)
    if shape is None:
        return None
    inside = found.inside[: shape.depth]
    is_shell = len(found.inside) == shape.depth and inside[-1] != ARTIFACTS
    if inside[-1] != ARTIFACTS and not (is_shell and found.is_empty):
        return None  # beside `artifacts`, or around it: not MLflow's
    if inside not in places:
        places[inside] = Place(shape.entity, inside, found.inside[: shape.above], is_shell)
    return places[inside]
