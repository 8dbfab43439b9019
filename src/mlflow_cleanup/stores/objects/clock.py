"""The store's own clock: what was written an hour ago by it may have been written just now by ours.

Ages are worked out from the store's times and our clock. A store whose clock is behind makes what
was just written look old, so its times are moved on by as much. One whose clock is ahead only makes
things look younger, which keeps them, and is left.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ANSWER_S = 5.0

UNNOTICED_S = 60.0
"""Nothing here depends on a minute, and answers take their time."""


def lag_of(endpoint: str, clock: Callable[[], float] = time.time) -> float:
    """Say how many seconds the clock at a URL is behind ours, in whole minutes; 0: not, or unknown.

    Asked without credentials: a refusal tells the time as well.
    """
    date = _date_at(endpoint)
    try:
        behind_s = clock() - parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError):
        return 0.0
    return math.ceil(behind_s / 60) * 60.0 if behind_s > UNNOTICED_S else 0.0


def _date_at(endpoint: str) -> str | None:
    try:
        request = Request(endpoint, method="HEAD")  # noqa: S310 - the store's own URL
        with urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310 - likewise
            date: str | None = answer.headers.get("Date")
    except HTTPError as error:
        with error:
            return error.headers.get("Date")
    except (OSError, ValueError, HTTPException):
        return None
    return date
