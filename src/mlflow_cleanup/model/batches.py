"""Cutting what there is into lists of a size that fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")

IDS_A_QUERY = 500
"""SQLite's oldest limit on the values bound in one statement is 999."""


def batches(items: Iterable[Item], size: int = IDS_A_QUERY) -> Iterator[list[Item]]:
    """Yield the items in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some
