"""What stands in columns that any client can write to: text, references, JSON."""

from __future__ import annotations

import json

OF_RUN, OF_MODEL = "runs:/", "models:/"
"""How a reference to a run's or a logged model's artifacts begins."""


def text_of(value: object) -> str:
    """Read a column that should hold text, whatever it holds."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value if isinstance(value, str) else ""


def text_or_none(value: object) -> str | None:
    """Read a column that should hold text; what does not is as good as NULL."""
    return value if isinstance(value, str) else None


def reference(text: str) -> tuple[str, str, str]:
    """Split `runs:/<id>/<path>` or `models:/<id>` into scheme, id and path; else all empty."""
    for scheme in (OF_RUN, OF_MODEL):
        if text.startswith(scheme):
            id_, _, inside = text.removeprefix(scheme).strip("/").partition("/")
            return scheme, id_, inside
    return "", "", ""


def strings(source: str) -> list[str]:
    """List every string in a dataset's source: JSON, whose keys are the source's business."""
    try:
        pending = [json.loads(source)]
    except (ValueError, RecursionError):
        return [source]
    found: list[str] = []
    while pending:
        match pending.pop():
            case str() as text:
                found.append(text)
            case dict() as mapping:
                pending += mapping.values()
            case list() as items:
                pending += items
    return found


def can_be_asked_for(value: object) -> bool:
    """Tell whether a value can stand in a query: no NUL, and no invalid UTF-8."""
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text
