"""The artifact roots that a database names by itself, in its experiments' locations."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

from mlflow_cleanup.config import Settings
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.errors import CleanupError
from mlflow_cleanup.model.entity import EntityKind
from mlflow_cleanup.model.inventory import Listed
from mlflow_cleanup.model.location import Misread, Unplaced, is_proxied, place
from mlflow_cleanup.model.objects import home_of, is_object
from mlflow_cleanup.model.shape import shape_of
from mlflow_cleanup.model.target import TargetKind
from mlflow_cleanup.observe.places import Places, real_root
from mlflow_cleanup.observe.tracking import TrackingDatabase

_LOOKED_AT = 2_000
"""Entries of a directory among which one of ours is looked for: any will do."""

_LISTED = 50_000
"""Directories of a bucket among which one of ours is looked for: some seconds of listing."""

_KINDS = {
    EntityKind.RUN: TargetKind.RUN,
    EntityKind.LOGGED_MODEL: TargetKind.LOGGED_MODEL,
    EntityKind.TRACE: TargetKind.TRACE,
}


def with_named_roots(settings: Settings) -> Settings:
    """Add to the configured roots where experiments lie elsewhere, locally or in object stores.

    MLflow puts an experiment into `<root>/<its id>`; a location that somebody gave it is a root
    itself. Anybody may have given it: it counts only where a run of this database lies in it, and
    no other database has marked it; a whole file system or bucket never does.
    """
    workplace = Workplace.to_read(settings)
    try:
        found: dict[str, bool] = {}
        for root, path in _named(workplace):
            if not found.get(root) and (root not in found or not is_object(root)):
                found[root] = _can_be_one(root) and _is_used(workplace, root, path)
    finally:
        workplace.close()
    roots = [root for root, is_used in found.items() if is_used]
    if not roots:
        return settings
    return replace(settings, roots=(*settings.roots, *_ours(settings, roots)))


def _named(workplace: Workplace) -> Iterator[tuple[str, str]]:
    """Yield the roots that experiments outside of the configured ones name, each with its place."""
    places, where = workplace.places(), workplace.whereabouts
    for id_, text in workplace.tracking.experiments():
        path, spot = place(text, where), places.locate(text)
        is_elsewhere = isinstance(spot, Unplaced) and spot.why is Misread.OUTSIDE_ROOTS
        if isinstance(path, Unplaced) or not is_elsewhere or places.holder(text) is not None:
            continue
        above, _, name = path.rpartition("/")
        yield (above or "/") if name == id_ else path, path


def holds_any_of(workplace: Workplace, root: str) -> bool:
    """Tell whether a run, logged model or trace of this database has a directory in a root."""
    if is_object(root):
        return _has_any_object(workplace, root)
    places = workplace.places()
    return any(_has_any(workplace, path) for path in _experiments_in(places, workplace, root))


def _experiments_in(places: Places, workplace: Workplace, root: str) -> Iterator[str]:
    for _, text in workplace.tracking.experiments():
        spot = places.holder(text)
        if spot is not None and spot[0] == root:
            yield "/".join((root, *spot[1]))


def _is_used(workplace: Workplace, root: str, experiment: str) -> bool:
    if not is_object(root):
        return _has_any(workplace, experiment)
    settings = workplace.settings
    beside = Workplace.to_read(replace(settings, roots=(*settings.roots, root)))
    try:
        return _has_any_object(beside, root)
    except CleanupError:
        return False  # it cannot be seen, or is another database's
    finally:
        beside.close()


def _has_any(workplace: Workplace, directory: str) -> bool:
    """Tell whether an experiment's directory has one that is named by a run, model or trace."""
    return _is_known(
        workplace,
        {
            TargetKind.RUN: _names(directory),
            TargetKind.LOGGED_MODEL: _names(f"{directory}/models"),
            TargetKind.TRACE: _names(f"{directory}/traces"),
        },
    )


def _has_any_object(workplace: Workplace, root: str) -> bool:
    """Do the same for a root in an object store, as far as its beginning tells."""
    listed = islice(workplace.store_of(root).listing(None, workplace.unhurried), _LISTED)
    while some := list(islice(listed, _LOOKED_AT)):
        inside: dict[TargetKind, set[str]] = defaultdict(set)
        for one in some:
            shape = shape_of(one.inside) if isinstance(one, Listed) else None
            if shape is not None:
                inside[_KINDS[shape.entity.kind]].add(shape.entity.id)
        if _is_known(workplace, inside):
            return True
    return False


def _is_known(workplace: Workplace, inside: Mapping[TargetKind, Iterable[str]]) -> bool:
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
        workplace.store_of(real_root(root)).check()
    except CleanupError:
        return False
    return True


def has_proxied(settings: Settings) -> bool:
    """Tell whether any experiment's artifacts go through the server's proxy."""
    experiments = TrackingDatabase(settings.database).experiments()
    return any(is_proxied(text) for _, text in experiments)


def _can_be_one(root: str) -> bool:
    if is_object(root):
        return home_of(root) != root
    real = real_root(root)
    return os.path.isdir(real) and os.path.dirname(real) != real
