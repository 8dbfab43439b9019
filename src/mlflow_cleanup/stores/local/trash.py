"""What lies in the trash of a root, and moving it there and back."""

from __future__ import annotations

import errno
from contextlib import suppress

from mlflow_cleanup.errors import UnsafePlace
from mlflow_cleanup.model.item import Held
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.stores.local.directory import (
    Directory,
    descend,
    exists,
    is_plain_directory,
)
from mlflow_cleanup.stores.local.merge import merge
from mlflow_cleanup.stores.local.moving import move

TRASH = "trash"
NOTE = "origin.json"
CONTENT = "content"
"""`<root>/.mlflow-cleanup/trash/<item>/` holds the note of origin and, moved by one rename, the
bytes."""

_COLLISIONS = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}


def held_by(inside: tuple[str, ...]) -> tuple[str, ...]:
    """Turn a path in our own directory into an item's id and what leads on in its content."""
    match inside:
        case (first, item_id, third, *below) if (first, third) == (TRASH, CONTENT):
            return (item_id, *below)
    return ()


def rename_away(parent: Directory, name: str, trash: Directory) -> Held:
    """Move a directory into an item's place in the trash; where it cannot leave, it stays."""
    try:
        move(parent, name, trash, CONTENT)
    except OSError as error:
        # Another file system (a mount, a container's lower layer) cannot be left by a rename.
        if error.errno == errno.EXDEV:
            return Held.IN_PLACE
        raise
    return Held.TRASH


def put_back(trash: Directory, parent: Directory, name: str) -> list[str]:
    """Move an item's content home; return what collided with what lies there now."""
    if exists(parent, name) and not is_plain_directory(parent.lstat(name)):
        return [name]
    try:
        move(trash, CONTENT, parent, name)
    except OSError as error:
        if error.errno not in _COLLISIONS:
            raise
    else:
        return []
    with trash.open(CONTENT) as content, parent.open(name) as there:
        collisions = merge(content, there)
    if not collisions:
        trash.rmdir(CONTENT)
    return collisions


def remove_trash(root: Directory, item_id: str) -> None:
    """Remove an item's emptied place in the trash; one that still holds bytes stays."""
    with suppress(FileNotFoundError, UnsafePlace), descend(root, (RESERVED, TRASH)) as trash:
        with suppress(OSError):
            trash.rmdir(item_id)  # had no note
            return
        with suppress(FileNotFoundError), descend(trash, [item_id]) as place:
            if exists(place, CONTENT):
                return
            for name in (NOTE, f"{NOTE}.new"):
                with suppress(FileNotFoundError):
                    place.unlink(name)
        with suppress(OSError):
            trash.rmdir(item_id)
