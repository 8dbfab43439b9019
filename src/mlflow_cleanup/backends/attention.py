"""Is what moved on a server worth reading the runs for? Others may write there all the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

DOUBT_S = 11.0
"""A server counts what was written to a table up to ten seconds after the commit. So long what may
have been a change of ours, or of anybody else, is read for once only."""


class Attention:
    """Two signs: `gate` moves with every commit on the server, `rows` when runs are written to.

    The first is never late, but mostly of others: metrics, other databases. The second is ours, but
    may come late. So a read is called for at once where the second moved, or where the first did
    and no read was made for that lately; what is put off is made up for.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._gate: Hashable | None = None
        self._rows: Hashable | None = None
        self._is_in_doubt = True
        self._doubted_s: float | None = None

    def is_called_for(self, gate: Hashable | None, rows: Hashable | None) -> bool:
        """Tell whether to read now; None: the server could not be asked."""
        if rows != self._rows:
            self._gate, self._rows, self._is_in_doubt = gate, rows, False
            return True
        if gate != self._gate:
            self._gate, self._is_in_doubt = gate, True
        if not self._is_in_doubt:
            return False
        now = self._clock()
        if self._doubted_s is not None and now < self._doubted_s + DOUBT_S:
            return False
        self._doubted_s, self._is_in_doubt = now, False
        return True
