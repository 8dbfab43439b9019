"""Artifact roots for tests of stores: each kind of store is one builder in `BUILDERS`.

A `Ground` is a root, and ways to fill it and look at it that do not go through the store. Another
kind of store joins the contract suite with a builder of its own.
"""

from __future__ import annotations

import errno
import os
import platform
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from mlflow_cleanup.model.entity import run
from mlflow_cleanup.model.item import Held, Item, ItemState
from mlflow_cleanup.model.location import RESERVED, Location
from mlflow_cleanup.model.snapshot import BackendIdentity
from mlflow_cleanup.stores.base import ArtifactStore
from mlflow_cleanup.stores.local.directory import HAS_DIR_FD
from mlflow_cleanup.stores.local.removal import REMOVERS, remove_on_windows
from mlflow_cleanup.stores.local.store import LocalStore
from mlflow_cleanup.stores.local.trash import CONTENT, TRASH
from mlflow_cleanup.stores.marker import Owner
from tests.kit.faults import before
from tests.kit.trees import Seen, Tree, look, plant

OURS = Owner("sqlite:////srv/ours/mlflow.db", BackendIdentity({"0": 1_700_000_000_001}))
THEIRS = Owner("sqlite:////srv/theirs/mlflow.db", BackendIdentity({"0": 1_600_000_000_002}))

RUN = "0123456789abcdef0123456789abcdef"
INSIDE = ("7", RUN, "artifacts")
"""Where a run's artifacts lie under a root."""

NOTE = {"entity": f"run {RUN}", "reason": "deleted"}


class Ground(Protocol):
    """One artifact root. `moves` tells whether quarantine takes the bytes elsewhere.

    `has_directories`: directories are things of their own there, and so are links.
    `parents_first`: a listing tells a directory before what it holds, not after it.
    `takes_any_bytes`: names need not be valid text; `takes_control_characters`: nor harmless.
    `connections` may stay open between calls.
    """

    root: str
    moves: bool
    has_directories: bool
    parents_first: bool
    takes_any_bytes: bool
    takes_control_characters: bool
    connections: int

    def store(self, owner: Owner = OURS, *, is_marked: bool = False) -> ArtifactStore:
        """Open the root anew, as the next start of the program would."""
        ...

    def put(self, location: Location, files: Mapping[str, bytes]) -> None:
        """Write files below a location, as MLflow would."""
        ...

    def files(self) -> dict[str, bytes]:
        """Read everything that lies under the root, without what is mlflow-cleanup's own."""
        ...

    def hide(self) -> None:
        """Make the root unreachable."""
        ...

    def reveal(self) -> None:
        """Make it reachable again."""
        ...

    def lose_marker(self) -> None:
        """Remove the owner marker, as when a file system is not mounted."""
        ...

    def adopt(self) -> None:
        """Say as an operator that nothing but our database uses the root."""
        ...

    def elsewhere(self) -> Ground:
        """Move everything to another place, and return it."""
        ...

    def put_outside(self, content: bytes) -> None:
        """Write a file in the directory `outside` beside the root."""
        ...

    def read_outside(self) -> bytes:
        """Read it."""
        ...

    def touch(self, location: Location, at_s: float) -> None:
        """Let something have been written at a time."""
        ...

    def make(self, location: Location) -> None:
        """Make an empty directory."""
        ...

    def link(self, location: Location, target: str) -> None:
        """Make a symbolic link."""
        ...

    def second_name(self, location: Location, outside: Path) -> None:
        """Give a file that lies elsewhere another name here."""
        ...

    def unlistable(self, location: Location) -> AbstractContextManager[None]:
        """Let nobody list a directory."""
        ...

    def vanishing(self, location: Location) -> AbstractContextManager[None]:
        """Let a directory vanish in the moment when it is listed."""
        ...


