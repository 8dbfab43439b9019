"""Looking ever more seldom at what is most likely as it was."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlflow_cleanup.decide.retention import pause_after


@dataclass(slots=True)
class Pauses:
    """When each of many things is looked at again, with growing pauses, as after failures.

    Known in memory only: after a restart everything is looked at once.
    """

    _looks: dict[str, tuple[int, float]] = field(default_factory=dict)

    def is_over(self, id_: str, aged_s: float) -> bool:
        """Tell whether to look now, at ledger time `aged_s`; the next pause begins if so."""
        looks, due_s = self._looks.get(id_, (0, 0.0))
        if aged_s < due_s:
            return False
        self._looks[id_] = looks + 1, aged_s + pause_after(looks + 1).total_seconds()
        return True
