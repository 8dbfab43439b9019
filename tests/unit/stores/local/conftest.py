"""Roots of the local store, held in both ways."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlflow_cleanup.stores.local.account import Removal
from mlflow_cleanup.stores.local.directory import HAS_DIR_FD, Directory, open_root
from mlflow_cleanup.stores.local.removal import remove_tree
from tests.kit.grounds import LOCAL_BUILDERS, LocalGround, always, by_descriptor
from tests.kit.trees import File, plant

Open = Callable[[Path], Directory]
"""Opens a directory that is closed when the test ends."""


@pytest.fixture(params=LOCAL_BUILDERS.values(), ids=list(LOCAL_BUILDERS))
def ground(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> LocalGround:
    """Give an empty root, once for each way in which directories are held."""
    return request.param(tmp_path / "root", monkeypatch)


@pytest.fixture
def held_ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalGround:
    """Give an empty root on a system that opens directories by descriptor."""
    return by_descriptor(tmp_path / "root", monkeypatch)


@pytest.fixture(params=[True, False], ids=["by descriptor", "by path"])
def is_by_descriptor(request: pytest.FixtureRequest) -> bool:
    """Give both ways of holding a directory."""
    if request.param and not HAS_DIR_FD:
        pytest.skip("this system opens no directories by descriptor")
    return request.param


@pytest.fixture
def opened(*, is_by_descriptor: bool) -> Iterator[Open]:
    """Give an opener of directories, held in each way."""
    with ExitStack() as stack:

        def open_(path: Path) -> Directory:
            return stack.enter_context(
                open_root(os.path.realpath(path), by_descriptor=is_by_descriptor)
            )

        yield open_


@dataclass
class Site:
    """A directory in which the tree `tree` is removed; `waits` takes down the pauses."""

    path: Path
    waits: list[float] = field(default_factory=list)

    @property
    def tree(self) -> Path:
        """The tree's top."""
        return self.path / "tree"

    def remove(
        self,
        keep_going: Callable[[], bool] = always,
        wait: Callable[[float], object] | None = None,
    ) -> Removal:
        """Remove the tree, by descriptor."""
        with open_root(str(self.path), by_descriptor=True) as parent:
            return remove_tree(parent, "tree", keep_going, wait or self.waits.append)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Give an empty directory beside another one, `outside`, that has a file."""
    plant(tmp_path / "outside", {"theirs": File(b"theirs", 0o640)})
    path = tmp_path / "site"
    path.mkdir()
    return Site(path.resolve())
