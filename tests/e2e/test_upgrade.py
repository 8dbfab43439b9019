"""`mlflow db upgrade` from 2.22 to 3.17, under the eyes of the monitor."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflow_cleanup.errors import CleanupError
from tests.kit.estates import Fate
from tests.kit.older import serve_older
from tests.kit.programs import ENDS_S, until
from tests.kit.server import Site, environment_of
from tests.kit.tracking_db import NEWEST, REVISIONS
from tests.kit.upgrade_steps import upgrading_in_steps
from tests.kit.used_release import AT_ONCE, Used, adopt, taken, used_release

pytestmark = pytest.mark.e2e

FILES = {"model/MLmodel": b"flavors: {}\n", "weights.bin": b"w" * 1_000}


@pytest.fixture(params=["2.22", "3.10"])
def used(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Used]:
    """A database of an older release, with everything that it has, whose root was adopted."""
    made = used_release(tmp_path / "home", request.param)
    adopt(made.world)
    made.world.restart(terms=AT_ONCE)
    yield made
    made.world.close()


def upgrading(database: Path) -> subprocess.Popen[bytes]:
    """Start `mlflow db upgrade`."""
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{database}"]
    return subprocess.Popen(
        command,
        cwd=database.parent,
        env=environment_of(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("used", ["2.22"], indirect=True)
def test_whatever_is_seen_of_an_upgrade_nothing_live_would_be_taken(used: Used) -> None:
    """Looked at all the time while it runs: no plan has anything that the first one had not."""
    world, estate, before = used.world, used.estate, used.files()
    gone = estate.of(Fate.GOES, Fate.ORPHAN)
    assert taken(world.plan()) == gone
    told, looks, seen = world.told(), 0, set()
    upgrade = upgrading(world.db.path)
    try:
        while upgrade.poll() is None:
            try:
                assert taken(world.plan()) <= gone
                world.cycle()
                seen.add(world.workplace.tracking.layout().schema.revision)
                looks += 1
            except CleanupError:
                continue  # not to be read, or not everything of it: nothing is judged
    finally:
        upgrade.kill()
        code = upgrade.wait(ENDS_S)
    assert code == 0
    assert looks >= len(seen) > 1
    assert REVISIONS[estate.version] in seen
    assert used.files() == before
    assert world.told() == told

    assert world.workplace.tracking.layout().schema.revision == REVISIONS[NEWEST]
    world.cycle()
    assert taken(world.plan()) == gone
    used.delete("live child")
    world.cycle()
    assert world.bytes_at(used.run("live child")) == 0


def test_no_step_of_an_upgrade_lets_anything_live_go(used: Used) -> None:
    """Stopped before each of its changes, in whatever state the tables are there."""
    world, estate, before = used.world, used.estate, used.files()
    gone, told = estate.of(Fate.GOES, Fate.ORPHAN), world.told()
    looks = 0
    with upgrading_in_steps(world.db.path) as steps:
        for statement in steps:
            looks += 1
            try:
                plan = world.plan()
                world.cycle()
            except CleanupError:
                continue  # not to be read, or not everything of it: nothing is judged
            assert taken(plan) <= gone, statement
    assert looks > 50
    assert used.files() == before
    assert world.workplace.tracking.layout().schema.revision == REVISIONS[NEWEST]
    world.cycle()
    assert world.told() == told
    assert taken(world.plan()) == gone


def test_from_a_server_of_the_old_release_to_one_of_the_new(bare_site: Site) -> None:
    """Watched all the while: what was deleted before comes back after, and deletes go on."""
    site = bare_site
    mlflow, old = site.tracking, serve_older(site)
    runs = [mlflow.log_run(FILES) for _ in range(4)]
    before = [site.tree(run) for run in runs]
    mlflow.register(f"runs:/{runs[1].id}/model", runs[1])
    watch = site.watch(known=4)
    for run in runs[:2]:
        mlflow.delete(run)
    watch.line(runs[0].id, "moved to the trash")
    watch.line(runs[1].id, "kept")
    old.end()

    assert upgrading(site.database).wait(ENDS_S) == 0
    site.serve_plainly("--artifacts-destination", str(site.root))
    assert [site.events(run) for run in runs] == [["quarantined"], ["kept"], [], []]
    mlflow.restore(runs[0])
    watch.line(runs[0].id, "are back")
    mlflow.delete(runs[2])
    watch.line(runs[2].id, "moved to the trash")

    assert [site.tree(run) for run in runs] == [before[0], before[1], {}, before[3]]
    assert until(lambda: set(site.kept()), "what is kept") == {runs[1].id}
    assert mlflow.download(runs[0], "weights.bin") == FILES["weights.bin"]
    assert watch.is_running
