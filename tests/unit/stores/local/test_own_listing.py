from __future__ import annotations

import shutil

from mlflow_cleanup.model.inventory import Listed, Unseen
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import RESERVED, Location
from tests.kit.grounds import INSIDE, NOTE, LocalGround, always

FILES = {"a": b"1", "deep/er/b": b"22"}


def held(ground: LocalGround) -> dict[tuple[str, ...], Size]:
    """Return what is listed by what it belongs to."""
    found: dict[tuple[str, ...], Size] = {}
    for one in ground.store().own_listing(always):
        assert isinstance(one, Listed)
        found[one.inside] = found.get(one.inside, Size()) + one.size
    return found


def test_trash_is_listed_by_item(ground: LocalGround) -> None:
    """What an item holds is told by its id; its note and the marker belong to none."""
    place = Location(ground.root, INSIDE)
    ground.put(place, FILES)
    ground.store().mark()
    ground.store().quarantine(place, "item1", NOTE)

    found = held(ground)

    own = ground.path / RESERVED
    rest = [own / "owner.json", own / "trash" / "item1" / "origin.json"]
    assert found.pop(()) == Size(2, sum(path.stat().st_size for path in rest))
    assert found == {
        ("item1",): Size(1, 1),
        ("item1", "deep"): Size(),
        ("item1", "deep", "er"): Size(1, 2),
    }


def test_nothing_of_ours_is_nothing(ground: LocalGround) -> None:
    """Where we never were there is nothing to list."""
    ground.put(Location(ground.root, INSIDE), FILES)

    assert list(ground.store().own_listing(always)) == []


def test_directory_within_of_our_name_is_listed(ground: LocalGround) -> None:
    """Whatever somebody puts there is counted."""
    (ground.path / RESERVED / RESERVED).mkdir(parents=True)
    (ground.path / RESERVED / RESERVED / "x").write_bytes(b"123")

    assert held(ground) == {(): Size(1, 3)}


def test_link_in_its_place_is_unseen(ground: LocalGround) -> None:
    """Nothing is counted behind a link, least of all as the trash."""
    ground.store().mark()
    shutil.move(ground.path / RESERVED, ground.path / "elsewhere")
    (ground.path / RESERVED).symlink_to("elsewhere")

    [found] = ground.store().own_listing(always)

    assert isinstance(found, Unseen)
    assert found.path == str(ground.path / RESERVED)
