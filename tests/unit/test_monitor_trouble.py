"""A running monitor whose ground is pulled away, or that is not alone."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlflow_cleanup import Event, EventKind, Settings
from mlflow_cleanup.cli.by_hand import do_to_items
from mlflow_cleanup.cycle.requests import PURGE, RESTORE
from mlflow_cleanup.errors import LeaseHeld
from mlflow_cleanup.ledger.lease import LOCK_FILE
from mlflow_cleanup.ledger.ledger import Ledger
from mlflow_cleanup.model.location import RESERVED
from mlflow_cleanup.monitor import cleaner
from mlflow_cleanup.monitor.watcher import Watcher
from tests.kit.programs import until
from tests.kit.site import Site
from tests.kit.tracking_db import run_id


def files_below(root: Path) -> set[str]:
    """Name every artifact below a root, the trash too."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.name == "model"}


class TestChangeDuringACycle:
    """What happens while a cycle runs, and leaves no difference to what was known before it."""

    @pytest.fixture
    def looked(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        """Make a wait until the watcher has looked at the database, and compared what it read."""
        turns: list[None] = []
        real = Watcher._turn

        def counted(watcher: Watcher, probe: object) -> None:
            real(watcher, probe)  # type: ignore[arg-type]
            turns.append(None)

        def wait() -> None:
            # The turn that is going on may have looked before; the next one has not.
            enough = len(turns) + 2
            until(lambda: len(turns) >= enough, "the watcher has looked")

        monkeypatch.setattr(Watcher, "_turn", counted)
        monkeypatch.setattr(cleaner, "UPKEEP_S", 3_600.0)  # nothing else may notice it
        return wait

    def meddle(self, site: Site, kind: EventKind, stage: str, looked: Callable[[], None]) -> None:
        """Start a monitor; as soon as run 1 is told of, change it while the cycle goes on."""
        left = [stage]

        def on_event(event: Event) -> None:
            site.events.append(event)
            if event.kind is kind and left:
                site.db.set_stage(run_id(1), left.pop())
                looked()

        monitor = site.monitor(on_event)
        monitor.start()
        site.knows(monitor)

    def test_restore_is_noticed_right_after_it(
        self, site: Site, looked: Callable[[], None]
    ) -> None:
        """Restored in MLflow after the cycle's last look: active again, as it was known to be."""
        place = site.run(1, size=1_000)
        site.run(2)
        self.meddle(site, EventKind.QUARANTINED, "active", looked)

        site.delete(1)

        site.wait(EventKind.RESTORED, 1)
        assert (place / "model").read_bytes() == b"x" * 1_000

    def test_delete_is_noticed_right_after_it(self, site: Site, looked: Callable[[], None]) -> None:
        """Deleted again while it is given back: deleted, as it was known to be."""
        place = site.run(1)
        site.run(2)
        self.meddle(site, EventKind.RESTORED, "deleted", looked)
        site.delete(1)
        site.wait(EventKind.QUARANTINED, 1)

        site.db.set_stage(run_id(1), "active")

        until(lambda: len(site.told(EventKind.QUARANTINED, 1)) == 2, "it is quarantined again")
        assert not place.exists()


class TestTwoStateDirectories:
    """Two ledgers for one database do not make two that work on it."""

    @pytest.mark.parametrize("names", [(RESERVED, "other"), ("other", RESERVED), ("a", "b")])
    def test_second_monitor_is_told_who_is_there(self, site: Site, names: tuple[str, str]) -> None:
        """Whichever of the two is the usual place; the first goes on, the second never began."""
        place = site.run(1)
        first, second = (site.home / name for name in names)
        site.settings = settings_with(site, first)
        site.start()

        with pytest.raises(LeaseHeld, match=f"mlflow-cleanup monitor.*process {os.getpid()}"):
            site.monitor(state_dir=second).start()

        assert not (second / "ledger.db").exists()
        site.delete(1)
        site.wait(EventKind.QUARANTINED, 1)
        assert not place.exists()

    def test_both_are_free_when_the_first_has_ended(self, site: Site) -> None:
        """Both locks are given back."""
        site.run(1)
        usual, site.settings = site.settings, settings_with(site, site.home / "other")
        first = site.start()
        assert first.stop()

        site.settings = usual
        site.start()

    @pytest.mark.parametrize("verb", [RESTORE, PURGE])
    def test_verb_with_another_one_is_told_too(self, site: Site, verb: str) -> None:
        """It is refused by name, and leaves no request where nobody would answer it."""
        site.run(1)
        site.start()
        settings = settings_with(site, site.home / "other")
        Ledger.open(settings.state_dir).close()

        with pytest.raises(LeaseHeld, match="mlflow-cleanup monitor"):
            do_to_items(settings, verb, [run_id(1)])

        ledger = Ledger.read(settings.state_dir)
        assert ledger.requests.waiting() == []
        ledger.close()


def settings_with(site: Site, state_dir: Path) -> Settings:
    """Return the site's settings with another state directory."""
    return replace(site.settings, state_dir=state_dir)


def lose_everything(state_dir: Path) -> None:
    """Remove the whole state directory, as somebody who tidies up does."""
    shutil.rmtree(state_dir)


def lose_ledger(state_dir: Path) -> None:
    """Remove the ledger's files only."""
    for path in state_dir.glob("ledger.db*"):
        path.unlink()


def replace_ledger(state_dir: Path) -> None:
    """Put another ledger in its place."""
    lose_ledger(state_dir)
    Ledger.open(state_dir).close()


def lose_lock(state_dir: Path) -> None:
    """Remove the lock file only."""
    (state_dir / LOCK_FILE).unlink()


def replace_lock(state_dir: Path) -> None:
    """Put another lock file in its place, which anybody can lock."""
    lose_lock(state_dir)
    (state_dir / LOCK_FILE).touch()


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be removed there")
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lose_everything, "lock file"),
        (lose_lock, "lock file"),
        (replace_lock, "lock file"),
        (lose_ledger, "removed or replaced while it was open"),
        (replace_ledger, "removed or replaced while it was open"),
    ],
)
def test_state_directory_pulled_away_means_that_nothing_moves(
    site: Site, harm: Callable[[Path], None], words: str
) -> None:
    """What it did would be remembered by nobody, or done by two: told once, and nothing done."""
    for number in (1, 2, 3):
        site.run(number)
    monitor = site.start()
    site.delete(1)
    site.wait(EventKind.QUARANTINED, 1)
    harm(site.settings.state_dir)
    before = files_below(site.root)

    site.delete(2)
    assert words in site.wait(EventKind.WAITING).detail
    site.db.set_stage(run_id(1), "active")
    site.delete(3)
    (cycles,) = (item for item in monitor._threads if isinstance(item, cleaner.Cleaner))
    until(lambda: cycles._failures >= 3, "it has tried again")

    assert files_below(site.root) == before
    assert len(site.told(EventKind.WAITING)) == 1
    assert not site.told(EventKind.RESTORED)


def test_standard_error_that_is_closed_ends_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener fails where there is no place to say so: watching and cleaning go on."""
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)

    def fail(event: Event) -> None:
        site.events.append(event)
        raise RuntimeError("the listener is broken")

    places = [site.run(number) for number in (1, 2, 3)]
    monitor = site.monitor(fail)
    monitor.start()
    site.knows(monitor)
    for number in (1, 2):
        site.delete(number)
        site.wait(EventKind.QUARANTINED, number)

    assert [place.exists() for place in places] == [False, False, True]
    assert all(thread.is_alive() for thread in monitor._threads)
