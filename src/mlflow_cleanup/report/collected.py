"""What was collected, as JSON values and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlflow_cleanup.model.collected import Collected, Fate
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.target import Target
from mlflow_cleanup.report.text import amount, counted, printable, size_text

_TOLD_EACH = (Fate.FAILED, Fate.KEPT, Fate.HELD)


@dataclass(slots=True)
class Tally:
    """Counts what is told, and keeps what the end has to name: what stays, and why."""

    counts: Counter[tuple[str, Fate]] = field(default_factory=Counter)
    removed: list[Collected] = field(default_factory=list)
    stays: list[Collected] = field(default_factory=list)
    schemes: Counter[str] = field(default_factory=Counter)
    """How many stay as they are in storage of some kind that is not handled."""
    freed: Size = field(default_factory=Size)
    is_stopped: bool = False
    vacuumed: tuple[int, int] | None = None
    """The database's bytes on disk before and after, where it was vacuumed."""

    def add(self, one: Collected) -> None:
        """Take down what became of one entity."""
        self.counts[one.target.kind.value, one.fate] += 1
        if one.scheme is not None:
            self.schemes[one.scheme] += 1
        if one.fate in _TOLD_EACH:
            self.stays.append(one)
        else:
            self.removed.append(one)

    def of(self, fate: Fate) -> int:
        """Return how many entities had one fate."""
        return sum(count for (_, had), count in self.counts.items() if had is fate)


def tally_values(tally: Tally) -> dict[str, Any]:
    """Return everything as JSON values."""
    return {
        "counts": {fate.value: tally.of(fate) for fate in Fate},
        "unhandled": dict(tally.schemes),
        "is_stopped": tally.is_stopped,
        "freed": {"files": tally.freed.files, "bytes": tally.freed.bytes},
        "entities": [_values(one) for one in (*tally.removed, *tally.stays)],
        "vacuumed": (
            None
            if tally.vacuumed is None
            else dict(zip(("bytes_before", "bytes_after"), tally.vacuumed, strict=True))
        ),
    }


def collected_text(one: Collected) -> str:
    """Say in one line what became of one entity."""
    why = f": {one.reason}" if one.reason else ""
    return printable(f"{one.target}: {one.fate.value}{why}")


def tally_text(tally: Tally) -> str:
    """Sum up: what went, what stays and why."""
    is_any = bool(tally.of(Fate.REMOVED))
    lines = [f"removed: {removed_text(tally)}" if is_any else "nothing was removed"]
    if files := tally.of(Fate.FILES_REMOVED):
        lines[0] = f"{files} without files by now; their rows stay"
    lines[0] += f"; {amount(tally.freed)} freed" if tally.freed.files else ""
    lines += [f"  {collected_text(one)}" for one in tally.stays]
    if tally.schemes:
        lines.append(f"  in storage that is not handled: {schemes_text(tally.schemes)}")
    if tally.of(Fate.HELD):
        lines.append("  rows stay until their files are purged: `mlflow-cleanup trash list`")
    if tally.is_stopped:
        lines.append("  it was stopped; what is left is as it was, and the next `gc` goes on")
    if tally.vacuumed:
        before, after = map(size_text, tally.vacuumed)
        lines.append(f"  the database takes {after} on the disk now, {before} before")
    return "\n".join(map(printable, lines))


def schemes_text(schemes: Mapping[str, int]) -> str:
    """Count what is in storage that is not handled, by its kind."""
    return ", ".join(f"{count} in {scheme}:" for scheme, count in sorted(schemes.items()))


def removed_text(tally: Tally) -> str:
    """Count the entities whose rows went."""
    return ", ".join(
        counted(count, kind)
        for (kind, fate), count in sorted(tally.counts.items())
        if fate is Fate.REMOVED
    )


def rows_text(considered: Sequence[tuple[Target, str | None]]) -> str:
    """Say which rows would go, and which stay with the reason (None: it would go)."""
    kinds = Counter(target.kind.value for target, why in considered if why is None)
    going = ", ".join(counted(count, kind) for kind, count in sorted(kinds.items()))
    lines = [f"Rows that would go: {going or 'none'}"]
    lines += [f"  {target} stays: {why}" for target, why in considered if why is not None]
    return "\n".join(map(printable, lines))


def rows_values(considered: Sequence[tuple[Target, str | None]]) -> list[dict[str, Any]]:
    """Return the same as JSON values."""
    return [
        {
            "kind": target.kind.value,
            "id": target.id,
            "stays": None if why is None else printable(why),
        }
        for target, why in considered
    ]


def _values(one: Collected) -> dict[str, Any]:
    return {
        "kind": one.target.kind.value,
        "id": one.target.id,
        "fate": one.fate.value,
        "reason": printable(one.reason),
    }
