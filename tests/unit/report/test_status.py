from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mlflow_cleanup.errors import LedgerMissing
from mlflow_cleanup.ledger.ageing import read_clocks
from mlflow_cleanup.ledger.known import KnownRun, RunState
from mlflow_cleanup.ledger.lease import Lease
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.entity import run
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import Held, ItemState, Size
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.plan import Refusal
from mlflow_cleanup.report.status import (
    event_values,
    history_text,
    history_values,
    outcome_text,
    status_text,
    status_values,
    trash_text,
    trash_values,
)
from mlflow_cleanup.report.text import minute
from tests.kit.tracking_db import run_id
from tests.kit.values import NOW, item

HOSTILE = "x\n\x1b[2J\u202e\udcff"
DAY_S = 86_400.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Open a new ledger."""
    opened = Ledger.open(tmp_path)
    yield opened
    opened.close()


def watch(ledger: Ledger, **more: object) -> None:
    """Say what is watched, as a monitor does."""
    told = {"database": "/home/mlflow.db", "retention_s": 3 * DAY_S, "complaint": None}
    ledger.set_watching({**told, **more})


def test_without_a_ledger_there_is_nothing_to_show(tmp_path: Path) -> None:
    """Every reading command says that nothing has been watched from here."""
    for read in (status_values, trash_values, lambda path: history_values(path, 1)):
        with pytest.raises(LedgerMissing):
            read(tmp_path)


def test_a_new_ledger_has_an_empty_status(tmp_path: Path, ledger: Ledger) -> None:
    """Before anything was watched, everything is none or zero."""
    values = status_values(tmp_path)

    assert values == {
        "running": None,
        "watching": {},
        "complaint": None,
        "refused_plan": None,
        "refused_full_cycle": None,
        "roots": [],
        "known_active_runs": 0,
        "kept": [],
        "unhandled": {},
        "backlog": None,
        "items": {},
        "failed": [],
        "held_in_place": {"count": 0, "files": 0, "bytes": 0},
        "freed": {"files": 0, "bytes": 0},
    }
    assert "not running" in status_text(values)
    assert "none watched yet" in status_text(values)
    assert ledger.watching is None


def fill(ledger: Ledger) -> None:
    """Put one of everything into the ledger."""
    watch(ledger, complaint="the tracking database is locked")
    ledger.note_root("/art", is_marked=True, problem=None)
    ledger.note_root("/away", is_marked=False, problem="it is not there")
    ledger.known.learn(
        [
            KnownRun(run_id(1), RunState.ACTIVE, "0", "/a"),
            KnownRun(run_id(2), RunState.ACTIVE, "0", "/a"),
            KnownRun(run_id(3), RunState.ORPHANED, "0", "/a"),
        ]
    )
    ledger.known.keep({run_id(3): "pinned by an operator"})
    ledger.items.put(
        [
            item(11, size=Size(1, 10)),
            item(12, size=Size(2, 100)),
            item(13, ItemState.PURGING, size=Size(3, 1_000), error="busy", attempts=4),
            item(14, ItemState.PURGED, size=Size(4, 10_000)),
        ],
        0.0,
    )
    ledger.items.add_freed("item-14", Size(4, 10_000))
    ledger.items.add_freed("item-13", Size(1, 400))
    ledger.refusals.answer_to(Refusal("1f2e3d4c", "most runs vanished"), NOW)
    ledger.known.learn(KnownRun(run_id(0x50 + n), RunState.BACKLOG, None, None) for n in range(5))
    ledger.set_fact("backlog", json.dumps({"runs": 5, "files": 6, "bytes": 2_000_000}))


def test_the_status_tells_everything_at_once(tmp_path: Path, ledger: Ledger) -> None:
    """What is watched, held, kept, failed, refused and freed, as values for programs."""
    fill(ledger)

    values = status_values(tmp_path)

    assert values["watching"]["database"] == "/home/mlflow.db"
    assert values["complaint"] == "the tracking database is locked"
    assert values["roots"] == [
        {"path": "/art", "is_marked": True, "problem": None},
        {"path": "/away", "is_marked": False, "problem": "it is not there"},
    ]
    assert values["known_active_runs"] == 2
    assert values["kept"] == [{"run_id": run_id(3), "reason": "pinned by an operator"}]
    assert values["items"]["quarantined"] == {"count": 2, "files": 3, "bytes": 110}
    assert values["items"]["purged"] == {"count": 1, "files": 4, "bytes": 10_000}
    assert values["failed"] == [
        {
            "entity": "run",
            "run_id": run_id(13),
            "id": "item-13",
            "error": "busy",
            "attempts": 4,
        }
    ]
    assert values["freed"] == {"files": 5, "bytes": 10_400}
    assert values["backlog"] == {"runs": 5, "files": 6, "bytes": 2_000_000}
    refused = values["refused_plan"]
    assert (refused["id"], refused["reason"]) == ("1f2e3d4c", "most runs vanished")
    assert json.loads(json.dumps(values)) == values


def test_the_status_text_is_made_of_the_same_values(tmp_path: Path, ledger: Ledger) -> None:
    """Every fact of the JSON stands in the text too, in words."""
    fill(ledger)

    lines = status_text(status_values(tmp_path)).split("\n")

    for words in (
        ["database", "/home/mlflow.db"],
        ["/art"],
        ["/away", "PROBLEM", "it is not there"],
        ["active runs", "2"],
        ["in the trash", "2 item(s)", "110 B"],
        ["freed", "10.4 kB", "5 file(s)"],
        ["retention", "3d"],
        ["backlog", "5 run(s)", "2.0 MB"],
        ["kept", run_id(3), "pinned by an operator"],
        ["FAILED", run_id(13), "busy"],
        ["WAITING", "locked"],
        ["REFUSED", "1f2e3d4c", "most runs vanished"],
    ):
        assert any(all(word in line for word in words) for line in lines), words


def test_the_status_names_who_holds_the_lease(tmp_path: Path, ledger: Ledger) -> None:
    """A running monitor is named by its command and process; a free lease is nobody's."""
    watch(ledger)
    with Lease([tmp_path], "mlflow-cleanup monitor"):
        assert "mlflow-cleanup monitor" in status_values(tmp_path)["running"]
        assert "mlflow-cleanup monitor" in status_text(status_values(tmp_path))

    assert status_values(tmp_path)["running"] is None