@dataclass
class LocalGround:
    """A directory. `waits` takes down the pauses that the store asked for, without waiting."""

    path: Path
    by_descriptor: bool = HAS_DIR_FD
    waits: list[float] = field(default_factory=list)
    moves: bool = True
    has_directories: bool = True
    parents_first: bool = True
    takes_any_bytes: bool = True
    takes_control_characters: bool = True
    connections: int = 0

    def __post_init__(self) -> None:
        self.path.mkdir(exist_ok=True)
        self.path = self.path.resolve()
        self.root = str(self.path)

    def store(self, owner: Owner = OURS, *, is_marked: bool = False) -> LocalStore:
        """See `Ground.store`."""
        return LocalStore(
            self.root,
            owner,
            is_marked=is_marked,
            wait=self.waits.append,
            by_descriptor=self.by_descriptor,
        )

    def put(self, location: Location, files: Mapping[str, bytes]) -> None:
        """See `Ground.put`."""
        for name, content in files.items():
            path = self.path.joinpath(*location.inside, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def files(self) -> dict[str, bytes]:
        """See `Ground.files`."""
        return {
            str(path.relative_to(self.path)): path.read_bytes()
            for path in self.path.rglob("*")
            if path.is_file() and RESERVED not in path.relative_to(self.path).parts
        }

    def hide(self) -> None:
        """See `Ground.hide`."""
        self.path.rename(self.path.with_name("away"))

    def reveal(self) -> None:
        """See `Ground.reveal`."""
        self.path.with_name("away").rename(self.path)

    def lose_marker(self) -> None:
        """See `Ground.lose_marker`."""
        self.own("owner.json").unlink()

    def adopt(self) -> None:
        """See `Ground.adopt`."""
        self.store().adopt(alone=True)

    def elsewhere(self) -> LocalGround:
        """See `Ground.elsewhere`."""
        self.path.rename(self.path.with_name("elsewhere"))
        return LocalGround(self.path.with_name("elsewhere"), self.by_descriptor)

    def put_outside(self, content: bytes) -> None:
        """See `Ground.put_outside`."""
        self.path.with_name("outside").mkdir()
        self.path.with_name("outside").joinpath("theirs").write_bytes(content)

    def read_outside(self) -> bytes:
        """See `Ground.read_outside`."""
        return self.path.with_name("outside").joinpath("theirs").read_bytes()

    def touch(self, location: Location, at_s: float) -> None:
        """See `Ground.touch`."""
        os.utime(self.at(*location.inside), (at_s, at_s), follow_symlinks=False)

    def make(self, location: Location) -> None:
        """See `Ground.make`."""
        self.at(*location.inside).mkdir(parents=True)

    def link(self, location: Location, target: str) -> None:
        """See `Ground.link`."""
        path = self.at(*location.inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def second_name(self, location: Location, outside: Path) -> None:
        """See `Ground.second_name`."""
        path = self.at(*location.inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(outside)

    def unlistable(self, location: Location) -> AbstractContextManager[None]:
        """See `Ground.unlistable`."""

        def refuse() -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        return _when_listed(self.at(*location.inside), refuse)

    def vanishing(self, location: Location) -> AbstractContextManager[None]:
        """See `Ground.vanishing`."""
        path = self.at(*location.inside)
        return _when_listed(path, lambda: shutil.rmtree(path))

    def fill(self, tree: Tree) -> Seen:
        """Plant the usual run's artifacts; return everything under the root as it is then."""
        plant(self.at(*INSIDE), tree)
        return self.look()

    def look(self) -> Seen:
        """Read all but mlflow-cleanup's own directory, with modes and links."""
        seen = look(self.path)
        return {path: what for path, what in seen.items() if path.split(os.sep)[0] != RESERVED}

    def quarantine(self, item_id: str = "item1") -> Item:
        """Quarantine the usual run's artifacts and return the item."""
        location = place(self)
        held = self.store().quarantine(location, item_id, NOTE)
        assert held is not None
        return item_at(location, item_id, held)

    def at(self, *inside: str) -> Path:
        """Give a path below the root."""
        return self.path.joinpath(*inside)

    def own(self, *inside: str) -> Path:
        """Give a path in mlflow-cleanup's own directory."""
        return self.path.joinpath(RESERVED, *inside)

    def trash(self, *inside: str) -> Path:
        """Give a path in the trash."""
        return self.own(TRASH, *inside)

    def held(self, item: Item) -> Path:
        """Give the place where a quarantined item's bytes lie."""
        return self.trash(item.id, CONTENT)


def _when_listed(path: Path, hook: Callable[[], None]) -> AbstractContextManager[None]:
    """Run `hook` whenever a directory is about to be listed, however it is held."""
    wanted = path.stat()
    is_busy: list[bool] = []

    def hooked(listed: int | str = ".") -> None:
        if is_busy or not os.path.samestat(os.stat(listed), wanted):
            return
        is_busy.append(True)  # what the hook itself lists is not meant
        try:
            hook()
        finally:
            is_busy.clear()

    return before("scandir", hooked)


Build = Callable[[Path, pytest.MonkeyPatch], Ground]


def by_descriptor(path: Path, _: pytest.MonkeyPatch) -> LocalGround:
    """Build the local store of systems that open directories by descriptor."""
    if not HAS_DIR_FD:
        pytest.skip("this system opens no directories by descriptor")
    return LocalGround(path, by_descriptor=True)


def by_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalGround:
    """Build the local store as it is on Windows: everything by path, trees removed by `shutil`."""
    monkeypatch.setitem(REMOVERS, platform.system(), remove_on_windows)
    return LocalGround(path, by_descriptor=False)


LOCAL_BUILDERS: dict[str, Callable[[Path, pytest.MonkeyPatch], LocalGround]] = {
    "local": by_descriptor,
    "local by path": by_path,
}

BUILDERS: dict[str, Build] = {**LOCAL_BUILDERS}
"""Every kind of store; each name is a test's parameter."""


def place(ground: Ground, *inside: str) -> Location:
    """Name a location under a ground's root; without names, that of the usual run."""
    return Location(ground.root, inside or INSIDE)


def item_at(location: Location, item_id: str = "item1", held: Held = Held.TRASH) -> Item:
    """Make the item that the ledger would have for a quarantined location."""
    return Item(item_id, run(RUN), location, ItemState.QUARANTINED, "deleted", held=held)


def always() -> bool:
    """Go on, whatever happens."""
    return True


def never() -> bool:
    """Stop at once."""
    return False


def times(number: int) -> Callable[[], bool]:
    """Go on so many times, then stop."""
    left = [number]

    def keep_going() -> bool:
        left[0] -= 1
        return left[0] >= 0

    return keep_going
