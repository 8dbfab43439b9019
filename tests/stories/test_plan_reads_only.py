"""`plan`, and `sweep` without `--apply`, cannot write: looked at from three sides.

SQLite opens its files by itself, which Python's audit events do not tell of; so all of the site is
compared before and after, and the operating system refuses every write as well.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mlflow_cleanup.cli.app import app
from mlflow_cleanup.model.location import RESERVED
from tests.kit.children import NOBODY, in_child
from tests.kit.leaks import in_use, leak
from tests.kit.other_process import OtherProcess, open_directory
from tests.kit.world import World

VERBS = {
    "plan": ["plan"],
    "plan as JSON": ["plan", "--json"],
    "plan of all": ["plan", "--all", "--cascade", "models"],
    "plan at once": ["plan", "--take-orphans-at-once", "--retention", "0", "--backlog", "include"],
    "dry sweep": ["sweep"],
    "dry sweep as JSON": ["sweep", "--json"],
    "dry sweep of all": ["sweep", "--take-orphans-at-once", "--cascade", "models"],
}

Entry = tuple[Any, ...]


def say(*words: str) -> Result:
    """Run a verb as the command does."""
    return CliRunner().invoke(app, list(words), prog_name="mlflow-cleanup")


def entries(home: Path) -> dict[str, Entry]:
    """Take down all that can be known of every file and directory."""
    found = {}
    for top, _, names in os.walk(home):
        for path in (top, *(os.path.join(top, name) for name in names)):
            found[os.path.relpath(path, home)] = _entry(path)
    return found


def _entry(path: str) -> Entry:
    status = os.lstat(path)
    is_file = stat.S_ISREG(status.st_mode)
    return (
        status.st_ino,
        status.st_mode,
        status.st_nlink,
        (status.st_uid, status.st_gid),
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        Path(path).read_bytes() if is_file else None,
    )


def changed(before: dict[str, Entry], after: dict[str, Entry], *, beside: set[str]) -> list[str]:
    """Name what is not what it was; of the directories `beside` databases the times may differ.

    SQLite makes and removes its two files there when it reads a database with a write-ahead log.
    """
    assert set(before) == set(after), set(before) ^ set(after)
    return [path for path in before if _differ(before[path], after[path], path, beside)]


def _differ(before: Entry, after: Entry, path: str, beside: set[str]) -> bool:
    if path in beside:
        return before[:4] != after[:4]
    if path.endswith("-wal"):  # run by root, SQLite gives it to whom the database belongs
        return (*before[:6], before[7]) != (*after[:6], after[7])
    return before != after


@contextmanager
def leaky() -> Iterator[World]:
    """Make a site with every kind of leak, where a monitor was at work and is not now."""
    with open_directory() as top:
        world = World.make(top / "home")
        world.clock.wall_s = time.time()
        world.cycle()
        leak(world)
        world.workplace.adopt(str(world.root), alone=True)
        world.write(world.home / "unmarked" / "0" / ("e" * 32) / "artifacts", "a", 10)
        world.close()
        yield world


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """One site for all who change nothing."""
    with leaky() as world:
        yield world


@pytest.fixture
def site(shared: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The working directory is that site."""
    shared.db.execute("PRAGMA journal_mode = DELETE")
    return here(shared, monkeypatch)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The working directory is a site that may be changed."""
    with leaky() as world:
        yield here(world, monkeypatch)


def here(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Work in a site, with two roots more: one that nobody has marked, one that is not there."""
    monkeypatch.chdir(world.home)
    more = [str(world.home / name) for name in ("unmarked", "missing")]
    monkeypatch.setenv("MLFLOW_CLEANUP_ARTIFACT_ROOT", os.pathsep.join(more))
    return world


def test_world_is_full_of_leaks(site: World) -> None:
    """A plan finds some of everything: without that, this file would test nothing."""
    told = json.loads(say("plan", "--json", "--take-orphans-at-once").stdout)

    assert {one["gone"] for one in told["take"]} >= {
        "deleted",
        "model_deleted",
        "version_deleted",
        "orphan",
    }
    assert told["empty"]
    assert {one["reason"] for one in told["keep"]}
    assert {root["root"] for root in told["roots"]} >= {str(site.root), str(site.home / "unmarked")}
    assert any(root["foreign"] for root in told["roots"])
    assert len(in_use(site)) > 3


@pytest.mark.parametrize("words", VERBS.values(), ids=VERBS)
@pytest.mark.parametrize("journal", ["rollback", "write-ahead", "write-ahead, at work"])
def test_nothing_is_changed(site: World, words: list[str], journal: str) -> None:
    """Not a file, not a byte, not a time, not a name: no marker, no log beside a database."""
    beside = {RESERVED}
    at_work: Any = nullcontext()
    if journal != "rollback":
        site.db.execute("PRAGMA journal_mode = WAL")
        beside.add(".")  # where the database lies
    if journal == "write-ahead, at work":
        at_work = OtherProcess(site.db.path)
    with at_work as server:
        if server is not None:
            server.do("UPDATE experiments SET last_update_time = 5")
            # Readers leave their marks in the index of the log, which is of no consequence.
            beside.add("mlflow.db-shm")
        before = entries(site.home)
        said = say(*words)
        after = entries(site.home)

        assert said.exit_code == 0, said.output
        assert changed(before, after, beside=beside) == []
        assert not (site.home / "unmarked" / RESERVED).exists()
        assert not (site.home / "missing").exists()


def test_only_the_file_that_was_asked_for_is_written(site: World) -> None:
    """`-o` makes one file where it is told to, and nothing else."""
    before = entries(site.home)
    out = site.home.with_name("plan.json")

    assert say("plan", "-o", str(out)).exit_code == 0

    assert json.loads(out.read_text(encoding="utf-8"))["take"]
    assert changed(before, entries(site.home), beside={RESERVED}) == []


