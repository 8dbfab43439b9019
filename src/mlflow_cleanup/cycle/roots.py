"""The artifact roots that a database names by itself, in its experiments' locations."""

from __future__ import annotations

import os
from dataclasses import replace

from mlflow_cleanup.config import Settings
from mlflow_cleanup.cycle.workplace import Workplace
from mlflow_cleanup.model.location import Misread, Unplaced, is_proxied, place
from mlflow_cleanup.observe.places import slashed


def with_named_roots(settings: Settings) -> Settings:
    """Add to the configured roots where experiments lie elsewhere on this file system.

    MLflow puts an experiment into `<root>/<its id>`; a location that somebody gave it is a root
    itself. A whole file system is never one, and nothing that is not there.
    """
    workplace = Workplace.to_read(settings)
    try:
        places, where = workplace.places(), workplace.whereabouts
        found: list[str] = []
        for id_, text in workplace.tracking.experiments():
            path, spot = place(text, where), places.locate(text)
            is_elsewhere = isinstance(spot, Unplaced) and spot.why is Misread.OUTSIDE_ROOTS
            if isinstance(path, Unplaced) or not is_elsewhere or places.holder(text) is not None:
                continue
            above, _, name = path.rpartition("/")
            found.append((above or "/") if name == id_ else path)
    finally:
        workplace.close()
    there = (root for root in dict.fromkeys(found) if _can_be_one(root))
    return replace(settings, roots=(*settings.roots, *there))


def has_proxied(settings: Settings) -> bool:
    """Tell whether any experiment's artifacts go through the server's proxy."""
    workplace = Workplace.to_read(settings)
    try:
        return any(is_proxied(text) for _, text in workplace.tracking.experiments())
    finally:
        workplace.close()


def _can_be_one(root: str) -> bool:
    real = slashed(os.path.realpath(root))
    return os.path.isdir(real) and os.path.dirname(real) != real
