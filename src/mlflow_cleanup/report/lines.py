"""One clear line for each event."""

from __future__ import annotations

from collections.abc import Callable

from mlflow_cleanup.model.entity import EntityKind
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import Held
from mlflow_cleanup.report.text import amount, minute, printable, size_text

PREFIX = "mlflow-cleanup"


def line_of(event: Event) -> str:
    """Render an event as one line with its time."""
    return f"{PREFIX} {event.at.astimezone():%H:%M:%S} | {sentence_of(event)}"


def sentence_of(event: Event) -> str:
    """Say in one sentence what happened, and what the reader can do."""
    return printable(_SENTENCES[event.kind](event))


def _subject(event: Event) -> str:
    if event.entity is None:
        return ""
    name = f' "{event.name}"' if event.name else ""
    return f"{event.entity}{name}"


def _quarantined(event: Event) -> str:
    is_run = event.entity is not None and event.entity.kind is EntityKind.RUN
    what = f"{_subject(event)} {'left MLflow' if is_run else 'is not needed by MLflow any more'}"
    if event.due_at is not None and event.due_at <= event.at:
        return f"{what}: {amount(event.size)} on the way out for good"
    until = f" until {minute(event.due_at)}" if event.due_at else ""
    moved = "held in place" if event.detail == Held.IN_PLACE.value else "moved to the trash"
    return f"{what}: {amount(event.size)} {moved}{until}. To get them back: {_way_back(event)}"


def _bytes_of(event: Event) -> str:
    return size_text(event.size.bytes if event.size else 0)


def _way_back(event: Event) -> str:
    """Say how to undo it: MLflow itself restores runs only, and a version's name is any text."""
    entity = event.entity
    if entity is None or not entity.ids():
        return f"`mlflow-cleanup restore {event.item_id}`"
    by_hand = f"`mlflow-cleanup restore {entity.id}`"
    return f"Restore in MLflow, or {by_hand}" if entity.kind is EntityKind.RUN else by_hand


def _purged(event: Event) -> str:
    """Say what was freed; the detail is where it was held, or why its bytes are not freed."""
    is_freed = event.detail in ("", *(held.value for held in Held))
    why_not = "" if is_freed else f"; {event.detail}"
    return f"{_subject(event)}: purged, {amount(event.size)} freed{why_not}"


def _lost(event: Event) -> str:
    return (
        f"WARNING {_subject(event)} is wanted again, but not all of its files can be given back: "
        f"{event.detail}"
    )


def _refused(event: Event) -> str:
    return (
        f"REFUSED plan {event.item_id}: {event.detail}. Nothing was moved. If it was meant: "
        f"`mlflow-cleanup confirm {event.item_id}`; if this is another database on purpose: "
        f"`mlflow-cleanup confirm {event.item_id} --forget`, which leaves all files alone"
    )


def _braked(event: Event) -> str:
    return (
        f"REFUSED plan {event.item_id}: {event.detail}. Nothing was moved. Look at `mlflow-cleanup "
        f"plan`; if it was meant: `mlflow-cleanup confirm {event.item_id}`"
    )


def _backlog(event: Event) -> str:
    held = size_text(event.size.bytes) if event.size else "unmeasured"
    return (
        f"{event.detail} run(s) were deleted before mlflow-cleanup came and still hold {held}; "
        "they are left alone. To reclaim them, start with `--backlog include`"
    )


_SENTENCES: dict[EventKind, Callable[[Event], str]] = {
    EventKind.STARTED: lambda event: event.detail,
    EventKind.STOPPED: lambda _: "the monitor has stopped",
    EventKind.WAITING: lambda event: f"waiting: {event.detail}",
    EventKind.RESUMED: lambda _: "works again",
    EventKind.BACKLOG: _backlog,
    EventKind.QUARANTINED: _quarantined,
    EventKind.EMPTY: lambda event: f"{_subject(event)} left MLflow: it had no artifacts",
    EventKind.RESTORED: lambda event: f"{_subject(event)}: its files are back at {event.detail}",
    EventKind.CONFLICT: lambda event: f"{_subject(event)}: restored in part; {event.detail}",
    EventKind.PURGED: _purged,
    EventKind.LOST: _lost,
    EventKind.KEPT: lambda event: (
        f"{_subject(event)} left MLflow, its files are kept: {event.detail}"
    ),
    EventKind.FAILED: lambda event: f"FAILED {_subject(event)}: {event.detail}; tried again later",
    EventKind.REFUSED: _refused,
    EventKind.BRAKED: _braked,
    EventKind.SWEPT: lambda event: f"full cycle: {event.detail}",
    EventKind.COLLECTED: lambda event: f"removed from MLflow's tables: {event.detail}",
    EventKind.CONFIRMED: lambda event: f"plan {event.item_id} was confirmed: {event.detail}",
    EventKind.FORGOTTEN: lambda event: (
        f"all known runs were forgotten, no file was touched: {event.detail}"
    ),
    EventKind.RECOVERED: lambda event: (
        f"{_subject(event)}: a move that was interrupted is finished"
    ),
    EventKind.MOVED: lambda event: f"the artifact root {event.detail}; its trash came along",
    EventKind.GIVEN_UP: lambda event: f"gave up {event.detail}: {_bytes_of(event)} freed",
    EventKind.IGNORED: lambda event: f"{event.detail} could not be read and will not be done",
    EventKind.ADOPTED: lambda event: f"artifact root {event.detail} now belongs to this database",
}
