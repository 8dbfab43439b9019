"""Where the bytes are, as JSON values, as text and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from mlflow_cleanup.model.usage import By, RootContent, Row, Table, Usage
from mlflow_cleanup.report.text import printable, size_text, table

Values = dict[str, Any]

_FORMULA = ("=", "+", "-", "@")
"""What makes a spreadsheet compute a cell instead of showing it."""

_COLUMNS = ("by", "key", "name", "experiment_id", "user", "files", "bytes", "checkpoint_bytes")
_OTHERS = "(others)"
_NONE = {
    By.KIND: "-",
    By.EXPERIMENT: "(of no experiment)",
    By.USER: "(of no known user)",
    By.RUN: "(of no run)",
}


def usage_values(usage: Usage) -> Values:
    """Return where the bytes are as JSON values."""
    total = usage.total
    return {
        "made_at": usage.made_at.isoformat(),
        "database": usage.database,
        "files": total.files,
        "bytes": total.bytes,
        "roots": [_root_values(root) for root in usage.roots],
        "by": {by.value: _table_values(found) for by, found in usage.tables.items()},
    }


def usage_text(usage: Usage) -> str:
    """Lay out where the bytes are for a terminal."""
    total = usage.total
    roots = "1 artifact root" if len(usage.roots) == 1 else f"{len(usage.roots)} artifact roots"
    head = f"{size_text(total.bytes)} in {total.files:,} files under {roots} of {usage.database}"
    parts = [printable(head), *map(_root_text, usage.roots)]
    parts += [_table_text(by, found, total.bytes) for by, found in usage.tables.items()]
    return "\n\n".join(part for part in parts if part)


def usage_csv(usage: Usage) -> str:
    """Write all tables as one of comma-separated values, with a line of headings."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for by, found in usage.tables.items():
        for row in found.rows:
            strangers = (row.key, row.name, row.experiment_id, row.user)
            sizes = (row.files, row.bytes, row.checkpoint_bytes)
            writer.writerow([by.value, *map(defused, strangers), *sizes])
        if found.count:
            writer.writerow([by.value, _OTHERS, "", "", "", found.rest.files, found.rest.bytes, ""])
    return text.getvalue().rstrip("\n")


def defused(text: str | None) -> str:
    """Show a stranger's text in a cell that no spreadsheet takes for a formula."""
    shown = printable(text or "")
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


def _root_values(content: RootContent) -> Values:
    total = content.total
    return {
        "root": content.inventory.root,
        "files": total.files,
        "bytes": total.bytes,
        "unseen": [
            {"path": one.path, "why": one.why}
            for one in (*content.inventory.unseen, *content.unseen)
        ],
        "problem": content.problem,
    }


def _table_values(found: Table) -> Values:
    return {
        "rows": [_row_values(row) for row in found.rows],
        "others": {"count": found.count, "files": found.rest.files, "bytes": found.rest.bytes},
    }


def _row_values(row: Row) -> Values:
    return {
        "key": row.key,
        "name": row.name,
        "experiment_id": row.experiment_id,
        "user": row.user,
        "files": row.files,
        "bytes": row.bytes,
        "checkpoint_bytes": row.checkpoint_bytes,
    }


def _root_text(content: RootContent) -> str:
    """Say of a root what was not seen in it; nothing of one that was seen whole."""
    unseen = (*content.inventory.unseen, *content.unseen)
    lines = [f"Not seen: {one.path}: {one.why}" for one in unseen]
    if content.problem:
        root = content.inventory.root
        lines.append(f"What is orphaned under {root} is not certain: {content.problem}")
    return "\n".join(map(printable, lines))


def _table_text(by: By, found: Table, total_bytes: int) -> str:
    head = [by.value, "size", "share", "files", "checkpoints"]
    with_owner = by is By.RUN
    rows = [list(_cells(by, row, total_bytes)) for row in found.rows]
    if found.count:
        rest = [
            f"{found.count:,} others",
            *_amounts(found.rest.bytes, found.rest.files, total_bytes),
        ]
        rows.append([*rest, *([""] * (3 if with_owner else 1))])
    if with_owner:
        head += ["experiment", "user"]
    return table(head, rows)


def _cells(by: By, row: Row, total_bytes: int) -> Iterator[str]:
    name = f' "{printable(row.name)}"' if row.name else ""
    yield _NONE[by] if row.key is None else printable(row.key) + name
    yield from _amounts(row.bytes, row.files, total_bytes)
    yield size_text(row.checkpoint_bytes) if row.checkpoint_bytes else ""
    if by is By.RUN:
        yield printable(row.experiment_id or "")
        yield printable(row.user or "")


def _amounts(size: int, files: int, total_bytes: int) -> tuple[str, str, str]:
    share = f"{size / total_bytes:.1%}" if total_bytes else "-"
    return size_text(size), share, f"{files:,}"
