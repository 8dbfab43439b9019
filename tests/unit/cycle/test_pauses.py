from __future__ import annotations

import itertools

from mlflow_cleanup.cycle.pauses import Pauses
from mlflow_cleanup.decide.margins import RETRY_LONGEST


def test_looks_become_seldom() -> None:
    """Within a week something is looked at some dozens of times, not once a minute."""
    pauses, looks = Pauses(), []
    for minute in range(7 * 24 * 60):
        if pauses.is_over("item", minute * 60.0):
            looks.append(minute)

    assert looks[:4] == [0, 1, 3, 7]
    assert len(looks) < 50
    between = [later - sooner for sooner, later in itertools.pairwise(looks)]
    assert max(between) * 60 == RETRY_LONGEST.total_seconds()


def test_each_has_a_pause_of_its_own() -> None:
    """What is new is looked at at once, whatever else waits."""
    pauses = Pauses()

    assert pauses.is_over("first", 0.0)
    assert not pauses.is_over("first", 1.0)
    assert pauses.is_over("second", 1.0)
