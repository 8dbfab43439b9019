"""Test bodies that run in a forked process: as a user without privileges, or with own mounts."""

from __future__ import annotations

import ctypes
import os
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

NOBODY = 65534
"""A user and a group that own nothing and may do nothing."""

_CLONE_NEWNS = 0x20000
_MS_BIND = 0x1000
_MS_REC_PRIVATE = 0x4000 | 0x40000


def in_child(body: Callable[[], None]) -> None:
    """Run `body` in a forked process; what it raises fails the test here."""
    __tracebackhide__ = True
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _run_and_exit(body, writing)
    os.close(writing)
    with os.fdopen(reading, "r", errors="replace") as told:
        text = told.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        pytest.fail(f"in the forked process:\n{text}")


def _run_and_exit(body: Callable[[], None], writing: int) -> None:
    code = 1
    try:
        body()
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may get out of a fork of the test runner
        os.write(writing, traceback.format_exc().encode("utf-8", "replace")[-60_000:])
    finally:
        os._exit(code)


def as_nobody(
    body: Callable[[Path], None], *, as_root_before: Callable[[Path], None] | None = None
) -> None:
    """Run `body` with a directory of its own, as a user whom permission bits bind.

    `as_root_before` may prepare what that user could not; without root the test is skipped then.
    """
    __tracebackhide__ = True
    # Not in `tmp_path`: the directories above it are closed to other users.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        top = Path(os.path.realpath(made))
        if os.geteuid() != 0:
            if as_root_before is not None:
                pytest.skip("only root can prepare this")
            body(top)
            return
        if not all(parent.stat().st_mode & 0o001 for parent in top.parents):
            pytest.skip(f"another user cannot reach {top}")
        os.chown(top, NOBODY, NOBODY)
        if as_root_before is not None:
            as_root_before(top)
        in_child(lambda: _dropped(body, top))


def _dropped(body: Callable[[Path], None], top: Path) -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    body(top)


def with_own_mounts(body: Callable[[], None]) -> None:
    """Run `body` where it may mount what it likes; the mounts end with it."""
    __tracebackhide__ = True
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount")
    probe = os.fork()
    if probe == 0:
        os._exit(0 if _unshare() else 1)
    if os.waitpid(probe, 0)[1] != 0:
        pytest.skip("mounting is not permitted here")

    def isolated() -> None:
        assert _unshare()
        body()

    in_child(isolated)


def _unshare() -> bool:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "unshare") or libc.unshare(_CLONE_NEWNS) != 0:
        return False
    return bool(libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None) == 0)


def mount_tmpfs(at: Path, options: bytes | None = None) -> None:
    """Mount an empty file system of its own; `options` such as b"size=8M"."""
    at.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.mount(b"tmpfs", os.fsencode(at), b"tmpfs", 0, options))


def fill_disk(at: Path) -> None:
    """Leave no byte free on the file system of a directory."""
    with open(at / "fill", "ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4_096)


def mount_bind(source: Path, at: Path) -> None:
    """Mount a directory at a second place; both are on one file system, with one device number."""
    at.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.mount(os.fsencode(source), os.fsencode(at), None, _MS_BIND, None))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
