"""What can go wrong with an artifact root."""

from __future__ import annotations

from mlflow_cleanup.errors.base import CleanupError


class StoreUnreachable(CleanupError):
    """An artifact root cannot be seen; nothing under it is judged clean, moved or removed."""

    def __init__(self, root: str, detail: str) -> None:
        self.root, self.detail = root, detail
        super().__init__(
            f"artifact root {root} is unreachable: {detail}; nothing there was touched"
        )


class NoRoot(StoreUnreachable):
    """A place lies under no artifact root that is configured."""

    def __init__(self, root: str) -> None:
        super().__init__(root, "it is no artifact root here; add it with --artifact-root")


class RootTwice(StoreUnreachable):
    """Two artifact roots are one place."""

    def __init__(self, root: str, other: str, *, hint: str = "") -> None:
        self.other = other
        super().__init__(
            root,
            f"it is the same place as the artifact root {other}, as by a bind mount, so that "
            "each place has two names and a claim only one of them. Configure one of the two"
            f"{hint}",
        )


class ForeignOwner(StoreUnreachable):
    """An artifact root carries the owner marker of another tracking database."""

    def __init__(self, root: str, owner: str) -> None:
        self.owner = owner
        super().__init__(
            root,
            f"its marker .mlflow-cleanup/owner.json belongs to another tracking database "
            f"({owner}). If it is meant to serve this one, run `mlflow-cleanup adopt {root}`",
        )


class UnsafePlace(CleanupError):
    """A path runs through a symbolic link, a mount point or something that is no directory."""

    def __init__(self, path: str, detail: str) -> None:
        self.path, self.detail = path, detail
        super().__init__(f"{path} was left alone: {detail}")


class QuarantineFailed(CleanupError):
    """A directory could not be moved into the trash; it is where it was."""

    def __init__(self, path: str, detail: str) -> None:
        self.path, self.detail = path, detail
        super().__init__(f"{path} could not be moved into the trash: {detail}; it is where it was")
