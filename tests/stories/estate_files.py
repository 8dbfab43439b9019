"""Every file of a story, one of a kind each, and where it is now."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path

from mlflow_cleanup.model.item import Item
from mlflow_cleanup.model.location import RESERVED
from tests.kit.world import World, tree

AT_HOME = "at home"


@dataclass(eq=False)
class File:
    """One file as it was written once: its bytes are like no other's."""

    path: Path
    data: bytes
    written_s: float
    """When, on the wall's clock: what its modification time says."""
    held_since_s: float | None = None
    """Since when it has been in the trash, in the most that ledger time can be."""
    is_due: bool = False
    """Its retention was over at some step since."""

    def __repr__(self) -> str:
        return f"{self.path}"


Whereabouts = dict[File, str]
"""Where files are: at home, or in the trash under an item's id; those not in it are gone."""


class Files:
    """The files of a world: those under its roots, and those that lie outside."""

    def __init__(self, world: World, outside: Path) -> None:
        self._world, self._outside = world, outside
        self._by_data: dict[bytes, File] = {}
        self._numbers = itertools.count(1)
        self.where: Whereabouts = {}
        self.unmounted: set[Path] = set()

    def write(self, path: Path, size: int = 20) -> File:
        """Write a file, over any that is there."""
        if path.is_file():
            self.where.pop(self._by_data[path.read_bytes()])
        label = f"number {next(self._numbers)}"
        data = self._world.write(path.parent, path.name, size, label)
        self._by_data[data] = file = File(path, data, self._world.clock.wall_s)
        self.where[file] = AT_HOME
        return file

    def remove(self, top: Path) -> None:
        """Remove a directory as others than we do."""
        shutil.rmtree(top, ignore_errors=True)
        for file in self.at_home():
            if top in file.path.parents:
                self.where.pop(file)

    def at_home(self) -> list[File]:
        """List the files that are where they were written."""
        return [file for file, where in self.where.items() if where == AT_HOME]

    def find(self, items: list[Item]) -> Whereabouts:
        """Look where every file is; there must be no other, and none where it does not belong."""
        found: Whereabouts = {}
        known = {item.id: item for item in items}
        for root in map(Path, self._world.settings.roots):
            for inside, data in tree(self.actual(root)).items():
                parts = Path(inside).parts
                if parts[0] == RESERVED and parts[3:4] != ("content",):
                    continue  # a marker or a note
                file = self._by_data.get(data)
                assert file is not None, f"nobody wrote {inside}"
                assert file not in found, f"{file} is there twice"
                if parts[0] == RESERVED:
                    found[file] = parts[2]
                    home = _home_of(known, parts)
                else:
                    found[file], home = AT_HOME, root / inside
                assert home == file.path, f"{file} lies in {inside}"
        for inside, data in tree(self._outside).items():
            file = self._by_data[data]
            assert file.path == self._outside / inside
            found[file] = AT_HOME
        return found

    def actual(self, path: Path) -> Path:
        """Say where a path of an unmounted root can be looked at."""
        for root in self.unmounted:
            if root == path or root in path.parents:
                return root.with_name(f"{root.name}-aside") / path.relative_to(root)
        return path

    def unmount(self, root: Path) -> None:
        """Let an artifact root vanish."""
        self.unmounted.add(root)
        root.rename(self.actual(root))

    def mount(self, root: Path) -> None:
        """Let an artifact root come back."""
        self.actual(root).rename(root)
        self.unmounted.discard(root)


def _home_of(items: dict[str, Item], parts: tuple[str, ...]) -> Path:
    """Say where a file in the trash came from, by its item."""
    item = items.get(parts[2])
    assert item is not None, f"the trash holds {parts[2]}, which the ledger does not know"
    return Path(item.location.path, *parts[4:])
