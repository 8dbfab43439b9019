from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlflow_cleanup.stores.local import mounts
from mlflow_cleanup.stores.local.mounts import mount_points, mount_points_from
from tests.kit.children import mount_bind, mount_tmpfs, with_own_mounts

ODD_NAMES = [b"plain", b"a space", b"tab\tand\nline", b"back\\slash", b"\\040", b"not \xff utf-8"]


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_mounts_of_both_kinds_are_known(tmp_path: Path, name: bytes) -> None:
    """A file system and a bind mount are found under the path that a walk would give them."""

    def body() -> None:
        top = tmp_path.resolve()
        (top / "source").mkdir()
        tmpfs, bind = top / "tmpfs" / os.fsdecode(name), top / "bind" / os.fsdecode(name)
        assert not {str(tmpfs), str(bind)} & mount_points()
        mount_tmpfs(tmpfs)
        mount_bind(top / "source", bind)

        assert {str(tmpfs), str(bind)} <= mount_points()
        assert str(top / "source") not in mount_points()

    with_own_mounts(body)


def test_system_without_a_table_knows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no table of mounts, there are none to know."""
    monkeypatch.setattr(mounts, "_TABLE", "/nowhere/mountinfo")

    assert mount_points() == frozenset()


def test_lines_of_another_shape_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is cut off or has odd lines gives what can be read of it."""
    table = tmp_path / "mountinfo"
    table.write_bytes(
        b"36 35 98:0 /mnt1 /mnt/parent\\040two rw,noatime master:1 - ext3 /dev/root rw\n"
        b"\n"
        b"37 35 98:0\n"
        b"38 35 98:0 / /mnt/b rw"
    )
    monkeypatch.setattr(mounts, "_TABLE", str(table))

    assert mount_points() == {"/mnt/parent two", "/mnt/b"}


def test_mounts_from_a_place_on_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place itself and what lies below it count; above it, or beside it with its prefix, not."""
    table = tmp_path / "mountinfo"
    places = ("/", "/srv", "/srv/a", "/srv/a/b", "/srv/ab", "/srv/b")
    table.write_text("".join(f"36 35 98:0 / {place} rw\n" for place in places))
    monkeypatch.setattr(mounts, "_TABLE", str(table))

    assert mount_points_from("/srv/a") == {"/srv/a", "/srv/a/b"}
    assert mount_points_from("/srv/c") == frozenset()
    assert mount_points_from("/") == set(places)
