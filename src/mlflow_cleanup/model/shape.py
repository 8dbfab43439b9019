"""The shapes in which MLflow lays out artifacts, read from the names on the way down from a root.

`<experiment>/<run>/artifacts`, `<experiment>/models/<model>/artifacts` and
`<experiment>/traces/<trace>/artifacts` (MLflow 3.17). A shape says whose bytes a directory would
be, never whether they are still wanted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from mlflow_cleanup.model.entity import Entity, EntityKind

ARTIFACTS = "artifacts"
MODEL_FILE = "MLmodel"
"""What MLflow puts into each model's own directory, by which one is recognised."""

_HOLDERS = {
    "models": (EntityKind.LOGGED_MODEL, re.compile(r"m-[0-9a-f]{32}")),
    # Without `tr-` from MLflow 2.14 to 2.22.
    "traces": (EntityKind.TRACE, re.compile(r"(?:tr-)?[0-9a-f]{32}")),
}
_RUN = re.compile(r"[0-9a-f]{32}")
_LONGEST_ID = 20  # digits of an experiment's
_WORKSPACES = "workspaces"


class Shape(NamedTuple):
    """An entity's directory: `depth` names lead to it, the first `above` of them to its experiment.

    `depth` includes the `artifacts` in it, or what is there instead, where the names lead so far.
    """

    entity: Entity
    above: int
    depth: int


def shape_of(inside: Sequence[str]) -> Shape | None:
    """Return the outermost shape that the names run through, None where they run through none."""
    for position, name in enumerate(inside):
        if _RUN.fullmatch(name):
            return _shape(EntityKind.RUN, inside, position, above=position)
        if name in _HOLDERS and position + 1 < len(inside):
            kind, pattern = _HOLDERS[name]
            if pattern.fullmatch(inside[position + 1]):
                return _shape(kind, inside, position + 1, above=position)
    return None


def _shape(kind: EntityKind, inside: Sequence[str], position: int, above: int) -> Shape:
    has_place = len(inside) > position + 1
    return Shape(Entity(kind, inside[position]), above, position + 1 + has_place)


def is_own_place(inside: Sequence[str], entity: Entity) -> bool:
    """Tell whether a place has the shape that MLflow gives this one entity and no other."""
    if entity.kind is EntityKind.RUN:
        return tuple(inside[-2:]) == (entity.id, ARTIFACTS)
    for holder, (kind, _) in _HOLDERS.items():
        if kind is entity.kind:
            return tuple(inside[-3:]) == (holder, entity.id, ARTIFACTS)
    return False


def is_usual_experiment(inside: Sequence[str]) -> bool:
    """Tell whether names lead to where MLflow itself puts an experiment, workspaces included."""
    if len(inside) > 1 and inside[0] == _WORKSPACES:
        inside = inside[2:]  # `workspaces/<name>`, the default workspace too
    return len(inside) == 1 and _is_number(inside[0])


def _is_number(name: str) -> bool:
    # Digits of other scripts are decimal too, and no id of MLflow's.
    return name.isascii() and name.isdecimal() and len(name) <= _LONGEST_ID
