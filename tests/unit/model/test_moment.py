from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from mlflow_cleanup.config import parse_duration
from mlflow_cleanup.model.moment import Moment

NOW = Moment(at=datetime(2025, 3, 10, 12, tzinfo=timezone.utc), aged_s=1_000.0)


@pytest.mark.parametrize(
    ("counted_from_s", "expected"),
    [
        (1_000.0, datetime(2025, 3, 17, 12, tzinfo=timezone.utc)),
        (0.0, datetime(2025, 3, 17, 11, 43, 20, tzinfo=timezone.utc)),
        (-6 * 86_400.0, datetime(2025, 3, 11, 11, 43, 20, tzinfo=timezone.utc)),
    ],
)
def test_the_day_of_purge_follows_from_ledger_time(
    counted_from_s: float, expected: datetime
) -> None:
    """What has aged already is taken off the retention, and the rest counts from now."""
    assert NOW.due_at(counted_from_s, timedelta(days=7)) == expected


def test_a_retention_beyond_the_calendar_is_no_error() -> None:
    """A length of time that can be given can be shown: `--retention 9999999d` means for ever."""
    due = NOW.due_at(NOW.aged_s, parse_duration("9999999d"))

    assert due > NOW.at
