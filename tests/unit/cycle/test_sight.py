from __future__ import annotations

import pytest

from mlflow_cleanup.cycle.sight import Sight
from mlflow_cleanup.errors import TrackingUnreadable
from tests.kit.values import NOW
from tests.kit.world import World


@pytest.fixture
def sight(world: World) -> Sight:
    """A sight that has not looked yet."""
    return Sight(world.workplace, world.ledger.now(world.clock.read()))


def test_unchanged_database_is_not_read_again(world: World, sight: Sight) -> None:
    """As long as nobody commits, what was read last is what counts."""
    world.run()
    first = sight.look()
    sight.refresh()

    assert sight.snapshot is first


def test_every_commit_is_seen(world: World, sight: Sight) -> None:
    """After a commit of anybody the next question is answered from a new read."""
    run = world.run()
    sight.look()
    for change, is_active in ((world.delete, False), (world.undelete, True)):
        change(run)
        sight.refresh()
        assert (run.id in sight.heads.active) is is_active


def test_every_pin_is_seen(world: World, sight: Sight) -> None:
    """A pin is set in the ledger, where no commit to the tracking database tells of it."""
    sight.look()
    for change, is_claimed in (
        (lambda: world.ledger.pins.add(["/srv/kept"], NOW, None), True),
        (lambda: world.ledger.pins.remove(["/srv/kept"]), False),
    ):
        change()
        sight.refresh()
        assert (sight.ground.claims.on_place("/srv/kept/model") is not None) is is_claimed


def test_link_that_leads_elsewhere_is_seen(world: World, sight: Sight) -> None:
    """A claim's text stays as it is in the database; what it means does not."""
    one, other = world.run(), world.run()
    current = world.home / "current"
    current.symlink_to(one.place)
    world.register(str(current / "model"))
    world.delete(one, other)
    first = sight.look()
    sight.refresh()
    assert sight.snapshot is first

    current.unlink()
    current.symlink_to(other.place)
    sight.refresh()
    assert sight.ground.claims.on_place(str(other.place)) is not None


def test_commit_right_after_the_read_began_is_not_missed(
    world: World, sight: Sight, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit between asking for the version and reading makes the next look read once more."""
    run = world.run()
    read = world.workplace.tracking.snapshot

    def read_late(*values: object, **named: object) -> object:
        found = read(*values, **named)  # type: ignore[arg-type]
        world.delete(run)
        return found

    monkeypatch.setattr(world.workplace.tracking, "snapshot", read_late)
    sight.look()
    monkeypatch.undo()
    assert run.id in sight.heads.active

    sight.refresh()
    assert run.id not in sight.heads.active


def test_database_put_in_the_place_of_another_is_read(world: World, sight: Sight) -> None:
    """Another file at the path is a change, whatever its counters say."""
    run = world.run()
    copy = world.home / "copy.db"
    copy.write_bytes(world.db.path.read_bytes())
    sight.look()
    world.delete(run)
    sight.refresh()
    copy.replace(world.db.path)

    sight.refresh()
    assert run.id in sight.heads.active


def test_claims_that_can_no_longer_be_read_are_an_error(world: World, sight: Sight) -> None:
    """A look that misses claims must never be judged from."""
    sight.look()
    world.db.execute("ALTER TABLE model_versions RENAME COLUMN source TO origin")

    with pytest.raises(TrackingUnreadable, match="model_versions"):
        sight.refresh()


def test_missing_database_is_an_error(world: World, sight: Sight) -> None:
    """What cannot be asked again is not taken for unchanged."""
    sight.look()
    world.db.path.unlink()

    with pytest.raises(TrackingUnreadable):
        sight.refresh()


def test_link_that_appeared_is_seen_by_the_next_look(world: World, sight: Sight) -> None:
    """Where paths lead is found out anew with every look."""
    run = world.run({})
    run.place.parent.mkdir(parents=True)
    sight.look()
    uri = f"file://{run.place}"
    assert str(sight.places.locate(uri)) == str(run.place)

    run.place.symlink_to(world.home)
    sight.look()
    assert str(sight.places.locate(uri)) != str(run.place)
