"""Numbers, times and strangers' text, made fit for a line on a terminal."""

from __future__ import annotations

from datetime import datetime, timedelta

from mlflow_cleanup.model.item import Size

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000


def printable(text: str) -> str:
    """Show text that a client may have set: one line, no control characters, no broken encoding."""
    if text.isascii() and text.isprintable():
        return text  # nearly all of it
    clean = text.encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in clean)


def size_text(count: float) -> str:
    """Write a number of bytes with a decimal unit, such as 1.2 MB."""
    for unit in _UNITS[:-1]:
        if round(abs(count), 1) < _STEP:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _STEP
    return f"{count:.1f} {_UNITS[-1]}"


def counted(count: int, what: str) -> str:
    """Write a number of things, such as "1 file" or "3 files"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def amount(size: Size | None) -> str:
    """Write a measured size, such as "3 files (1.2 MB)"."""
    if size is None:
        return "its files (size not measured yet)"
    return f"{counted(size.files, 'file')} ({size_text(size.bytes)})"


def minute(at: datetime) -> str:
    """Write a time in the local zone, to the minute."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M")


def length_text(length: timedelta) -> str:
    """Write a length of time with its two largest units, such as 6d 23h."""
    seconds = max(int(length.total_seconds()), 0)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Lay out rows under their heads, columns as wide as their widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    )
