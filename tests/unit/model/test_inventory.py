from __future__ import annotations

import pytest

from mlflow_cleanup.model.inventory import Listed
from mlflow_cleanup.model.item import Size


@pytest.mark.parametrize(
    ("size", "has_directories", "is_empty"),
    [
        (Size(), False, True),
        (Size(1, 0), False, False),  # a file without a byte is one all the same
        (Size(1, 10), False, False),
        (Size(), True, False),
        (Size(1, 10), True, False),
    ],
)
def test_directory_is_empty_when_nothing_at_all_is_in_it(
    size: Size, *, has_directories: bool, is_empty: bool
) -> None:
    """Neither files, though they hold nothing, nor directories, whatever these hold."""
    assert Listed(("0",), size.files, size.bytes, 1.0, has_directories).is_empty is is_empty
