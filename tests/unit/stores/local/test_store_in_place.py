from __future__ import annotations

import errno

import pytest

from mlflow_cleanup.errors import CleanupError
from mlflow_cleanup.model.item import Held, Size
from mlflow_cleanup.stores.base import Presence, Purged, Restored
from tests.kit.children import mount_bind, mount_tmpfs, with_own_mounts
from tests.kit.faults import before, fail
from tests.kit.grounds import INSIDE, NOTE, RUN, LocalGround, always, item_at, place
from tests.kit.trees import File, Link, Tree, files_of, look, plant

TREE: Tree = {
    "model": {"MLmodel": File(b"flavours", 0o640), "weights": File(b"\x00" * 100, 0o444)},
    "script": File(b"#!", 0o755),
    "latest": Link("model"),
    "empty": {},
}
OTHER_DISK = OSError(errno.EXDEV, "Invalid cross-device link")


def test_what_lies_on_another_file_system_is_held_in_place(ground: LocalGround) -> None:
    """Where no rename is possible nothing is copied: the bytes stay, and the trash is empty."""
    before_it = ground.fill(TREE)

    with before("rename", fail(OTHER_DISK)):
        item = ground.quarantine()

    assert item.held is Held.IN_PLACE
    assert ground.look() == before_it
    assert look(ground.trash()) == {}
    assert ground.store().find(item) == Presence(at_origin=True, in_trash=False)
    assert ground.store().measure(item, always) == Size(4, 115)


def test_held_in_place_is_restored_by_doing_nothing(ground: LocalGround) -> None:
    """A restore of what never moved leaves it as it is."""
    before_it = ground.fill(TREE)

    assert ground.store().restore(item_at(place(ground), held=Held.IN_PLACE)) == Restored()

    assert look(ground.path) == before_it


def test_held_in_place_is_purged_in_place(ground: LocalGround) -> None:
    """A purge removes what lies at the origin, and the emptied run directory with it."""
    ground.fill(TREE)
    plant(ground.at("7", "other", "artifacts"), {"kept": File(b"1")})
    item = item_at(place(ground), held=Held.IN_PLACE)

    assert ground.store().purge(item, always) == Purged(Size(4, 115), complete=True)

    assert files_of(look(ground.path)) == {"7/other/artifacts/kept": b"1"}
    assert not ground.at("7", RUN).exists()
    assert ground.store().purge(item, always) == Purged(Size(), complete=True)


def test_purge_in_place_never_removes_the_experiment(ground: LocalGround) -> None:
    """The run's directory may go with the last artifacts, the experiment's never."""
    ground.fill(TREE)

    ground.store().purge(item_at(place(ground), held=Held.IN_PLACE), always)

    assert set(look(ground.path)) == {"7"}


@pytest.mark.parametrize("where", [("7",), ("7", RUN)], ids=["experiment", "run"])
def test_mounted_artifacts_are_held_restored_and_purged_in_place(
    ground: LocalGround, where: tuple[str, ...]
) -> None:
    """Artifacts on a file system mounted below the root are never copied into the trash."""

    def body() -> None:
        mount_tmpfs(ground.at(*where))
        before_it = ground.fill(TREE)

        item = ground.quarantine()
        assert item.held is Held.IN_PLACE
        assert look(ground.path) == before_it

        assert ground.store().restore(item) == Restored()
        assert look(ground.path) == before_it
        assert ground.store().purge(item, always) == Purged(Size(4, 115), complete=True)
        assert files_of(look(ground.path)) == {}

    with_own_mounts(body)


def test_mounted_trash_holds_in_place(ground: LocalGround) -> None:
    """A trash on another file system than the artifacts cannot take them."""

    def body() -> None:
        mount_tmpfs(ground.trash())
        before_it = ground.fill(TREE)

        assert ground.quarantine().held is Held.IN_PLACE

        assert ground.look() == before_it
        assert look(ground.trash()) == {}

    with_own_mounts(body)


def test_artifacts_that_are_a_mount_point_themselves_stay(ground: LocalGround) -> None:
    """What is mounted right at the location is somebody's on purpose, and is not moved."""

    def body() -> None:
        outside = plant(ground.path.with_name("outside"), {"theirs": File(b"theirs")})
        mount_bind(outside, ground.at(*INSIDE))

        with pytest.raises(CleanupError):
            ground.store().quarantine(place(ground), "item1", NOTE)

        assert files_of(look(outside)) == {"theirs": b"theirs"}
        assert files_of(look(ground.at(*INSIDE))) == {"theirs": b"theirs"}
        assert not ground.trash("item1").exists()

    with_own_mounts(body)
