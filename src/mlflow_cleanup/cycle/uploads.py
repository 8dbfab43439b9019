"""Uploads that were begun and never finished: no listing shows them, and their parts cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mlflow_cleanup.cycle.sight import Sight
from mlflow_cleanup.cycle.workplace import Workplace, real_roots
from mlflow_cleanup.decide.margins import ORPHAN_AGE
from mlflow_cleanup.decide.planner import Ground
from mlflow_cleanup.errors import CleanupError
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import RESERVED, Location
from mlflow_cleanup.model.moment import Moment
from mlflow_cleanup.model.objects import is_object
from mlflow_cleanup.model.shape import shape_of
from mlflow_cleanup.report.text import counted
from mlflow_cleanup.stores.base import ArtifactStore, KeepGoing, Unfinished
from mlflow_cleanup.stores.marker import NAME


class Upload(NamedTuple):
    """Something unfinished, and the store that it is in."""

    store: ArtifactStore
    what: Unfinished


def forgotten(workplace: Workplace, ground: Ground, now: Moment) -> dict[str, Size]:
    """Count by root what would be given up; changes nothing."""
    found: dict[str, Size] = {}
    for store, what in _unclaimed(_old(workplace, now, workplace.unhurried), ground):
        found[store.root] = found.get(store.root, Size()) + Size(1, what.bytes)
    return found


def give_up_forgotten(workplace: Workplace, now: Moment, keep_going: KeepGoing) -> None:
    """Give up what is old, under adopted roots, and nobody's that is live; tells of it.

    Claims are read for it once more, as they were read for a plan that may be old.
    """
    old = list(_old(workplace, now, keep_going))
    if not old:
        return
    sight = Sight(workplace, now)
    sight.look()
    done: dict[str, Size] = {}
    for store, what in _unclaimed(old, sight.ground):
        if not keep_going():
            break
        try:
            if store.give_up(what):
                done[store.root] = done.get(store.root, Size()) + Size(1, what.bytes)
        except (CleanupError, OSError):
            continue  # the next full cycle finds it again
    for root, size in done.items():
        detail = f"{counted(size.files, 'unfinished upload')} under {root}"
        event = Event(EventKind.GIVEN_UP, now.at, detail=detail, size=size)
        workplace.ledger.history.add([event])
        workplace.tell(event)


def _old(workplace: Workplace, now: Moment, keep_going: KeepGoing) -> Iterator[Upload]:
    """Yield what was begun so long ago that nobody is at it, where nobody else's can be."""
    roots = real_roots(workplace.settings)
    for root in filter(is_object, roots):
        try:
            store = workplace.store_of(root)
            if not store.is_adopted():
                continue
            inner = [one[len(root) + 1 :] for one in roots if one.startswith(f"{root}/")]
            for what in store.unfinished(keep_going):
                if now.age_s(what.begun_at) < ORPHAN_AGE.total_seconds():
                    continue
                if any(what.path.startswith(f"{one}/") for one in inner):
                    continue  # that root's
                if not _is_under_a_marker(store, what.path):
                    yield Upload(store, what)
        except (CleanupError, OSError):
            continue  # its inventory says what is wrong with it


def _is_under_a_marker(store: ArtifactStore, path: str) -> bool:
    """Tell whether something lies in another root inside this one, of whichever database."""
    names = path.split("/")[:-1]
    above = (Location(store.root, (*names[:depth], RESERVED)) for depth in range(1, len(names) + 1))
    return any(store.holds_file(place, NAME) for place in above)


def _unclaimed(uploads: Iterable[Upload], ground: Ground) -> Iterator[Upload]:
    """Leave out what a live entity may still finish."""
    for upload in uploads:
        if not ground.problems and not _is_claimed(upload, ground):
            yield upload


def _is_claimed(upload: Upload, ground: Ground) -> bool:
    path = f"{upload.store.root}/{upload.what.path}"
    shape = shape_of(upload.what.path.split("/"))
    indexes = [index for index in (ground.claims, ground.soft) if index is not None]
    if any(index.on_place(path) is not None for index in indexes):
        return True
    if shape is None:
        return False
    id_ = shape.entity.id
    return id_ in ground.heads.active or any(index.on_id(id_) is not None for index in indexes)
