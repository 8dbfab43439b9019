from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from mlflow_cleanup.model.entity import Entity, EntityKind, run
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.report.lines import PREFIX, line_of, sentence_of
from mlflow_cleanup.report.text import minute

AT = datetime(2025, 3, 10, 12, tzinfo=timezone.utc)
DUE = AT + timedelta(days=7)
HOSTILE = 'x\n\x1b[2Jmlflow-cleanup 00:00:00 | all is well\u202e\udcff"`'


def event(kind: EventKind, **more: object) -> Event:
    """Make an event of a run with a name and a size."""
    values = {"entity": run("abc"), "name": "net", "size": Size(3, 1_200_000), **more}
    return Event(kind, AT, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (event(EventKind.STARTED, detail="watching /db"), ["watching /db"]),
        (event(EventKind.STOPPED), ["stopped"]),
        (event(EventKind.WAITING, detail="locked"), ["waiting", "locked"]),
        (event(EventKind.RESUMED), ["works again"]),
        (event(EventKind.BACKLOG, detail="12"), ["12 run(s)", "1.2 MB", "--backlog include"]),
        (event(EventKind.BACKLOG, detail="12", size=None), ["12 run(s)", "unmeasured"]),
        (
            event(EventKind.QUARANTINED, due_at=DUE),
            ['run abc "net"', "3 files (1.2 MB)", "trash", minute(DUE), "restore abc"],
        ),
        (event(EventKind.QUARANTINED, detail="in place"), ["held in place", "restore abc"]),
        (event(EventKind.QUARANTINED, size=None), ["size not measured yet"]),
        (event(EventKind.EMPTY), ["run abc", "no artifacts"]),
        (event(EventKind.RESTORED, detail="/art/0"), ["run abc", "back at /art/0"]),
        (event(EventKind.CONFLICT, detail="1 file"), ["run abc", "in part", "1 file"]),
        (event(EventKind.PURGED), ["run abc", "purged", "3 files (1.2 MB) freed"]),
        (event(EventKind.PURGED, detail="versions hold it"), ["purged", "; versions hold it"]),
        (event(EventKind.LOST, detail="half"), ["WARNING", "run abc", "half"]),
        (event(EventKind.KEPT, detail="pinned"), ["run abc", "kept", "pinned"]),
        (event(EventKind.FAILED, detail="busy"), ["FAILED", "run abc", "busy", "again"]),
        (
            event(EventKind.REFUSED, item_id="1f2e", detail="most vanished"),
            ["REFUSED", "most vanished", "confirm 1f2e`", "confirm 1f2e --forget`"],
        ),
        (event(EventKind.CONFIRMED, item_id="1f2e", detail="why"), ["1f2e", "confirmed", "why"]),
        (event(EventKind.FORGOTTEN, detail="why"), ["forgotten", "no file was touched", "why"]),
        (event(EventKind.RECOVERED), ["run abc", "interrupted"]),
        (event(EventKind.ADOPTED, detail="/art"), ["/art", "belongs to this database"]),
        (event(EventKind.MOVED, detail="/a is now /b"), ["/a is now /b", "trash came along"]),
        (event(EventKind.SWEPT, detail="3 quarantined"), ["full cycle: 3 quarantined"]),
        (
            event(EventKind.BRAKED, item_id="1f2e", detail="too much"),
            ["REFUSED plan 1f2e", "too much", "Nothing was moved", "confirm 1f2e`"],
        ),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Event) else "",
)
def test_each_kind_of_event_has_its_sentence(told: Event, words: list[str]) -> None:
    """A sentence names the run, the amount and what can be done, where there is such a thing."""
    sentence = sentence_of(told)

    assert [word for word in words if word not in sentence] == []


def test_what_is_purged_at_once_is_not_offered_back() -> None:
    """With retention 0 there is no time in which a restore would help."""
    sentence = sentence_of(event(EventKind.QUARANTINED, due_at=AT))

    assert "restore" not in sentence.lower()


@pytest.mark.parametrize("kind", list(EventKind))
def test_hostile_text_stays_on_its_line(kind: EventKind) -> None:
    """No name, path or id can end a line, forge another or steer the terminal."""
    told = Event(
        kind,
        AT,
        entity=run(HOSTILE),
        name=HOSTILE,
        detail=HOSTILE,
        item_id=HOSTILE,
        size=Size(1, 1),
        due_at=DUE,
    )

    line = line_of(told)

    assert line.isprintable()
    assert line.startswith(f"{PREFIX} ")
    assert line.count(" | ") - sentence_of(told).count(" | ") == 1


@pytest.mark.parametrize("kind", list(EventKind))
def test_an_event_of_nothing_but_its_kind_has_a_line(kind: EventKind) -> None:
    """Where nothing more is known, there is a sentence all the same."""
    assert sentence_of(Event(kind, AT)) or kind is EventKind.STARTED


def test_a_line_begins_with_the_local_time() -> None:
    """The time of the event, not of the writing, comes first."""
    line = line_of(event(EventKind.STOPPED))

    assert line == f"{PREFIX} {AT.astimezone():%H:%M:%S} | the monitor has stopped"


@pytest.mark.parametrize(
    ("entity", "way_back"),
    [
        (run("abc"), "To get them back: Restore in MLflow, or `mlflow-cleanup restore abc`"),
        (Entity(EntityKind.LOGGED_MODEL, "m-1"), "To get them back: `mlflow-cleanup restore m-1`"),
        (
            Entity(EntityKind.MODEL_VERSION, "a `b` version 1"),
            "To get them back: `mlflow-cleanup restore item-7`",
        ),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Entity) else "",
)
def test_the_way_back_is_one_that_there_is(entity: Entity, way_back: str) -> None:
    """MLflow restores runs only, and a registered model's name is no word for a command line."""
    told = event(EventKind.QUARANTINED, entity=entity, due_at=DUE, item_id="item-7")

    assert sentence_of(told).endswith(way_back)


def test_every_kind_of_event_is_told() -> None:
    """A kind without a sentence would end the monitor's thread."""
    for kind in EventKind:
        assert sentence_of(event(kind, item_id="1f2e", detail="why"))
