from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlflow_cleanup.model.item import Size
from mlflow_cleanup.report.text import amount, length_text, minute, printable, size_text, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name", "plain name"),
        ("é – 漢字", "é – 漢字"),
        ("two\nlines", "two\\x0alines"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\rb\tc\x00d\x7fe", "a\\x0db\\x09c\\x00d\\x7fe"),
        ("\u202egnp.exe", "\\x202egnp.exe"),
        ("line\u2028break\u0085", "line\\x2028break\\x85"),
        ("caf\udce9", "caf\\udce9"),
        ("", ""),
    ],
)
def test_strangers_text_is_shown_on_one_line(text: str, shown: str) -> None:
    """What could move the cursor, colour, turn or end a line is written out instead."""
    assert printable(text) == shown


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=[])))
@example("\r\n")
def test_any_text_can_be_shown(text: str) -> None:
    """Whatever the text, what is shown is one printable line that any terminal's encoding has."""
    shown = printable(text)

    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert shown.encode("utf-8").decode() == shown
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (1_234_567, "1.2 MB"),
        (5_000_000_000, "5.0 GB"),
        (10**12, "1.0 TB"),
        (10**15, "1.0 PB"),
        (10**19, "10000.0 PB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (999_999_999, "1.0 GB"),
    ],
)
def test_sizes_have_decimal_units(count: int, text: str) -> None:
    """A thousand bytes are a kilobyte, and no number before a larger unit reaches a thousand."""
    assert size_text(count) == text


@settings(deadline=None)
@given(st.integers(0, 10**17))
def test_a_size_is_shown_to_within_a_twentieth(count: int) -> None:
    """What is shown is near what was measured."""
    number, unit = size_text(count).split()
    factor = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15}[unit]

    assert float(number) * factor == pytest.approx(count, rel=0.05)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "its files (size not measured yet)"),
        (Size(0, 0), "0 files (0 B)"),
        (Size(1, 10), "1 file (10 B)"),
        (Size(3, 1_200_000), "3 files (1.2 MB)"),
    ],
)
def test_an_amount_is_files_and_bytes(size: Size | None, text: str) -> None:
    """A size that was not measured is not given a number."""
    assert amount(size) == text


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=-5), "0s"),
        (timedelta(milliseconds=999), "0s"),
        (timedelta(seconds=59), "59s"),
        (timedelta(minutes=1), "1m"),
        (timedelta(hours=12), "12h"),
        (timedelta(days=7), "7d"),
        (timedelta(days=6, hours=23, minutes=59, seconds=59), "6d 23h"),
        (timedelta(hours=1, minutes=1, seconds=1), "1h 1m"),
        (timedelta(weeks=10), "70d"),
    ],
)
def test_lengths_of_time_have_two_units(length: timedelta, text: str) -> None:
    """The two largest units are enough; what is over already is 0."""
    assert length_text(length) == text


@pytest.mark.skipif(sys.platform == "win32", reason="the zone is set by an environment variable")
def test_times_are_shown_in_the_local_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time in UTC is shown as the reader's own clock has it, to the minute."""
    import time  # noqa: PLC0415 - only here, and only to set the zone

    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX-05:30")
        time.tzset()
        assert minute(datetime(2025, 3, 10, 22, 5, 59, tzinfo=timezone.utc)) == "2025-03-11 03:35"
    time.tzset()


def test_a_table_is_as_wide_as_its_cells() -> None:
    """Columns line up, and no line ends in spaces."""
    assert table(["RUN", "SIZE"], [["a", "1 B"], ["long", "2"]]).split("\n") == [
        "RUN   SIZE",
        "a     1 B",
        "long  2",
    ]


def test_a_table_without_rows_is_its_head() -> None:
    """Nothing to list is still a table."""
    assert table(["RUN", "SIZE"], []) == "RUN  SIZE"
