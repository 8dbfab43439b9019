from __future__ import annotations

import errno
import os
import platform
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlflow_cleanup.model.item import Size
from mlflow_cleanup.stores.local.account import Removal
from mlflow_cleanup.stores.local.directory import open_root
from mlflow_cleanup.stores.local.removal import remove_tree
from tests.kit.faults import before, fail
from tests.kit.grounds import always, times
from tests.kit.trees import File, Link, files_of, look, plant, plant_deep

WAY_OF_THE_TIME = "onexc" if sys.version_info >= (3, 12) else "onerror"


@pytest.fixture(autouse=True)
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this system call itself Windows, as far as removing trees goes."""
    monkeypatch.setattr(platform, "system", lambda: "Windows")


def remove(
    tree: Path,
    keep_going: Callable[[], bool] = always,
    wait: Callable[[float], object] = lambda _: None,
) -> Removal:
    """Remove a tree by its path."""
    with open_root(os.path.realpath(tree.parent), by_descriptor=False) as parent:
        return remove_tree(parent, tree.name, keep_going, wait)


def refuse_read_only(path: str, *, dir_fd: int | None = None) -> None:
    """Refuse to remove read-only files, as Windows does."""
    status = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    if not status.st_mode & stat.S_IWRITE and not stat.S_ISLNK(status.st_mode):
        raise PermissionError(errno.EACCES, "Access is denied", path)


def test_system_decides_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows trees are removed by the standard library, elsewhere by descriptors."""
    used: list[str] = []
    real = shutil.rmtree

    def spy(path: str, **handlers: Any) -> None:  # noqa: ANN401 - whatever `shutil` takes
        used.append(path)
        real(path, **handlers)

    monkeypatch.setattr(shutil, "rmtree", spy)
    plant(tmp_path / "tree", {"a": File(b"1")})

    assert remove(tmp_path / "tree").freed == Size(1, 1)

    assert used == [str(tmp_path.resolve() / "tree")]


def test_tree_is_removed_and_measured(tmp_path: Path) -> None:
    """Everything goes at the first attempt, and what it freed is told."""
    plant(tmp_path / "tree", {"a": File(b"1"), "b": {"c": {"d": File(b"22")}, "e": {}}})

    removal = remove(tmp_path / "tree")

    assert (removal.freed, removal.failures) == (Size(2, 3), [])
    assert look(tmp_path) == {}


def test_deep_tree_is_removed(tmp_path: Path) -> None:
    """Two hundred levels are no difficulty."""
    plant_deep(tmp_path / "tree", 200)

    assert remove(tmp_path / "tree").freed == Size(200, 800)


def test_read_only_files_are_made_writable_and_removed(tmp_path: Path) -> None:
    """What refuses to go for its read-only bit goes without it, in the same attempt."""
    waits: list[float] = []
    plant(tmp_path / "tree", {"a": File(b"1", 0o444), "b": {"c": File(b"22", 0o400)}})

    with before("unlink", refuse_read_only):
        removal = remove(tmp_path / "tree", wait=waits.append)

    assert (removal.freed, removal.failures, waits) == (Size(2, 3), [], [])
    assert look(tmp_path) == {}


def test_file_that_refuses_once_is_tried_again_at_once(tmp_path: Path) -> None:
    """One refusal costs no pause: the error handler itself tries a second time."""
    waits: list[float] = []
    plant(tmp_path / "tree", {"file": File(b"1")})
    refusal = fail(PermissionError(errno.EACCES, "Access is denied"), when="file", times=1)

    with before("unlink", refusal):
        removal = remove(tmp_path / "tree", wait=waits.append)

    assert (removal.freed, removal.failures, waits) == (Size(1, 1), [], [])


def test_file_in_use_is_tried_three_times_and_told(tmp_path: Path) -> None:
    """A file that somebody holds open stays, with its reason; what goes meanwhile is counted."""
    waits: list[float] = []
    plant(tmp_path / "tree", {"held": File(b"1"), "loose": {"b": File(b"22")}})

    with before("unlink", fail(PermissionError(errno.EACCES, "in use"), when="held")):
        removal = remove(tmp_path / "tree", wait=waits.append)

    assert waits == [1.0, 1.0]
    assert removal.freed == Size(1, 2)
    assert any("held: in use" in line for line in removal.failures)
    assert files_of(look(tmp_path / "tree")) == {"held": b"1"}