def test_the_trash_is_listed_oldest_first(tmp_path: Path, ledger: Ledger) -> None:
    """Each item with its size, its origin and when it is purged, from the ledger's own time."""
    watch(ledger)
    now = ledger.now(read_clocks())
    ledger.items.put(
        [
            item(1, quarantined_s=now.aged_s - DAY_S, size=Size(1, 10), name="net"),
            item(2, quarantined_s=now.aged_s, size=Size(2, 100), experiment_id="7"),
            item(3, ItemState.CONFLICT, quarantined_s=now.aged_s, held=Held.IN_PLACE),
            item(4, ItemState.PURGED, quarantined_s=now.aged_s),
            item(5, ItemState.RESTORED, quarantined_s=now.aged_s),
        ],
        now.aged_s,
    )

    values = trash_values(tmp_path)

    assert [value["id"] for value in values] == ["item-1", "item-2", "item-3"]
    oldest = values[0]
    purge_at = oldest.pop("purge_at")
    assert oldest == {
        "id": "item-1",
        "entity": "run",
        "reason": "deleted",
        "run_id": run_id(1),
        "name": "net",
        "experiment_id": None,
        "state": "quarantined",
        "held": "trash",
        "origin": f"/art/0/{run_id(1)}/artifacts",
        "files": 1,
        "bytes": 10,
        "quarantined_at": NOW.isoformat(),
        "error": None,
    }
    late = datetime.fromisoformat(purge_at) - (now.at + timedelta(days=2))
    assert abs(late) < timedelta(minutes=5)
    assert (values[1]["experiment_id"], values[1]["bytes"]) == ("7", 100)
    assert (values[2]["held"], values[2]["bytes"], values[2]["purge_at"]) == (
        "in place",
        None,
        None,
    )


def test_the_trash_text_is_made_of_the_same_values(tmp_path: Path, ledger: Ledger) -> None:
    """A row for each item; what is not measured or not purged by itself says so."""
    watch(ledger)
    now = ledger.now(read_clocks())
    ledger.items.put(
        [
            item(1, quarantined_s=now.aged_s, size=Size(1, 1_500), name="net"),
            item(2, ItemState.CONFLICT, quarantined_s=now.aged_s + 1),
        ],
        now.aged_s,
    )

    values = trash_values(tmp_path)
    head, first, second = trash_text(values).split("\n")

    assert head.split() == ["WHAT", "ID", "NAME", "STATE", "SIZE", "PURGED", "AT", "ORIGIN"]
    assert minute(datetime.fromisoformat(values[0]["purge_at"])) in first
    for word in (run_id(1), "net", "quarantined", "1.5 kB", values[0]["origin"]):
        assert word in first
    for word in (run_id(2), "conflict", "?", "never by itself", values[1]["origin"]):
        assert word in second


def test_an_empty_trash_says_so(tmp_path: Path, ledger: Ledger) -> None:
    """Nothing in the trash is a sentence, and an empty list for programs."""
    watch(ledger)

    assert trash_values(tmp_path) == []
    assert trash_text([]) == "the trash is empty"


