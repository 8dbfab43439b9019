from __future__ import annotations

from contextlib import suppress

import pytest

from mlflow_cleanup.errors import LedgerUnwritable
from mlflow_cleanup.ledger.known import KnownRun, RunState
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.ledger_home import LedgerHome
from tests.kit.homes import make_unwritable


def known(run_id: str, state: RunState = RunState.ACTIVE, uri: str | None = "/x") -> KnownRun:
    """Make a known run of experiment 0."""
    return KnownRun(run_id, state, "0", uri)


def by_state(ledger: Ledger) -> dict[RunState, set[str]]:
    """Return all ids by state, as they are at hand and as they are in the file, if these agree."""
    at_hand = {state: set(ledger.known.ids(state)) for state in RunState}
    rows = ledger._file.connection.execute("SELECT run_id, state FROM known_runs").fetchall()
    assert at_hand == {state: {r for r, s in rows if s == state.value} for state in RunState}
    return {state: ids for state, ids in at_hand.items() if ids}


def test_runs_are_learnt_moved_and_found_again(ledger: Ledger) -> None:
    """A run is in one state at a time, and the ids at hand are those in the file."""
    ledger.known.learn([known("a"), known("b"), known("c", RunState.BACKLOG)])
    ledger.known.move({"a": RunState.ORPHANED, "c": RunState.ORPHANED})
    ledger.known.move({"a": RunState.GONE})

    assert by_state(ledger) == {
        RunState.ACTIVE: {"b"},
        RunState.ORPHANED: {"c"},
        RunState.GONE: {"a"},
    }
    assert ledger.known.active == {"b"}
    assert ledger.known.others == {"a", "c"}


def test_known_runs_survive_a_restart(ledger: Ledger, home: LedgerHome) -> None:
    """What one process learnt is what the next one knows, odd text included."""
    run = KnownRun("a", RunState.ORPHANED, "7", "file:///odd\udcff\n", "kept for a reason")
    ledger.known.learn([run])
    ledger.close()

    again = Ledger.open(home)
    assert again.known.get("a") == run
    assert again.known.ids(RunState.ORPHANED) == {"a"}
    again.close()


def test_what_is_not_known_anew_stays_known(ledger: Ledger) -> None:
    """A run whose row is gone keeps the place and the experiment that were known of it."""
    ledger.known.learn([known("a", uri="/first")])
    ledger.known.learn([KnownRun("a", RunState.ORPHANED, None, None)])
    assert ledger.known.get("a") == KnownRun("a", RunState.ORPHANED, "0", "/first")

    ledger.known.learn([known("a", uri="/second")])
    assert ledger.known.get("a") == known("a", uri="/second")


def test_reason_to_keep_is_remembered_until_the_state_changes(ledger: Ledger) -> None:
    """Why a run is kept is known; with a new state there is nothing to remember."""
    ledger.known.learn([known("a", RunState.ORPHANED), known("b", RunState.ORPHANED)])
    ledger.known.keep({"a": "pinned"})
    assert [run.kept for run in ledger.known.in_state(RunState.ORPHANED)] == ["pinned", None]

    ledger.known.move({"a": RunState.GONE})
    run = ledger.known.get("a")
    assert run is not None
    assert run.kept is None


def test_runs_in_a_state_come_by_id(ledger: Ledger) -> None:
    """The same order in every cycle."""
    ledger.known.learn([known(id_) for id_ in ("c", "a", "b")])

    assert [run.run_id for run in ledger.known.in_state(RunState.ACTIVE)] == ["a", "b", "c"]


def test_unknown_run_is_none(ledger: Ledger) -> None:
    """Nothing is known of a run nobody saw, and moving it makes nothing up."""
    ledger.known.move({"nobody": RunState.GONE})

    assert ledger.known.get("nobody") is None


def test_nothing_to_do_writes_nothing(ledger: Ledger) -> None:
    """Empty changes do not even open a transaction."""
    make_unwritable(ledger)

    ledger.known.learn([])
    ledger.known.move({})
    ledger.known.keep({})


def test_forgetting_forgets_all(ledger: Ledger) -> None:
    """Afterwards nobody is known, at hand or in the file."""
    ledger.known.learn([known("a"), known("b", RunState.GONE)])
    ledger.known.forget_all()

    assert by_state(ledger) == {}


def test_ids_at_hand_follow_a_transaction_that_was_taken_back(ledger: Ledger) -> None:
    """What was learnt in a transaction that failed is not believed by anybody."""
    ledger.known.learn([known("a")])
    with suppress(RuntimeError), ledger.transaction():
        ledger.known.learn([known("b")])
        ledger.known.move({"a": RunState.GONE})
        raise RuntimeError

    assert by_state(ledger) == {RunState.ACTIVE: {"a"}}


def test_ids_at_hand_follow_a_write_that_failed(ledger: Ledger) -> None:
    """A single write that could not be made is not believed either."""
    ledger.known.learn([known("a")])
    make_unwritable(ledger)
    for change in (
        lambda: ledger.known.learn([known("b")]),
        lambda: ledger.known.move({"a": RunState.GONE}),
        ledger.known.forget_all,
    ):
        with pytest.raises(LedgerUnwritable):
            change()

    assert by_state(ledger) == {RunState.ACTIVE: {"a"}}
