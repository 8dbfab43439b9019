from __future__ import annotations

import pytest

from mlflow_cleanup.model.snapshot import BackendIdentity, RunRow


@pytest.mark.parametrize(
    ("stage", "is_deleted"),
    [("deleted", True), ("active", False), ("archived", False), ("None", False), ("", False)],
)
def test_only_what_mlflow_calls_deleted_is_deleted(stage: str, is_deleted: bool) -> None:
    """A stage that is not known counts as a live one."""
    assert RunRow("r", "0", "/a", stage).is_deleted is is_deleted


@pytest.mark.parametrize(
    ("known", "found", "is_same"),
    [
        ({"0": 1, "1": 5}, {"0": 1, "1": 5}, True),
        ({"0": 1, "1": 5}, {"1": 5, "2": 9}, True),  # the oldest one was removed
        ({"0": 1, "1": 5}, {"0": 1, "1": 6}, True),  # the id of a removed one was given again
        ({"0": 1}, {"0": 2}, False),
        ({"0": 1, "1": 5}, {"0": 5, "1": 1}, False),
        ({"0": 1}, {"7": 1}, False),
        ({"0": None}, {"0": 2}, True),  # upgraded from a release that had no times
        ({}, {"0": 2}, True),
        ({"0": 1}, {}, True),
        ({"0": None, "1": 5}, {"0": None, "1": 6}, False),
    ],
)
def test_a_database_is_recognised_by_its_oldest_experiments(
    known: dict[str, int | None], found: dict[str, int | None], is_same: bool
) -> None:
    """One equal pair of id and creation time is enough; nothing to tell by counts as the same."""
    assert BackendIdentity(known).is_same_as(BackendIdentity(found)) is is_same
    assert BackendIdentity(found).is_same_as(BackendIdentity(known)) is is_same


def test_an_identity_names_its_first_experiment() -> None:
    """What an operator reads of an identity is the first experiment and when it was made."""
    assert str(BackendIdentity({"1": 5, "0": 3})) == "experiment 0 created at 3 ms"
    assert str(BackendIdentity({})) == "experiment none created at None ms"
