from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlflow_cleanup.stores.local.directory import Directory, open_root
from mlflow_cleanup.stores.local.moving import move, writable
from tests.kit.children import as_nobody
from tests.kit.faults import before, fail
from tests.kit.trees import File, Link, look, plant

READ_ONLY = 0o555


@contextmanager
def both(top: Path, by_descriptor: bool) -> Iterator[tuple[Directory, Directory]]:
    """Open the directories `here` and `there`, made if they are missing."""
    plant(top, {"here": {}, "there": {}})
    with (
        open_root(str(top / "here"), by_descriptor=by_descriptor) as here,
        open_root(str(top / "there"), by_descriptor=by_descriptor) as there,
    ):
        yield here, there


def mode_of(path: Path) -> int:
    """Tell the permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("what", [File(b"1"), Link("nowhere"), {"a": File(b"1")}], ids=str)
def test_entry_moves_as_it_is(tmp_path: Path, what: object, *, is_by_descriptor: bool) -> None:
    """Files, links and directories get their new place and name, and are otherwise the same."""
    top = tmp_path.resolve()
    plant(top, {"here": {"x": what}, "twin": {"y": what}})  # type: ignore[dict-item]

    with both(top, is_by_descriptor) as (here, there):
        move(here, "x", there, "y")

    assert look(top / "there") == look(top / "twin")
    assert look(top / "here") == {}


PROTECTED = {
    "itself": ["here/x"],
    "where it lies": ["here"],
    "where it goes": ["there"],
    "all": ["here/x", "here", "there"],
}


def protect(top: Path, which: str) -> None:
    """Make directories read-only."""
    for inside in PROTECTED[which]:
        (top / inside).chmod(READ_ONLY)


@pytest.mark.parametrize("which", PROTECTED)
def test_read_only_directory_moves_and_stays_read_only(
    which: str, *, is_by_descriptor: bool
) -> None:
    """Permissions are lifted for the move only: afterwards all have the modes that they had."""

    def body(top: Path) -> None:
        plant(top, {"here": {"x": {"a": File(b"1")}}, "there": {}})
        protect(top, which)
        modes = [mode_of(top / "here"), mode_of(top / "there"), mode_of(top / "here" / "x")]

        with both(top, is_by_descriptor) as (here, there):
            move(here, "x", there, "y")

        assert [mode_of(top / name) for name in ("here", "there", "there/y")] == modes
        assert (top / "there" / "y" / "a").read_bytes() == b"1"

    as_nobody(body)


def test_read_only_surroundings_do_not_hold_a_file(*, is_by_descriptor: bool) -> None:
    """A file moves out of, and into, directories that may not be written."""

    def body(top: Path) -> None:
        plant(top, {"here": {"x": File(b"1", 0o400)}, "there": {}})
        (top / "here").chmod(READ_ONLY)
        (top / "there").chmod(READ_ONLY)

        with both(top, is_by_descriptor) as (here, there):
            move(here, "x", there, "x")

        assert look(top / "there") == {"x": ("file", 0o400, b"1")}
        assert mode_of(top / "here") == mode_of(top / "there") == READ_ONLY

    as_nobody(body)


def test_move_that_fails_leaves_the_modes_as_they_were(*, is_by_descriptor: bool) -> None:
    """Where the place is taken nothing moves, and what was lifted is protected again."""

    def body(top: Path) -> None:
        plant(top, {"here": {"x": {"a": File(b"1")}}, "there": {"x": {"b": File(b"2")}}})
        protect(top, "all")
        before_it = look(top)

        with both(top, is_by_descriptor) as (here, there), pytest.raises(OSError) as failed:  # noqa: PT011 - its number is asked for
            move(here, "x", there, "x")

        assert failed.value.errno in (errno.ENOTEMPTY, errno.EEXIST)
        assert look(top) == before_it

    as_nobody(body)


def test_what_belongs_to_others_does_not_move(*, is_by_descriptor: bool) -> None:
    """Another user's directory cannot be made writable: it stays, with its mode."""

    def prepare(top: Path) -> None:
        plant(top, {"here": {"x": {}}, "there": {}})
        os.chown(top / "there", 65534, 65534)

    def body(top: Path) -> None:
        before_it = look(top)
        with both(top, is_by_descriptor) as (here, there), pytest.raises(PermissionError):
            move(here, "x", there, "x")
        assert look(top) == before_it

    as_nobody(body, as_root_before=prepare)


def test_other_errors_are_raised_at_once(tmp_path: Path, *, is_by_descriptor: bool) -> None:
    """An error that permissions do not explain changes no mode."""
    plant(tmp_path, {"here": {"x": {}}, "there": {}})
    modes: list[int] = []

    with (
        both(tmp_path.resolve(), is_by_descriptor) as (here, there),
        before("rename", fail(OSError(errno.EXDEV, "Invalid cross-device link"))),
        before("chmod", lambda _, mode, **__: modes.append(mode)),
        pytest.raises(OSError, match="cross-device"),
    ):
        move(here, "x", there, "x")

    assert modes == []
    assert (tmp_path / "here" / "x").is_dir()


def test_writable_only_for_the_moment(tmp_path: Path, *, is_by_descriptor: bool) -> None:
    """A directory is writable inside the block and as before after it, also after an error."""
    (tmp_path / "top").mkdir()
    (tmp_path / "top").chmod(0o2550)
    inside: list[int] = []

    def fail_inside(top: Directory) -> None:
        with writable(top):
            inside.append(mode_of(tmp_path / "top"))
            raise ZeroDivisionError

    with (
        open_root(os.path.realpath(tmp_path / "top"), by_descriptor=is_by_descriptor) as top,
        pytest.raises(ZeroDivisionError),
    ):
        fail_inside(top)

    assert inside == [0o2750]
    assert mode_of(tmp_path / "top") == 0o2550
