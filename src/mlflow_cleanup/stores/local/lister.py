"""One more process that lists: it is given pieces of a root, and answers with what lies there.

Started by `crew`, which hands over on the command line where everything is, and ends when its
standard input does. It opens the root by itself, follows no link, and writes nothing.
"""

from __future__ import annotations

import gc
import marshal
import signal
import struct
import sys
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

from mlflow_cleanup.model.globs import Globs
from mlflow_cleanup.model.inventory import Listed
from mlflow_cleanup.stores.local.directory import Directory, open_root
from mlflow_cleanup.stores.local.listing import Listing, Piece

AT_ONCE = 1000
"""Directories after which it answers, so that what is left can be shared out anew."""

_LENGTH = struct.Struct("<Q")


class Answer(NamedTuple):
    """What was found in a piece, as plain tuples, and what of it is left to do.

    A directory that was not seen has two values, its path and why; one that was has more.
    """

    found: list[tuple[Any, ...]]
    rest: list[Piece]


def main(told: Mapping[str, Any]) -> int:
    """List what is asked for on standard input until that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us is told, and ends us
    with open_root(told["root"], by_descriptor=told["by_descriptor"]) as root:
        if identity_of(root) != told["identity"]:
            return 1  # another directory by now: what was asked for was asked of the first
        globs = None if told["globs"] is None else Globs(told["globs"])
        gc.disable()  # there is no garbage but what goes by itself
        serve(Listing(root, globs), sys.stdin.buffer, sys.stdout.buffer)
    return 0


def serve(listing: Listing, asked: IO[bytes], answers: IO[bytes]) -> None:
    """Answer one piece after the other."""
    while (piece := receive(asked)) is not None:
        send(answers, work_on(listing, piece))


def work_on(listing: Listing, piece: Piece) -> Answer:
    """List a piece, or as much of it as goes into one answer."""
    listing.take(piece)
    found: list[tuple[Any, ...]] = []
    while len(found) < AT_ONCE and (one := listing.step()) is not None:
        found.append(tuple(one) if isinstance(one, Listed) else (one.path, one.why))
    return Answer(found, listing.give_up())


def identity_of(root: Directory) -> tuple[int, int]:
    """Tell one directory from another that may lie at its path later."""
    status = root.stat()
    return status.st_dev, status.st_ino


def send(to: IO[bytes], what: tuple[Any, ...]) -> None:
    """Write one message."""
    content = marshal.dumps(tuple(what))
    to.write(_LENGTH.pack(len(content)) + content)
    to.flush()


def receive(source: IO[bytes]) -> Any:  # noqa: ANN401 - what the other end sent
    """Read one message, None when there are no more; raises EOFError in the middle of one."""
    head = source.read(_LENGTH.size)
    if not head:
        return None
    content = source.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else b""
    try:
        return marshal.loads(content)  # noqa: S302 - written by our own other end
    except (ValueError, TypeError) as error:
        raise EOFError from error
