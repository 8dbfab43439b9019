"""Ids are text that anybody can send: they name one row or none, and do nothing else."""

from __future__ import annotations

import pytest

from mlflow_cleanup.act.metadata import Outcome, Result, Target, TargetKind, remove_rows
from mlflow_cleanup.act.metadata.targets import NO_ID
from tests.kit.rows import DELETED_MS, Filled

NOBODYS = [
    "",
    " ",
    "' OR 1=1 --",
    '"; DROP TABLE runs; --',
    "%",
    "_" * 32,
    "\x00",
    "a\x00b",
    ":root_id",
    "x" * 1_000_000,
    "é\u0301\u202e",
    "NULL",
    "-1",
]
IMPOSSIBLE_NUMBERS = [
    *("007", "+200", "-200", "2e2", "200.0", " 200", "200 ", "200\n", "٢٠٠", "0x10", "", "two"),
    *("9223372036854775808", "9" * 30, "9" * 5_000, "200\x00", "'200'"),
]


@pytest.mark.parametrize("kind", [kind for kind in TargetKind if kind.value != "experiment"])
def test_an_id_that_names_nothing_does_nothing(filled: Filled, kind: TargetKind) -> None:
    """Quotes, NUL, wild cards and very long ones are compared, and never run."""
    filled.world(2, "deleted")
    before = filled.content()
    outcomes = list(
        remove_rows(filled.database, [Target(kind, id_, DELETED_MS) for id_ in NOBODYS])
    )
    assert sorted(item.target.id for item in outcomes) == sorted(NOBODYS)
    # PostgreSQL knows no text with a NUL.
    assert {item.result for item in outcomes if "\x00" not in item.target.id} == {Result.ABSENT}
    assert {item.reason for item in outcomes} <= {"", NO_ID}
    assert filled.content() == before


@pytest.mark.parametrize("id_", IMPOSSIBLE_NUMBERS)
def test_an_experiment_is_named_by_its_own_number_only(filled: Filled, id_: str) -> None:
    """'007' is not how anybody names experiment 7."""
    filled.world(2, "deleted", without=["runs", "logged_models", "trace_info", "guardrails"])
    filled.file.execute("UPDATE experiments SET experiment_id = 7 WHERE experiment_id = 0")
    before = filled.content()
    target = Target(TargetKind.EXPERIMENT, id_, DELETED_MS)
    assert list(remove_rows(filled.database, [target])) == [Outcome(target, Result.KEPT, NO_ID)]
    assert filled.content() == before


@pytest.mark.parametrize("kind", TargetKind)
@pytest.mark.parametrize("id_", ["\udcff", "a\ud800b", "\udc80" * 32])
def test_an_id_that_is_no_text_is_kept(filled: Filled, kind: TargetKind, id_: str) -> None:
    """Bytes that are not UTF-8 can be read from a database, and not be asked for."""
    target = Target(kind, id_, DELETED_MS)
    assert list(remove_rows(filled.database, [target])) == [Outcome(target, Result.KEPT, NO_ID)]


@pytest.mark.parametrize("at_ms", [2**63, -(2**63) - 1, 10**40])
def test_a_time_that_no_row_can_have_is_kept(filled: Filled, at_ms: int) -> None:
    """It does not end the whole job."""
    target = Target(TargetKind.RUN, filled.world(2, "deleted").run, at_ms)
    assert list(remove_rows(filled.database, [target])) == [Outcome(target, Result.KEPT, NO_ID)]


@pytest.mark.parametrize("id_", ["' OR '1'='1", "a\x00b", "%", "🏃", "x" * 31])
def test_a_run_with_such_an_id_goes_alone(filled: Filled, id_: str) -> None:
    """Only what it is compared with as a whole is meant."""
    if "\x00" in id_ and filled.database.is_on_server:
        pytest.skip("no such text there")
    filled.file.experiment("0", None)
    other = filled.world(2, "deleted")
    for run in (id_, id_ + "x"):
        filled.file.run(run, stage="deleted", deleted_time=9)
        filled.file.tag(run, "key", "value")
    target = Target(TargetKind.RUN, id_, 9)
    assert list(remove_rows(filled.database, [target])) == [Outcome(target, Result.REMOVED)]
    left = filled.file.execute("SELECT run_uuid FROM tags")
    assert sorted(left) == sorted([(id_ + "x",), (other.run,)])


def test_ids_differ_by_case(filled: Filled) -> None:
    """Also where the database takes the two for the same, as MySQL does, with blanks too."""
    filled.file.experiment("0", None)
    filled.file.run("aB", stage="deleted")
    for other in ("Ab", "aB ", "aß", "àB"):
        outcomes = list(remove_rows(filled.database, [Target(TargetKind.RUN, other, 2_000)]))
        assert [item.result for item in outcomes] == [Result.ABSENT]
    assert filled.file.execute("SELECT run_uuid FROM runs") == [("aB",)]


def test_bytes_in_a_column_that_is_looked_through_stop_nothing(in_sqlite: Filled) -> None:
    """Another's row may hold anything."""
    filled = in_sqlite
    target = filled.target(TargetKind.RUN, filled.world(2, "deleted"))
    other = filled.world(3, "active")
    filled.file.execute(
        "UPDATE logged_model_metrics SET run_id = CAST(x'ff00fe' AS TEXT) WHERE run_id = ?",
        other.run,
    )
    assert list(remove_rows(filled.database, [target])) == [Outcome(target, Result.REMOVED)]
