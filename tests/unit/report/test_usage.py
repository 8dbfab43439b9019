from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_cleanup.model.inventory import Inventory, Unseen
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.usage import By, Kind, RootContent, Row, Table, Usage
from mlflow_cleanup.report.usage import defused, usage_csv, usage_text, usage_values
from tests.kit.values import NOW

HOSTILE = 'x\n\x1b[2J\u202e\udcff,"'
DOCS = Path(__file__).parents[3] / "docs"


def usage(*rows: Row, by: By = By.RUN, **more: Any) -> Usage:  # noqa: ANN401 - the fields' own types
    """Make a usage of one root with one table."""
    total = sum((Size(row.files, row.bytes) for row in rows), Size())
    root = RootContent(Inventory("/art", {}, {"": total}, total), **more)
    return Usage(NOW, "/db", (root,), {by: Table(rows)})


def read(text: str) -> list[dict[str, str]]:
    """Read comma-separated values as a spreadsheet does."""
    return list(csv.DictReader(io.StringIO(text)))


def test_values_and_text_and_csv_say_the_same() -> None:
    """A row is the same row in each form."""
    found = usage(Row("abc", 1_000, 1_500, 500, "net", "7", "ada"))

    [row] = usage_values(found)["by"]["run"]["rows"]
    assert row == {
        "key": "abc",
        "name": "net",
        "experiment_id": "7",
        "user": "ada",
        "files": 1_000,
        "bytes": 1_500,
        "checkpoint_bytes": 500,
    }
    line = usage_text(found).splitlines()[-1]
    assert line.split() == ["abc", '"net"', "1.5", "kB", "100.0%", "1,000", "500", "B", "7", "ada"]
    [cells] = read(usage_csv(found))
    assert cells == {"by": "run", **{key: str(value) for key, value in row.items()}}


def test_rows_not_shown_are_told_with_their_sum() -> None:
    """What is cut off is not lost: every form still adds up."""
    found = usage(Row("abc", 1, 10, 0))
    table = replace(found.tables[By.RUN], count=3, rest=Size(5, 90))
    found = replace(found, tables={By.RUN: table})

    assert usage_values(found)["by"]["run"]["others"] == {"count": 3, "files": 5, "bytes": 90}
    assert "3 others" in usage_text(found)
    assert [(row["key"], row["bytes"]) for row in read(usage_csv(found))] == [
        ("abc", "10"),
        ("(others)", "90"),
    ]


@pytest.mark.parametrize("by", [By.EXPERIMENT, By.USER, By.RUN])
def test_what_belongs_to_none_is_told_in_words(by: By) -> None:
    """No key is null in JSON, empty in CSV, and words in the text."""
    found = usage(Row(None, 1, 10, 0), by=by)

    assert usage_values(found)["by"][by.value]["rows"][0]["key"] is None
    assert "(of no " in usage_text(found)
    assert read(usage_csv(found))[0]["key"] == ""


def test_strangers_text_moves_no_cursor() -> None:
    """Names and users are clients' text: in text and CSV one printable line each."""
    found = usage(Row("abc", 1, 10, 0, HOSTILE, "7", HOSTILE))

    text, cells = usage_text(found), usage_csv(found)

    assert all(line.isprintable() for line in (*text.splitlines(), *cells.splitlines()))
    assert len(cells.splitlines()) == 2
    assert json.loads(json.dumps(usage_values(found)))["by"]["run"]["rows"][0]["name"] == HOSTILE


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", '=HYPERLINK("http://x")', "\n@x"],
)
def test_no_cell_is_a_formula(cell: str) -> None:
    """A spreadsheet shows what a stranger wrote, and computes nothing."""
    found = usage(Row(cell, 1, 10, 0, cell, cell, cell))

    [row] = read(usage_csv(found))

    for name in ("key", "name", "experiment_id", "user"):
        assert row[name][0] not in "=+-@\t\r\n "


def test_harmless_cells_stay_as_they_are() -> None:
    """Only what could be computed is changed."""
    assert [defused(text) for text in ("a=b", "m-1", "é", "", None)] == ["a=b", "m-1", "é", "", ""]


def test_what_was_not_seen_is_told() -> None:
    """In the text and in the values, with the root's problem."""
    unseen = (Unseen("/art/x", "Permission denied"),)
    found = usage(Row(Kind.RUN.value, 1, 10, 0), by=By.KIND, unseen=unseen, problem="it says so")

    [root] = usage_values(found)["roots"]
    assert root["unseen"] == [{"path": "/art/x", "why": "Permission denied"}]
    assert root["problem"] == "it says so"
    assert "Not seen: /art/x: Permission denied" in usage_text(found)
    assert "is not certain: it says so" in usage_text(found)


def test_nothing_at_all_can_be_shown() -> None:
    """No files, no rows, no division."""
    found = usage(by=By.KIND)

    assert "0 B in 0 files" in usage_text(found)
    assert read(usage_csv(found)) == []


def _keys(values: Any) -> set[str]:  # noqa: ANN401 - JSON values
    """List the names of all fields."""
    if isinstance(values, dict):
        return set(values).union(*map(_keys, values.values()))
    return set().union(*map(_keys, values)) if isinstance(values, list) else set()


def test_every_field_is_documented_and_no_other() -> None:
    """docs/json.md names the fields of the program, and the program has those it names."""
    section = (DOCS / "json.md").read_text("utf-8").partition("## `usage --json`")[2]
    documented = set(re.findall(r"`([a-z_]+)`", section.partition("\n## ")[0]))
    found = usage(Row("abc", 1, 10, 0), unseen=(Unseen("/art/x", "closed"),))
    values = usage_values(replace(found, tables=dict.fromkeys(By, found.tables[By.RUN])))

    assert documented == _keys(values) | {"null"}


def test_every_kind_is_documented() -> None:
    """The guide says what each kind of bytes is."""
    guide = (DOCS / "guide.md").read_text("utf-8")

    assert [kind.value for kind in Kind if f"`{kind.value}`" not in guide] == []
