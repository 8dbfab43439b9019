"""Who left and who came since the last look: set differences of run ids."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from mlflow_cleanup.model.snapshot import Heads


@dataclass(frozen=True, slots=True)
class Departures:
    """The difference between the known runs and what the database holds now.

    `orphaned` were active and are not, or appear as deleted without having been seen before;
    `vanished` are those of them without a row; `arrived` are active and were not known to be.
    """

    orphaned: frozenset[str]
    vanished: frozenset[str]
    arrived: frozenset[str]

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing changed that matters here."""
        return not (self.orphaned or self.arrived)


def compare(
    last_known_active: AbstractSet[str], known_others: AbstractSet[str], heads: Heads
) -> Departures:
    """Compare known runs with the database's; one deleted between two looks counts as orphaned."""
    left = last_known_active - heads.active
    never_seen = heads.deleted - last_known_active - known_others
    return Departures(
        orphaned=frozenset(left | never_seen),
        vanished=frozenset(left - heads.deleted),
        arrived=frozenset(heads.active - last_known_active),
    )
