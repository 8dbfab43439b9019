"""The artifact roots that a database names by itself, in its experiments' locations."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from mlflow_cleanup.config import Settings
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.errors import CleanupError
from mlflow_cleanup.model.location import Misread, Unplaced, is_proxied, place
from mlflow_cleanup.model.target import TargetKind
from mlflow_cleanup.observe.places import slashed
from mlflow_cleanup.observe.tracking import TrackingDatabase

_LOOKED_AT = 2_000
"""Entries of a directory among which one of ours is looked for: any will do."""


def with_named_roots(settings: Settings) -> Settings:
    """Add to the configured roots where experiments lie elsewhere on this file system.

    MLflow puts an experiment into `<root>/<its id>`; a location that somebody gave it is a root
    itself. Anybody may have given it: it counts only where a run of this database lies in it, and
    no other database has marked it; a whole file system never does.
    """
    workplace = Workplace.to_read(settings)
    try:
        places, where = workplace.places(), workplace.whereabouts
        found: dict[str, None] = {}
        for id_, text in workplace.tracking.experiments():
            path, spot = place(text, where), places.locate(text)
            is_elsewhere = isinstance(spot, Unplaced) and spot.why is Misread.OUTSIDE_ROOTS
            if isinstance(path, Unplaced) or not is_elsewhere or places.holder(text) is not None:
                continue
            above, _, name = path.rpartition("/")
            root = (above or "/") if name == id_ else path
            if root not in found and _can_be_one(root) and _has_any(workplace, path):
                found[root] = None
    finally:
        workplace.close()
    if not found:
        return settings
    return replace(settings, roots=(*settings.roots, *_ours(settings, found)))


def holds_any_of(workplace: Workplace, root: str) -> bool:
    """Tell whether a run, logged model or trace of this database has a directory in a root."""
    places = workplace.places()
    for _, text in workplace.tracking.experiments():
        spot = places.holder(text)
        if spot is not None and spot[0] == root and _has_any(workplace, "/".join((root, *spot[1]))):
            return True
    return False


def _has_any(workplace: Workplace, directory: str) -> bool:
    """Tell whether an experiment's directory has one that is named by a run, model or trace."""
    inside = {
        TargetKind.RUN: _names(directory),
        TargetKind.LOGGED_MODEL: _names(f"{directory}/models"),
        TargetKind.TRACE: _names(f"{directory}/traces"),
    }
    with workplace.tracking.deleted(None) as reader:
        return any(reader.knows(kind, names) for kind, names in inside.items() if names)


def _names(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in islice(entries, _LOOKED_AT)]
    except OSError:
        return []


def _ours(settings: Settings, roots: Iterable[str]) -> list[str]:
    """Leave out the roots that another database has marked, or that cannot be seen."""
    roots = list(roots)
    workplace = Workplace.to_read(replace(settings, roots=(*settings.roots, *roots)))
    try:
        return [root for root in roots if _is_ours(workplace, root)]
    finally:
        workplace.close()


def _is_ours(workplace: Workplace, root: str) -> bool:
    try:
        workplace.store_of(slashed(os.path.realpath(root))).check()
    except CleanupError:
        return False
    return True


def has_proxied(settings: Settings) -> bool:
    """Tell whether any experiment's artifacts go through the server's proxy."""
    experiments = TrackingDatabase(settings.database).experiments()
    return any(is_proxied(text) for _, text in experiments)


def _can_be_one(root: str) -> bool:
    real = slashed(os.path.realpath(root))
    return os.path.isdir(real) and os.path.dirname(real) != real
