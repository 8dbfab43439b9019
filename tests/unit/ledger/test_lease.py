from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlflow_cleanup.errors import LeaseHeld, LeaseLost, LedgerUnwritable
from mlflow_cleanup.ledger.lease import HOLDER_FILE, LOCK_FILE, Lease, current_holder, read_holder
from tests.kit.children import as_nobody

_HOLD = """
import sys
from pathlib import Path
from mlflow_cleanup.ledger.lease import Lease
lease = Lease([Path(sys.argv[1])], "telling holder")
lease.acquire()
print("held", flush=True)
sys.stdin.read()
lease.release()
"""


@contextmanager
def held_elsewhere(state_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the lease."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_only_one_holds_it(state_dir: Path) -> None:
    """A second one in the same process is refused like one in another."""
    with Lease([state_dir], "first") as first:
        second = Lease([state_dir], "second")
        with pytest.raises(LeaseHeld, match="first"):
            second.acquire()
        assert first.is_held
        assert not second.is_held


def test_refused_one_is_told_who_holds_it(state_dir: Path) -> None:
    """The error names the holder: what it is, its process, its machine."""
    with held_elsewhere(state_dir) as process:
        with pytest.raises(LeaseHeld) as caught:
            Lease([state_dir], "second").acquire()

        assert "telling holder" in caught.value.holder
        assert f"process {process.pid} on {socket.gethostname()}" in str(caught.value)
        assert caught.value.state_dir == str(state_dir)


def test_released_lease_is_free(state_dir: Path) -> None:
    """After the holder let go, the next one takes it, and no note stays."""
    with Lease([state_dir], "first"):
        pass
    assert current_holder(state_dir) is None
    assert not (state_dir / HOLDER_FILE).exists()

    with Lease([state_dir], "second") as second:
        assert second.is_held


def test_lease_of_a_killed_process_is_free(state_dir: Path) -> None:
    """However its holder ended: the note it left behind holds nobody up."""
    with held_elsewhere(state_dir) as process:
        os.kill(process.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        process.wait(timeout=30)
        assert (state_dir / HOLDER_FILE).exists()
        assert current_holder(state_dir) is None

        with Lease([state_dir], "second"):
            holder = current_holder(state_dir)
    assert holder is not None
    assert (holder.what, holder.pid) == ("second", os.getpid())


def test_looking_who_holds_it_takes_nothing(state_dir: Path) -> None:
    """A reader may look while it is held and while it is free, and makes no file."""
    assert current_holder(state_dir) is None
    assert not state_dir.exists()

    with held_elsewhere(state_dir) as process:
        holder = current_holder(state_dir)
        assert holder is not None
        assert holder.pid == process.pid
        with pytest.raises(LeaseHeld):
            Lease([state_dir], "second").acquire()


def test_releasing_what_is_not_held_is_harmless(state_dir: Path) -> None:
    """Neither before it was taken nor twice."""
    lease = Lease([state_dir], "first")
    lease.release()
    lease.acquire()
    lease.release()
    lease.release()

    assert not lease.is_held


@pytest.mark.parametrize("note", ["", "{", "[]", "null", '{"pid": 1}'])
def test_note_that_cannot_be_read_names_nobody(state_dir: Path, note: str) -> None:
    """A torn note is no reason to fail."""
    state_dir.mkdir()
    (state_dir / HOLDER_FILE).write_text(note, encoding="utf-8")

    assert read_holder(state_dir) is None


def test_state_directory_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    """No parent directory: said as what it is."""
    with pytest.raises(LedgerUnwritable):
        Lease([tmp_path / "missing" / "state"], "first").acquire()


def test_lease_without_its_note_is_not_taken(state_dir: Path) -> None:
    """Where the note cannot be written nothing is held, and the error is ours."""
    (state_dir / HOLDER_FILE).mkdir(parents=True)
    with pytest.raises(LedgerUnwritable):
        Lease([state_dir], "first").acquire()

    (state_dir / HOLDER_FILE).rmdir()
    with Lease([state_dir], "second") as second:
        assert second.is_held


def test_both_places_are_locked(tmp_path: Path) -> None:
    """Whoever shares one of them is refused, and keeps nothing of the other."""
    shared, first, second = tmp_path / "shared", tmp_path / "first", tmp_path / "second"
    with Lease([first, shared], "telling holder"):
        with pytest.raises(LeaseHeld, match="telling holder"):
            Lease([second, shared], "second").acquire()
        with pytest.raises(LeaseHeld, match="telling holder"):
            Lease([shared], "third").acquire()
        assert current_holder(second) is None

    with Lease([second, shared], "second"):
        assert current_holder(first) is None


def test_one_place_named_twice_is_locked_once(state_dir: Path) -> None:
    """The state directory is the usual one: nobody stands in their own way."""
    with Lease([state_dir, state_dir], "first") as lease:
        lease.verify()
        assert current_holder(state_dir) is not None


def test_place_beside_a_database_that_may_not_be_written_is_left_out() -> None:
    """Where nothing can be made beside the database the state directory must do."""

    def body(top: Path) -> None:
        data = top / "data"
        data.mkdir(mode=0o555)
        with Lease([top / "state", data / "usual"], "first") as lease:
            assert lease.is_held
        assert not (data / "usual").exists()

    as_nobody(body)


def test_place_that_is_there_is_locked_in_a_directory_that_may_not_be_written() -> None:
    """What may be written in it is enough: only making it would need more."""

    def body(top: Path) -> None:
        usual = top / "data" / "usual"
        usual.mkdir(parents=True)
        usual.parent.chmod(0o555)
        with (
            Lease([top / "first", usual], "telling holder"),
            pytest.raises(LeaseHeld, match="telling holder"),
        ):
            Lease([top / "second", usual], "second").acquire()
        usual.parent.chmod(0o755)

    as_nobody(body)


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be removed there")
@pytest.mark.parametrize("is_replaced", [False, True])
@pytest.mark.parametrize("place", [0, 1])
def test_lock_file_that_is_another_one_is_no_lease_any_more(
    tmp_path: Path, place: int, *, is_replaced: bool
) -> None:
    """Removed or replaced, it lets somebody else in: the holder is told when it asks."""
    places = [tmp_path / "first", tmp_path / "second"]
    with Lease(places, "first") as lease:
        lease.verify()
        (places[place] / LOCK_FILE).unlink()
        if is_replaced:
            (places[place] / LOCK_FILE).touch()

        with pytest.raises(LeaseLost, match="was removed or replaced"):
            lease.verify()


@pytest.mark.parametrize("note", [None, "", "{", "[]", '{"pid": 1}'])
def test_holder_without_a_note_that_can_be_read_holds_it_all_the_same(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch, note: str | None
) -> None:
    """The lock says that somebody lives, whoever it is."""
    monkeypatch.setattr("mlflow_cleanup.ledger.lease.WAIT_S", 0.1)
    with Lease([state_dir], "first"):
        (state_dir / HOLDER_FILE).unlink()
        if note is not None:
            (state_dir / HOLDER_FILE).write_text(note, encoding="utf-8")

        assert str(current_holder(state_dir)) == "a process whose note lease.json cannot be read"
    assert current_holder(state_dir) is None