@contextmanager
def write_protected(home: Path) -> Iterator[None]:
    """Let nobody write anything below a directory, not even its owner."""
    modes = {
        path: os.lstat(path).st_mode
        for top, _, names in os.walk(home)
        for path in (top, *(os.path.join(top, name) for name in names))
        if not os.path.islink(path)
    }
    for path, mode in modes.items():
        os.chmod(path, 0o555 if stat.S_ISDIR(mode) else 0o444)
    try:
        yield
    finally:
        for path, mode in modes.items():
            os.chmod(path, stat.S_IMODE(mode))


def as_somebody_else(body: Callable[[], None]) -> None:
    """Run `body` as a user whom permission bits bind."""
    if os.geteuid() != 0:
        body()
        return

    def dropped() -> None:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        body()

    in_child(dropped)


@pytest.mark.skipif(os.name == "nt", reason="permission bits mean other things there")
@pytest.mark.parametrize("words", VERBS.values(), ids=VERBS)
def test_everything_is_shown_where_nothing_may_be_written(site: World, words: list[str]) -> None:
    """The operating system would refuse every write, and the verb says the same as ever."""
    expected = say(*words)  # all that it needs is loaded by now

    def body() -> None:
        with pytest.raises(PermissionError):
            (site.home / "x").write_bytes(b"")
        with pytest.raises(PermissionError):
            (site.settings.state_dir / "x").write_bytes(b"")
        said = say(*words)
        assert said.exit_code == 0, said.output
        assert _timeless(said.stdout) == _timeless(expected.stdout)

    before = entries(site.home)
    with write_protected(site.home):
        protected = entries(site.home)
        as_somebody_else(body)
        assert entries(site.home) == protected
    assert before.keys() == entries(site.home).keys()


def _timeless(text: str) -> list[str]:
    """Leave out what is different from one moment to the next: when it was made, and its id.

    And when a place was changed: giving it to somebody else changes it.
    """
    try:
        told = json.loads(text)
    except ValueError:
        return text.split("\n")[1:]
    for group in ("take", "empty", "keep"):
        told[group] = [{**place, "changed": 0.0} for place in told[group]]
    return [json.dumps({**told, "id": "", "made_at": "", "seal": ""})]


@pytest.mark.skipif(os.name == "nt", reason="permission bits mean other things there")
def test_log_that_nobody_may_open_is_told_and_nothing_is_guessed(site: World) -> None:
    """A database with a write-ahead log and no server at work cannot be read without writing."""
    site.db.execute("PRAGMA journal_mode = WAL")
    say("plan")

    def body() -> None:
        said = say("plan")
        assert said.exit_code == 3
        assert "cannot be read" in said.stderr
        assert said.stdout == ""

    with write_protected(site.home):
        protected = entries(site.home)
        as_somebody_else(body)
        assert entries(site.home) == protected


WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

CHANGES = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "os.chown",
    "os.link",
    "os.symlink",
    "os.utime",
    "os.truncate",
    "os.setxattr",
    "os.removexattr",
    "os.chflags",
    "shutil.",
    "tempfile.",
)


def watched(home: Path, words: list[str]) -> list[str]:
    """Run a verb in a process of its own; name every change that Python was asked for there."""
    reading, writing = os.pipe()
    say(*words[:1], "--help")

    def body() -> None:
        found: list[str] = []
        is_on = [True]

        def hook(event: str, values: tuple[Any, ...]) -> None:
            if is_on and _is_change(event, values, str(home)):
                found.append(f"{event} {values!r}")

        sys.addaudithook(hook)
        said = say(*words)
        is_on.clear()
        assert said.exit_code == 0, said.output
        os.write(writing, json.dumps(found)[:60_000].encode())

    in_child(body)
    os.close(writing)
    with os.fdopen(reading) as told:
        answer: list[str] = json.loads(told.read())
    return answer


def _is_change(event: str, values: tuple[Any, ...], home: str) -> bool:
    if event == "sqlite3.connect":
        # Never one that may create a file.
        return values[0] != ":memory:" and not re.search(r"mode=r[ow](&|$)", str(values[0]))
    if event == "open":
        path, _, flags = values
        return bool(flags & WRITING) and _is_in(path, home)
    if not event.startswith(CHANGES):
        return False
    # Names can be relative to the descriptor of a directory, which may be any: it counts.
    has_descriptor = any(isinstance(value, int) and value > 2 for value in values[1:])
    return has_descriptor or any(_is_in(value, home) for value in values)


def _is_in(path: object, home: str) -> bool:
    if isinstance(path, int):
        return True
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    return os.path.abspath(os.fsdecode(path)).startswith(home)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="an audit hook stays for ever")
@pytest.mark.parametrize("words", VERBS.values(), ids=VERBS)
def test_nothing_is_asked_for_that_would_change_something(site: World, words: list[str]) -> None:
    """No file is opened for writing, none made, moved, removed, or touched in any other way."""
    assert watched(site.home, words) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="an audit hook stays for ever")
@pytest.mark.parametrize(
    ("words", "event"),
    [
        (["sweep", "--apply", "--take-orphans-at-once"], "os.rename"),
        (["sweep", "--apply"], "os.mkdir"),
        (["plan", "-o", "plan.json"], "open"),
        (["adopt", "mlartifacts"], "open"),
    ],
)
def test_whoever_changes_something_is_noticed(own: World, words: list[str], event: str) -> None:
    """The same watch sees what the other verbs do: without that, it would prove nothing."""
    assert [one for one in watched(own.home, words) if one.startswith(event)]
