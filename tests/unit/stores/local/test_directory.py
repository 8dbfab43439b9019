from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlflow_cleanup.errors import UnsafePlace
from mlflow_cleanup.stores.local.directory import (
    HAS_DIR_FD,
    Directory,
    descend,
    exists,
    is_plain_directory,
    open_root,
)
from tests.kit.faults import before, fail
from tests.kit.trees import File, Link, files_of, look, open_descriptors, plant
from tests.unit.stores.local.conftest import Open

needs_dir_fd = pytest.mark.skipif(not HAS_DIR_FD, reason="directories are not held by descriptor")

NO_DIRECTORIES: dict[str, Callable[[Path], object]] = {
    "link to a directory": lambda path: path.symlink_to("real"),
    "link to nothing": lambda path: path.symlink_to("nowhere"),
    "file": lambda path: path.write_bytes(b""),
    "fifo": os.mkfifo,
}

no_directory = pytest.mark.parametrize("make", NO_DIRECTORIES.values(), ids=NO_DIRECTORIES.keys())


@no_directory
def test_only_a_directory_is_opened(
    opened: Open, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    """A link, even to a directory, a file or a pipe is refused as an unsafe place."""
    (tmp_path / "real").mkdir()
    make(tmp_path / "odd")
    top = opened(tmp_path)

    with pytest.raises(UnsafePlace) as refused:
        top.open("odd")

    assert refused.value.path == str(tmp_path.resolve() / "odd")


@no_directory
@pytest.mark.parametrize("names", [("odd",), ("odd", "b"), ("real", "odd"), ("real", "odd", "b")])
@pytest.mark.parametrize("make_missing", [False, True])
def test_descent_ends_at_what_is_no_directory(
    opened: Open,
    tmp_path: Path,
    make: Callable[[Path], object],
    names: tuple[str, ...],
    *,
    make_missing: bool,
) -> None:
    """Wherever on the way it lies, nothing is opened or made through it, and nothing stays open."""
    plant(tmp_path, {"real": {"real": {}}})
    make(tmp_path / "odd")
    make(tmp_path / "real" / "odd")
    top = opened(tmp_path)
    before_it = look(tmp_path), open_descriptors()

    with pytest.raises(UnsafePlace):
        descend(top, names, make=make_missing)

    assert (look(tmp_path), open_descriptors()) == before_it


def test_descent_keeps_only_the_last_directory_open(opened: Open, tmp_path: Path) -> None:
    """However long the way, one directory is opened beside the first, and closed after use."""
    plant(tmp_path, {"a": {"b": {"c": {"file": File()}}}})
    top = opened(tmp_path)
    few = open_descriptors()

    with descend(top, ["a", "b", "c"]) as deep:
        assert exists(deep, "file")
        assert open_descriptors() <= few + 1

    assert open_descriptors() == few
    assert exists(top, "a")


def test_descent_to_nowhere_leaves_nothing_open(opened: Open, tmp_path: Path) -> None:
    """A missing directory on the way is reported as such."""
    plant(tmp_path, {"a": {"b": {}}})
    top = opened(tmp_path)
    few = open_descriptors()

    with pytest.raises(FileNotFoundError):
        descend(top, ["a", "b", "missing", "d"])

    assert open_descriptors() == few


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "../outside", "/", "a\0b"], ids=ascii)
@pytest.mark.parametrize("make", [False, True])
def test_descent_goes_by_single_names_only(
    opened: Open, tmp_path: Path, name: str, *, make: bool
) -> None:
    """A name that leads up, nowhere or several steps at once is refused, and nothing is made."""
    plant(tmp_path, {"outside": {}, "top": {"a": {"b": {}}}})
    top = opened(tmp_path / "top")
    before_it = look(tmp_path)

    for names in ([name], ["a", name], [name, "b"]):
        with pytest.raises(UnsafePlace):
            descend(top, names, make=make)

    assert look(tmp_path) == before_it


def test_descent_by_no_names_opens_the_start_again(opened: Open, tmp_path: Path) -> None:
    """What is given back may be closed without closing the start."""
    plant(tmp_path, {"a": {}})
    top = opened(tmp_path)

    with descend(top, []) as again:
        assert exists(again, "a")

    assert exists(top, "a")


def test_descent_makes_what_is_missing(opened: Open, tmp_path: Path) -> None:
    """With `make`, directories are made on the way and those that are there are kept."""
    plant(tmp_path, {"a": {"kept": File(b"1")}})

    descend(opened(tmp_path), ["a", "b", "c"], make=True).__exit__(None, None, None)

    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert files_of(look(tmp_path)) == {"a/kept": b"1"}


@needs_dir_fd
def test_directory_held_by_descriptor_is_not_led_elsewhere(tmp_path: Path) -> None:
    """What is done in an open directory happens there, though its path leads elsewhere by now."""
    plant(tmp_path, {"root": {"mine": File(b"1")}, "outside": {"mine": File(b"theirs")}})
    with open_root(str(tmp_path / "root"), by_descriptor=True) as root:
        (tmp_path / "root").rename(tmp_path / "moved")
        (tmp_path / "root").symlink_to("outside")

        root.unlink("mine")
        root.write("new", b"2")
        root.mkdir("made")

    assert files_of(look(tmp_path / "outside")) == {"mine": b"theirs"}
    assert files_of(look(tmp_path / "moved")) == {"new": b"2"}


