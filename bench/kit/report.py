"""Figures and how they are shown: as a table and as JSON, from the same values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

_COLUMNS = ("n", "min", "median", "p99", "max", "× base")


@dataclass(frozen=True, slots=True)
class Series:
    """Every sample of one figure of one contender; `group` says what it is compared with."""

    group: str
    contender: str
    samples: tuple[float, ...]
    is_baseline: bool = False
    note: str = ""

    def quantile(self, share: float) -> float:
        """Return the nearest-rank quantile: always a sample; NaN when there is none."""
        if not self.samples:
            return math.nan
        return sorted(self.samples)[max(math.ceil(share * len(self.samples)), 1) - 1]

    def values(self) -> dict[str, float]:
        """Return the figures that are shown."""
        return {
            "min": self.quantile(0.0),
            "median": self.quantile(0.5),
            "p99": self.quantile(0.99),
            "max": self.quantile(1.0),
        }


@dataclass(frozen=True, slots=True)
class Aim:
    """What we want a figure to be: at most `limit`."""

    text: str
    measured: float
    limit: float

    @property
    def is_met(self) -> bool:
        """Tell whether it is; a figure that could not be measured misses its aim."""
        return self.measured <= self.limit

    def __str__(self) -> str:
        verdict = "met" if self.is_met else "MISSED"
        return f"{self.text}: {_shown(self.measured)} (aim: at most {_shown(self.limit)}) {verdict}"


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement's outcome; `series` in the order in which they are shown, groups together.

    `loads` are the machine's load averages over a minute, before and after: others disturb.
    """

    name: str
    about: str
    series: tuple[Series, ...]
    aims: tuple[Aim, ...] = ()
    loads: tuple[float, float] = (math.nan, math.nan)

    def __str__(self) -> str:
        before, after = self.loads
        lines = [f"{self.name}: {self.about}; load {before:.1f} before, {after:.1f} after"]
        for group, members in groupby(self.series, key=lambda series: series.group):
            lines += _table(group, list(members))
        return "\n".join([*lines, *(f"  aim {aim}" for aim in self.aims)])


def write_json(path: Path, machine: Mapping[str, Any], results: Iterable[Result]) -> None:
    """Write machine, summaries, aims and every sample; what could not be measured is null."""
    told = {"machine": machine, "results": [_as_json(result) for result in results]}
    path.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _as_json(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "about": result.about,
        "loads": [_finite(load) for load in result.loads],
        "series": [
            {
                "group": series.group,
                "contender": series.contender,
                "is_baseline": series.is_baseline,
                "note": series.note,
                **{name: _finite(value) for name, value in series.values().items()},
                "samples": [round(sample, 6) for sample in series.samples],
            }
            for series in result.series
        ],
        "aims": [
            {
                "text": aim.text,
                "measured": _finite(aim.measured),
                "limit": aim.limit,
                "is_met": aim.is_met,
            }
            for aim in result.aims
        ],
    }


def _table(group: str, members: Sequence[Series]) -> list[str]:
    base = next((series.quantile(0.5) for series in members if series.is_baseline), math.nan)
    rows = [[group, *_COLUMNS, ""]]
    for series in members:
        figures = [_shown(value) for value in series.values().values()]
        ratio = _shown(series.quantile(0.5) / base if base else math.nan)
        rows.append([series.contender, str(len(series.samples)), *figures, ratio, series.note])
    first = max(len(row[0]) for row in rows)
    return ["", *("  " + _line(row, first) for row in rows)]


def _line(row: Sequence[str], first: int) -> str:
    return "".join([row[0].ljust(first), *(cell.rjust(10) for cell in row[1:-1]), "  ", row[-1]])


def _shown(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
