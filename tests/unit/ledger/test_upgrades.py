"""What an earlier version wrote is brought up to date with nothing lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mlflow_cleanup.errors import LedgerUnwritable
from mlflow_cleanup.ledger import sqlite, tables
from mlflow_cleanup.ledger.ageing import Reading
from mlflow_cleanup.ledger.known import KnownRun, RunState
from mlflow_cleanup.ledger.ledger import KnownRoot, Ledger
from mlflow_cleanup.ledger.sqlite import FILE, LedgerFile
from mlflow_cleanup.model.entity import run
from mlflow_cleanup.model.event import Event, EventKind
from mlflow_cleanup.model.item import ItemState, Size
from mlflow_cleanup.model.plan import Refusal
from mlflow_cleanup.model.snapshot import BackendIdentity
from tests.kit.old_ledgers import as_format_1, content
from tests.kit.tracking_db import run_id
from tests.kit.values import NOW, item

BACK = "the tracking database went back in time: its change counter fell from 9 to 7"
VANISHED = "all 3 known active runs vanished at once without having been deleted"

ITEMS = [
    item(1, size=Size(1, 10), name="näme \udcff", quarantined_s=5.0),
    item(2, ItemState.PURGED, size=Size(10, 100), quarantined_s=6.0),
    item(3, ItemState.CONFLICT, error="1 path lies there", by_hand=True),
]


@pytest.fixture
def old(state_dir: Path) -> Path:
    """A ledger of format 1 with something in every table, and two refusals that stand."""
    ledger = Ledger.open(state_dir)
    ledger.now(Reading(1_000.0, "boot 1", 10.0))
    ledger.set_identity(BackendIdentity({"0": 1_700_000_000_001}, change_count=9))
    ledger.known.learn(
        [
            KnownRun(run_id(1), RunState.GONE, "0", "mlflow-artifacts:/0/x/artifacts"),
            KnownRun(run_id(4), RunState.ACTIVE, "7", "odd \udcff"),
        ]
    )
    ledger.items.put(ITEMS, 7.0)
    ledger.items.add_freed("item-2", Size(10, 100))
    ledger.history.add([Event(EventKind.QUARANTINED, NOW, run(run_id(1)), detail="trash")])
    ledger.refusals.answer_to(Refusal("11111111", VANISHED), NOW)
    ledger.refusals.answer("11111111", "confirmed")
    ledger.refusals.answer_to(Refusal("22222222", BACK), NOW)
    ledger.requests.post("restore", [run_id(1)])
    ledger.note_root("/art", is_marked=True, problem="it was odd")
    ledger.close()
    as_format_1(state_dir)
    return state_dir


def test_everything_is_kept(old: Path) -> None:
    """Every value of every table is what it was; what is new is empty."""
    before = content(old / FILE)
    assert all(before.values())
    Ledger.open(old).close()
    after = content(old / FILE)

    facts = {fact["name"]: fact["value"] for fact in after["facts"]}
    assert facts.pop("format") == str(tables.FORMAT)
    assert facts.pop("id")
    assert facts == {
        fact["name"]: fact["value"] for fact in before["facts"] if fact["name"] != "format"
    }
    for name in before.keys() - {"facts", "requests"}:
        shared = before[name][0].keys()
        assert [{key: row[key] for key in shared} for row in after[name]] == before[name]
    # Nobody waits for an answer across two versions.
    fresh = ("sightings", "pins", "plans", "requests")
    assert [after[name] for name in fresh] == [[], [], [], []]


def test_values_are_read_as_they_were_written(old: Path) -> None:
    """Items, known runs, roots and the rest mean what they meant."""
    ledger = Ledger.open(old)

    assert ledger.items.in_state(*ItemState) == ITEMS
    assert ledger.items.freed() == Size(10, 100)
    assert ledger.known.active == {run_id(4)}
    assert ledger.identity == BackendIdentity({"0": 1_700_000_000_001}, change_count=9)
    assert ledger.roots() == {"/art": KnownRoot("/art", is_marked=True, problem="it was odd")}
    assert ledger.tokens() == frozenset()
    assert ledger.requests.waiting() == []
    assert ledger.now(Reading(1_100.0, "boot 1", 110.0)).aged_s == 100.0
    ledger.close()


def test_refusal_of_a_database_that_went_back_lasts_from_then(old: Path) -> None:
    """It stands until answered, though its signs go; any other is over with its situation."""
    ledger = Ledger.open(old)
    assert [refusal.plan_id for refusal in ledger.refusals.lasting()] == ["22222222"]
    assert ledger.refusals.confirmed() == {"11111111"}

    ledger.refusals.keep_only(frozenset())

    standing = ledger.refusals.current()
    assert standing is not None
    assert standing.refusal == Refusal("22222222", BACK, is_lasting=True)
    assert ledger.refusals.confirmed() == frozenset()
    assert not ledger.refusals.answer("11111111", "confirmed")
    assert ledger.refusals.answer("22222222", "confirmed")
    ledger.close()


def test_reader_leaves_it_to_the_monitor(old: Path) -> None:
    """Whoever only reads changes nothing, and says what does."""
    before = (old / FILE).read_bytes()

    with pytest.raises(LedgerUnwritable, match="starting the monitor brings it up to date"):
        LedgerFile.open_to_read(old)

    assert (old / FILE).read_bytes() == before
    assert {path.name for path in old.iterdir()} == {FILE}


def test_upgrade_that_fails_in_the_middle_never_was(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it or nothing: the next start finds the first format whole, and upgrades it."""
    before = content(old / FILE)
    broken = (*tables.UPGRADES[1][:2], "ALTER TABLE missing ADD COLUMN x TEXT")
    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "UPGRADES", {1: broken})
        with pytest.raises(LedgerUnwritable):
            Ledger.open(old)
    assert content(old / FILE) == before

    ledger = Ledger.open(old)
    assert ledger.items.in_state(*ItemState) == ITEMS
    ledger.close()


def test_upgraded_ledger_has_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    """However it came to its format, a ledger of one format has the same columns."""
    Ledger.open(old).close()
    new = tmp_path / "new"
    Ledger.open(new).close()

    assert columns_of(old / FILE) == columns_of(new / FILE)


def columns_of(path: Path) -> dict[str, set[str]]:
    """Name every table's columns."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
            for (name,) in rows
        }
