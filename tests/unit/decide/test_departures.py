from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_cleanup.decide.departures import Departures, compare
from mlflow_cleanup.model.snapshot import Heads


def ids(text: str) -> frozenset[str]:
    """Make a set of run ids of one letter."""
    return frozenset(text)


def test_every_way_of_coming_and_going_is_told_apart() -> None:
    """One look at a database in which one of everything happened."""
    found = compare(
        last_known_active=ids("kdv"),
        known_others=ids("or"),
        heads=Heads(active=ids("knr"), deleted=ids("dos")),
    )

    assert found == Departures(
        orphaned=ids("dvs"),  # deleted; vanished; deleted before it was ever seen
        vanished=ids("v"),
        arrived=ids("nr"),  # new; returned
    )
    assert not found.is_empty


def test_an_unchanged_database_gives_nothing_to_do() -> None:
    """The same runs as before are no departure, deleted and known ones neither."""
    found = compare(ids("ab"), ids("c"), Heads(ids("ab"), ids("c")))

    assert found == Departures(frozenset(), frozenset(), frozenset())
    assert found.is_empty


def test_rows_of_deleted_runs_may_go_without_a_word() -> None:
    """A run that was known as deleted and whose row is removed then has not vanished."""
    assert compare(ids("a"), ids("o"), Heads(ids("a"), ids(""))).is_empty


def test_an_emptied_database_has_every_active_run_vanished() -> None:
    """With no row left, every run that was active counts as vanished."""
    found = compare(ids("abc"), ids("o"), Heads(ids(""), ids("")))

    assert found.orphaned == found.vanished == ids("abc")


SETS = st.frozensets(st.sampled_from("abcdefgh"))


@settings(deadline=None)
@given(SETS, SETS, SETS, SETS)
def test_no_active_run_is_ever_orphaned(
    known: frozenset[str], others: frozenset[str], active: frozenset[str], deleted: frozenset[str]
) -> None:
    """Orphaned and active exclude each other, and the vanished are known runs of the orphaned."""
    found = compare(known, others - known, Heads(active, deleted - active))

    assert not found.orphaned & active
    assert found.vanished <= found.orphaned & known
    assert known - active <= found.orphaned
    assert found.arrived == active - known