def test_file_let_go_of_after_a_second_is_counted_once(tmp_path: Path) -> None:
    """What the first attempt removed and what the second did add up to the whole."""
    plant(tmp_path / "tree", {"held": File(b"1"), "loose": {"b": File(b"22")}})
    refusal = fail(PermissionError(errno.EACCES, "in use"), when="held", times=2)

    with before("unlink", refusal):
        removal = remove(tmp_path / "tree")

    assert removal.freed == Size(2, 3)
    assert look(tmp_path) == {}


def test_told_to_stop_it_leaves_the_rest_for_later(tmp_path: Path) -> None:
    """A large tree need not be removed in one go on Windows either."""
    tree = tmp_path / "tree"
    plant(tree, {str(number): {"a": File(b"1")} for number in range(50)})

    first = remove(tree, keep_going=times(1))

    assert first.stopped
    assert tree.exists()
    assert first.freed + remove(tree).freed == Size(50, 50)


def test_links_are_removed_not_followed(tmp_path: Path) -> None:
    """Links inside go; what they lead to stays as it was."""
    plant(tmp_path / "outside", {"theirs": File(b"theirs", 0o440)})
    intact = look(tmp_path / "outside")
    plant(tmp_path / "tree", {"file": Link("../outside/theirs"), "dir": Link("../outside")})

    removal = remove(tmp_path / "tree")

    assert (removal.freed.files, removal.failures) == (2, [])
    assert not (tmp_path / "tree").exists()
    assert look(tmp_path / "outside") == intact


def test_link_that_refuses_to_go_leaves_its_target_alone(tmp_path: Path) -> None:
    """The read-only bit that is cleared is never that of a file outside."""
    plant(tmp_path / "outside", {"theirs": File(b"theirs", 0o440)})
    intact = look(tmp_path / "outside")
    plant(tmp_path / "tree", {"link": Link("../outside/theirs")})

    with before("unlink", fail(PermissionError(errno.EACCES, "in use"), when="link")):
        removal = remove(tmp_path / "tree")

    assert removal.failures
    assert look(tmp_path / "outside") == intact


def test_link_in_place_of_the_tree_is_removed_not_followed(tmp_path: Path) -> None:
    """Where the tree itself is a link, the link goes and its target stays."""
    plant(tmp_path / "outside", {"theirs": File(b"theirs")})
    intact = look(tmp_path / "outside")
    (tmp_path / "tree").symlink_to("outside")

    remove(tmp_path / "tree")

    assert not os.path.lexists(tmp_path / "tree")
    assert look(tmp_path / "outside") == intact


def test_handler_goes_by_the_name_of_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The running Python is given its error handler under the one name that it knows and likes."""
    named: list[str] = []
    real = shutil.rmtree

    def spy(path: str, **handlers: Any) -> None:  # noqa: ANN401 - whatever `shutil` takes
        named.extend(handlers)
        real(path, **handlers)

    monkeypatch.setattr(shutil, "rmtree", spy)
    plant(tmp_path / "tree", {"file": File(b"1", 0o444)})
    with before("unlink", refuse_read_only):
        remove(tmp_path / "tree")

    assert named == [WAY_OF_THE_TIME]
    assert look(tmp_path) == {}


@pytest.mark.parametrize(
    ("version", "name"), [((3, 10), "onerror"), ((3, 11), "onerror"), ((3, 12), "onexc")]
)
def test_handler_works_in_either_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], name: str
) -> None:
    """Both spellings of the handler clear the read-only bit and try again."""
    plant(tmp_path / "tree", {"file": File(b"1", 0o444)})
    path = str(tmp_path.resolve() / "tree" / "file")
    given: list[str] = []

    def call_handler(tree: str, **handlers: Callable[..., object]) -> None:
        given.extend(handlers)
        error = PermissionError(errno.EACCES, "Access is denied", path)
        info = error if name == "onexc" else (PermissionError, error, None)
        handlers[name](os.unlink, path, info)
        os.rmdir(tree)

    monkeypatch.setattr(shutil, "rmtree", call_handler)
    monkeypatch.setattr(sys, "version_info", version)

    removal = remove(tmp_path / "tree")

    assert given == [name]
    assert (removal.freed, removal.failures) == (Size(1, 1), [])
