"""File name patterns, as values: comparable, and quick where they only name an ending."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import translate
from operator import methodcaller

CHECKPOINTS = ("*.ckpt", "*.pt", "*.pth", "*.safetensors", "checkpoint*/")
"""What training libraries call the states that they save on the way. `/` stands for directories."""

_SPECIAL = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Globs:
    """Shell patterns; called with a name, they say whether one of them is its, case and all."""

    patterns: tuple[str, ...]
    _endings: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _others: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A name is asked about for every file, and most patterns are `*.ending`.
        endings = tuple(one[1:] for one in self.patterns if _is_ending(one))
        others = "|".join(translate(one) for one in self.patterns if not _is_ending(one))
        object.__setattr__(self, "_endings", endings)
        object.__setattr__(self, "_others", re.compile(others) if others else None)

    @property
    def test(self) -> Callable[[str], bool]:
        """The same question as a plain function where that can be, which takes half the time."""
        return self if self._others is not None else methodcaller("endswith", self._endings)

    def __call__(self, name: str) -> bool:
        """Tell whether a name has one of the patterns."""
        if name.endswith(self._endings):
            return True
        return self._others is not None and self._others.match(name) is not None


def files_and_directories(patterns: Iterable[str]) -> tuple[Globs, Globs]:
    """Part patterns of file names from those of directories, which end in `/`."""
    given = tuple(patterns)
    files = Globs(tuple(one for one in given if not one.endswith("/")))
    return files, Globs(tuple(one.rstrip("/") for one in given if one.endswith("/")))


def _is_ending(pattern: str) -> bool:
    return pattern.startswith("*") and not _SPECIAL.search(pattern, 1)