def test_a_retention_beyond_the_calendar_can_be_listed(tmp_path: Path, ledger: Ledger) -> None:
    """With a retention of ten thousand years the trash can be shown all the same."""
    watch(ledger, retention_s=10_000 * 366 * DAY_S)
    now = ledger.now(read_clocks())
    ledger.items.put([item(1, quarantined_s=now.aged_s)], now.aged_s)

    assert run_id(1) in trash_text(trash_values(tmp_path))


def test_history_is_told_latest_last(tmp_path: Path, ledger: Ledger) -> None:
    """As many of the latest events as asked for, of the runs asked for."""
    ledger.history.add(
        Event(
            EventKind.PURGED,
            NOW + timedelta(minutes=number),
            entity=run(run_id(number % 2)),
            name="net",
            size=Size(number, 10**number),
            item_id=f"item-{number}",
        )
        for number in range(6)
    )

    values = history_values(tmp_path, 2)
    assert [value["item_id"] for value in values] == ["item-4", "item-5"]
    assert [value["item_id"] for value in history_values(tmp_path, 9, (run_id(1),))] == [
        "item-1",
        "item-3",
        "item-5",
    ]
    assert values[1] == {
        "at": (NOW + timedelta(minutes=5)).isoformat(),
        "event": "purged",
        "entity": "run",
        "run_id": run_id(1),
        "name": "net",
        "item_id": "item-5",
        "detail": "",
        "files": 5,
        "bytes": 100_000,
        "sentence": f'run {run_id(1)} "net": purged, 5 files (100.0 kB) freed',
    }
    last = history_text(values).split("\n")[1]
    assert last.startswith(minute(NOW + timedelta(minutes=5)))
    assert last.endswith(values[1]["sentence"])
    assert "purged" in last


def test_no_history_says_so(tmp_path: Path, ledger: Ledger) -> None:
    """Before the first event there is a sentence, and an empty list for programs."""
    watch(ledger)

    assert history_values(tmp_path, 9) == []
    assert history_text([]) == "nothing has happened yet"


def test_an_event_without_an_entity_has_values_too() -> None:
    """What concerns no run has nulls in its place."""
    values = event_values(Event(EventKind.STOPPED, NOW))

    assert values["entity"] is values["run_id"] is values["bytes"] is None
    assert json.loads(json.dumps(values)) == values


def test_outcomes_are_told_item_by_item() -> None:
    """What became of each item, with its size and what went wrong."""
    done = {**done_like("/art/a"), "run_id": "a", "bytes": 1_500}
    failed = {
        "entity": "logged model",
        "run_id": "b",
        "state": "purging",
        "bytes": None,
        "path": "/art/b",
        "error": "busy",
    }

    assert outcome_text({"items": [done, failed]}).split("\n") == [
        "run a: restored (1.5 kB), /art/a",
        "logged model b: purging, /art/b: busy",
    ]
    assert outcome_text({"items": []}) == "nothing to do"


def test_hostile_text_stays_in_its_line_and_in_its_json(tmp_path: Path, ledger: Ledger) -> None:
    """Names, paths, ids and errors of any bytes neither break a line nor the JSON."""
    watch(ledger, database=f"/{HOSTILE}", complaint=HOSTILE)
    ledger.note_root(f"/{HOSTILE}", is_marked=True, problem=HOSTILE.replace("\udcff", ""))
    hostile = item(
        1,
        location=Location(f"/{HOSTILE}", (HOSTILE, HOSTILE, "artifacts")),
        name=HOSTILE,
        size=Size(1, 1),
        error="line\nbreak",
    )
    other = replace(hostile, id="item-2", entity=run("evil\n\x1b[2Jid"))
    ledger.items.put([hostile, other], 0.0)
    ledger.history.add(
        [Event(EventKind.KEPT, NOW, entity=run("a\nb"), name=HOSTILE, detail=HOSTILE)]
    )
    ledger.known.learn([KnownRun("evil\nid", RunState.ORPHANED, "0", None)])
    ledger.known.keep({"evil\nid": "line\nbreak"})

    status, trash = status_values(tmp_path), trash_values(tmp_path)
    history = history_values(tmp_path, 9)

    for values, text, lines in (
        (status, status_text(status), None),
        (trash, trash_text(trash), 3),
        (history, history_text(history), 1),
    ):
        assert json.loads(json.dumps(values)) == values
        assert all(line.isprintable() for line in text.split("\n"))
        assert lines is None or len(text.split("\n")) == lines
    failed = {**done_like(hostile.location.path), "error": "line\nbreak"}
    assert outcome_text({"items": [failed]}).isprintable()


def done_like(path: str) -> dict[str, object]:
    """Make an outcome."""
    return {
        "entity": "run",
        "run_id": "a\nb",
        "state": "restored",
        "bytes": 1,
        "path": path,
        "error": None,
    }