ROOTS: dict[str, Callable[[Path], object]] = {"missing": lambda _: None, **NO_DIRECTORIES}


@pytest.mark.parametrize("make", ROOTS.values(), ids=ROOTS.keys())
def test_only_a_directory_is_a_root(
    tmp_path: Path, make: Callable[[Path], object], *, is_by_descriptor: bool
) -> None:
    """A root that is missing, a link or a file cannot be opened."""
    (tmp_path / "real").mkdir()
    make(tmp_path / "root")

    with pytest.raises(OSError, match="root"):
        open_root(str(tmp_path / "root"), by_descriptor=is_by_descriptor)


def test_mode_of_a_links_target_is_never_changed(opened: Open, tmp_path: Path) -> None:
    """Setting a mode through a link changes nothing outside."""
    plant(tmp_path, {"outside": File(b"1", 0o640), "top": {"link": Link("../outside")}})

    opened(tmp_path / "top").chmod("link", 0o777)

    assert stat.S_IMODE((tmp_path / "outside").stat().st_mode) == 0o640


def test_mode_of_a_file_is_set(opened: Open, tmp_path: Path) -> None:
    """Setting a mode sets it, also where the owner may not read."""
    plant(tmp_path, {"file": File(b"1", 0o200)})

    opened(tmp_path).chmod("file", 0o604)

    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o604


def test_link_is_not_read_through(opened: Open, tmp_path: Path) -> None:
    """A file that is a link is not read."""
    plant(tmp_path, {"outside": File(b"secret"), "top": {"link": Link("../outside")}})

    with pytest.raises((OSError, UnsafePlace)):
        opened(tmp_path / "top").read("link")


def test_written_file_reads_back(opened: Open, tmp_path: Path) -> None:
    """A file is written whole, in place of what was there."""
    top = opened(tmp_path)

    top.write("file", b"a longer one")
    top.write("file", b"short")

    assert top.read("file") == b"short"
    assert files_of(look(tmp_path)) == {"file": b"short"}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_interrupted_write_leaves_the_old_content(opened: Open, tmp_path: Path, call: str) -> None:
    """A write that fails half-way has changed nothing that is read, and the next one succeeds."""
    top = opened(tmp_path)
    top.write("file", b"old")

    with before(call, fail_any), suppress(OSError):
        top.write("file", b"new")
    assert top.read("file") == b"old"

    top.write("file", b"newer")
    assert files_of(look(tmp_path)) == {"file": b"newer"}


def fail_any(*_: object, **__: object) -> None:
    """Fail as a full disk does."""
    fail(OSError(28, "No space left on device"))("")


def test_write_does_not_go_through_a_planted_link(opened: Open, tmp_path: Path) -> None:
    """Links in the place of a file, or of its draft, are replaced, not followed."""
    outside = {"a": File(b"theirs"), "b": File(b"theirs")}
    links = {"file": Link("../outside/a"), "file.new": Link("../outside/b")}
    plant(tmp_path, {"outside": outside, "top": links})

    opened(tmp_path / "top").write("file", b"mine")

    assert files_of(look(tmp_path / "outside")) == {"a": b"theirs", "b": b"theirs"}
    assert files_of(look(tmp_path / "top")) == {"file": b"mine"}


def test_second_name_is_not_given_where_one_is(opened: Open, tmp_path: Path) -> None:
    """Linking onto an existing file fails and changes neither."""
    plant(tmp_path, {"a": File(b"1"), "b": File(b"2")})
    top = opened(tmp_path)

    with pytest.raises(FileExistsError):
        top.link("a", top, "b")

    assert files_of(look(tmp_path)) == {"a": b"1", "b": b"2"}


def test_second_name_of_a_link_is_a_link(opened: Open, tmp_path: Path) -> None:
    """Linking a symbolic link gives that link a second name, not its target."""
    plant(tmp_path, {"target": File(b"1"), "link": Link("target")})
    top = opened(tmp_path)

    top.link("link", top, "second")

    assert look(tmp_path)["second"] == ("link", 0, b"target")


@needs_dir_fd
def test_move_between_two_ways_of_holding_is_refused(tmp_path: Path) -> None:
    """A directory by descriptor and one by path do not mix."""
    plant(tmp_path, {"a": File(b"1")})
    with open_root(str(tmp_path), by_descriptor=True) as one:
        other: Directory = open_root(str(tmp_path), by_descriptor=False)
        with pytest.raises(TypeError):
            one.rename("a", other, "b")

    assert files_of(look(tmp_path)) == {"a": b"1"}


@pytest.mark.parametrize("attributes", [0x400, 0x410])
def test_junction_is_no_plain_directory(attributes: int) -> None:
    """What Windows marks as a reparse point is a link to us, though its mode says directory."""
    status = SimpleNamespace(st_mode=stat.S_IFDIR | 0o777, st_file_attributes=attributes)

    assert not is_plain_directory(status)  # type: ignore[arg-type]


def test_whatever_lies_there_exists(opened: Open, tmp_path: Path) -> None:
    """A link to nothing is there; a name that nothing has is not."""
    plant(tmp_path, {"link": Link("nowhere")})
    top = opened(tmp_path)

    assert exists(top, "link")
    assert not exists(top, "nowhere")
