"""Trees of files, links and odd things: planted, and looked at without the code under test."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st


@dataclass(frozen=True)
class File:
    """A file to plant."""

    content: bytes = b""
    mode: int = 0o644


@dataclass(frozen=True)
class Link:
    """A symbolic link to plant."""

    target: str


Tree = Mapping[str, "File | Link | Tree"]
"""What lies in a directory, by name."""

Seen = dict[str, tuple[str, int, bytes]]
"""What was found below a directory: path to kind, permission bits and content (a link's target)."""

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def plant(top: Path, tree: Tree) -> Path:
    """Make `top`, its parents and everything that `tree` says; what is there already stays."""
    top.mkdir(parents=True, exist_ok=True)
    for name, what in tree.items():
        path = top / name
        if isinstance(what, Link):
            path.symlink_to(what.target)
        elif isinstance(what, File):
            path.write_bytes(what.content)
            path.chmod(what.mode)
        else:
            plant(path, what)
    return top


def look(top: Path) -> Seen:
    """Read everything below `top`, following no link; empty where there is nothing."""
    seen: Seen = {}
    pending = [""]
    while pending:
        inside = pending.pop()
        if not os.path.lexists(top / inside):
            continue
        for name in os.listdir(top / inside):
            path = os.path.join(inside, name)
            seen[path] = _look_at(top / path)
            if seen[path][0] == "directory":
                pending.append(path)
    return seen


def _look_at(path: Path) -> tuple[str, int, bytes]:
    status = path.lstat()
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    if kind == "link":
        return kind, 0, os.fsencode(os.readlink(path))
    return kind, stat.S_IMODE(status.st_mode), path.read_bytes() if kind == "file" else b""


def files_of(seen: Seen) -> dict[str, bytes]:
    """Keep the content of files only."""
    return {path: content for path, (kind, _, content) in seen.items() if kind == "file"}


def plant_deep(top: Path, levels: int, leaf: bytes = b"leaf") -> Path:
    """Make a chain of directories with a file in each; past 400 levels no path can name the end."""
    top.mkdir(parents=True)
    here = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("ten-letter", dir_fd=here)
        below = os.open("ten-letter", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        leaf_fd = os.open("leaf", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=here)
        os.write(leaf_fd, leaf)
        os.close(leaf_fd)
    os.close(here)
    return top


@contextmanager
def swept(top: Path) -> Iterator[Path]:
    """Remove `top` in the end by other means than ours: pytest cannot remove very deep trees."""
    try:
        yield top
    finally:
        subprocess.run(["rm", "-rf", os.fspath(top)], check=True)


def open_descriptors() -> int:
    """Count this process's open descriptors, where the system shows them."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def names(alphabet: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[str]:
    """Draw file names: any bytes that a Unix file system takes, or the given ones."""
    if alphabet is not None:
        return alphabet
    raw = st.binary(min_size=1, max_size=12).map(lambda name: name.replace(b"/", b"_"))
    odd = raw.filter(lambda name: b"\0" not in name and name not in (b".", b".."))
    return odd.map(os.fsdecode)


def trees(alphabet: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Tree]:
    """Draw trees of files, links and directories."""
    files = st.builds(
        File, st.binary(max_size=20), st.sampled_from([0o600, 0o644, 0o444, 0o755, 0o640])
    )
    links = st.sampled_from(["nowhere", "../a", "/", ".", "a/b"]).map(Link)
    return st.recursive(
        st.dictionaries(names(alphabet), files | links, max_size=4),
        lambda inner: st.dictionaries(names(alphabet), files | links | inner, max_size=4),
        max_leaves=12,
    )
