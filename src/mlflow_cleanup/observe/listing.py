"""From what a store lists to an inventory: every byte under its recognised place, or foreign."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mlflow_cleanup.model.inventory import Inventory, Listed, Place, Unseen
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.model.shape import ARTIFACTS, shape_of

Mark = Callable[[str], bool]


def take_inventory(
    root: str, listed: Iterable[Listed | Unseen], marked: Mark | None = None
) -> Inventory:
    """Add up what a store lists, as it comes; memory grows with places, not with files.

    Whatever lies in a directory of a place for whose name `marked` is true counts as marked.
    """
    intake = _Intake(marked)
    unseen: list[Unseen] = []
    for found in listed:
        if isinstance(found, Unseen):
            unseen.append(found)
        else:
            intake.add(found)
    intake.settle()
    return Inventory(
        root,
        intake.places,
        intake.foreign,
        intake.total,
        tuple(unseen),
        frozenset(intake.roots),
    )


class _Intake:
    """What was counted so far; of the place at hand in plain numbers.

    Most directories lie in the same place as the one before, and there is one for every few files:
    what is done for each directory decides how long a listing takes.
    """

    def __init__(self, marked: Mark | None) -> None:
        self._marked = marked
        self.places: dict[tuple[str, ...], Place] = {}
        self.foreign: dict[str, Size] = {}
        self.total = Size()
        self.roots: set[tuple[str, ...]] = set()
        self._place: Place | None = None
        self._depth = 0
        self._above: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._begin()

    def add(self, found: Listed) -> None:
        """Add one directory."""
        inside, files, size, newest, _, marked_files, marked_bytes, shared, changed = found
        place = self._place
        if place is None or inside[: self._depth] != place.inside:
            place = self._turn_to(found)
        self._files += files
        self._bytes += size
        self._shared += shared
        if place is None:
            return
        if newest > place.newest:  # noqa: PLR1730 - max() takes three times as long
            place.newest = newest
        if changed > place.changed:  # noqa: PLR1730 - likewise
            place.changed = changed
        if self._marked is not None and any(map(self._marked, inside[self._depth :])):
            marked_files, marked_bytes = files, size
        if marked_files:
            self._marked_files += marked_files
            self._marked_bytes += marked_bytes

    def settle(self) -> None:
        """Write down what was counted since the last time."""
        size = Size(self._files, self._bytes, self._shared)
        self.total += size
        if (place := self._place) is not None:
            # Seldom met twice, as listings go down before they go on.
            place.size = size if not place.size.files else place.size + size
            if self._marked_files:
                place.marked += Size(self._marked_files, self._marked_bytes)
        self._begin()

    def _begin(self) -> None:
        self._files = self._bytes = self._shared = 0
        self._marked_files = self._marked_bytes = 0

    def _turn_to(self, found: Listed) -> Place | None:
        """Turn to the place that a directory lies in, None when it lies in none."""
        if self._files:
            self.settle()
        self._place = place = self._place_of(found)
        if place is not None:
            self._depth = len(place.inside)
        elif found.files:
            top = "/".join(found.inside[:2])
            self.foreign[top] = self.foreign.get(top, Size()) + found.size
            if found.inside[1:] and found.inside[-1] == RESERVED:
                self.roots.add(found.inside[:-1])
        return place

    def _place_of(self, found: Listed) -> Place | None:
        if ARTIFACTS not in found.inside and not found.is_empty:
            return None
        shape = shape_of(found.inside)
        if shape is None:
            return None
        place, last = found.inside[: shape.depth - 1], found.inside[shape.depth - 1]
        is_shell = len(found.inside) == shape.depth and last != ARTIFACTS
        if last != ARTIFACTS and not (is_shell and found.is_empty):
            return None  # beside `artifacts`, or around it: not MLflow's
        # One text for all of them, and one tuple for all of an experiment.
        inside = (*place, last if is_shell else ARTIFACTS)
        if inside not in self.places:
            above = found.inside[: shape.above]
            above = self._above.setdefault(above, above)
            self.places[inside] = Place(shape.entity, inside, above, is_shell)
        return self.places[inside]
