from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlflow_cleanup.model.entity import Entity, EntityKind, run
from mlflow_cleanup.model.inventory import Inventory, Listed, Place, Unseen
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.observe.listing import take_inventory
from tests.kit.tracking_db import run_id

RUN, OTHER = run_id(0xA), run_id(0xB)
MODEL, TRACE = f"m-{RUN}", f"tr-{RUN}"


def listed(inside: str, files: int = 0, size: int = 0, **more: Any) -> Listed:  # noqa: ANN401 - the fields' own types
    """Make one directory of a listing."""
    names = tuple(inside.split("/")) if inside else ()
    marked = more.pop("marked", Size())
    values = {"newest": 0.0, "has_directories": False, **more}
    return Listed(
        names, files, size, marked_files=marked.files, marked_bytes=marked.bytes, **values
    )


def inventory(*found: Listed | Unseen) -> Inventory:
    """Take the inventory of a root."""
    return take_inventory("/art", found)


def places(*found: Listed) -> dict[str, Place]:
    """Return the recognised places by their paths inside the root."""
    return {"/".join(inside): place for inside, place in inventory(*found).places.items()}


def test_a_whole_root_is_added_up() -> None:
    """Every byte is under one recognised place or foreign, and counts once in the total."""
    found = inventory(
        listed("", 1, 1, has_directories=True),
        listed("0", 0, 0, has_directories=True),
        listed(f"0/{RUN}", has_directories=True),
        listed(f"0/{RUN}/artifacts", 1, 10, newest=5.0, has_directories=True),
        listed(f"0/{RUN}/artifacts/model", 2, 100, newest=7.0, marked=Size(1, 60)),
        listed(f"0/{RUN}/artifacts/model/deep", 3, 1_000, newest=6.0, marked=Size(3, 1_000)),
        listed(f"0/models/{MODEL}/artifacts", 1, 10_000, newest=3.0),
        listed(f"0/traces/{TRACE}/artifacts", 1, 100_000, newest=4.0),
        listed("0/notes", 1, 1_000_000),
        listed("0/notes/deep/er", 1, 2_000_000),
        listed("backup", 1, 10_000_000),
        Unseen("/art/closed", "Permission denied"),
    )

    assert found == Inventory(
        root="/art",
        places={
            ("0", RUN, "artifacts"): Place(
                run(RUN),
                ("0", RUN, "artifacts"),
                ("0",),
                is_shell=False,
                size=Size(6, 1_110),
                newest=7.0,
                marked=Size(4, 1_060),
            ),
            ("0", "models", MODEL, "artifacts"): Place(
                Entity(EntityKind.LOGGED_MODEL, MODEL),
                ("0", "models", MODEL, "artifacts"),
                ("0",),
                is_shell=False,
                size=Size(1, 10_000),
                newest=3.0,
            ),
            ("0", "traces", TRACE, "artifacts"): Place(
                Entity(EntityKind.TRACE, TRACE),
                ("0", "traces", TRACE, "artifacts"),
                ("0",),
                is_shell=False,
                size=Size(1, 100_000),
                newest=4.0,
            ),
        },
        foreign={"": Size(1, 1), "0/notes": Size(2, 3_000_000), "backup": Size(1, 10_000_000)},
        total=Size(12, 13_111_111),
        unseen=(Unseen("/art/closed", "Permission denied"),),
    )


def test_an_empty_directory_of_an_entity_is_its_shell() -> None:
    """What MLflow's own gc leaves: nothing in it, not even `artifacts`."""
    found = places(
        listed(f"0/{RUN}", newest=5.0),
        listed(f"0/models/{MODEL}", newest=6.0),
        listed(f"0/traces/{TRACE}", newest=7.0),
    )

    assert {path: (place.is_shell, place.newest) for path, place in found.items()} == {
        f"0/{RUN}": (True, 5.0),
        f"0/models/{MODEL}": (True, 6.0),
        f"0/traces/{TRACE}": (True, 7.0),
    }


def test_a_directory_with_anything_in_it_is_no_shell() -> None:
    """A file without a byte, an empty directory, or `artifacts`, empty or not."""
    found = places(
        listed(f"0/{RUN}", 1, 0),
        listed(f"1/{RUN}", has_directories=True),
        listed(f"2/{RUN}", has_directories=True),
        listed(f"2/{RUN}/artifacts"),
    )

    assert {path: place.is_shell for path, place in found.items()} == {f"2/{RUN}/artifacts": False}


def test_what_lies_beside_artifacts_is_foreign() -> None:
    """MLflow puts nothing there: somebody else did."""
    found = inventory(
        listed(f"0/{RUN}", 1, 10, has_directories=True),
        listed(f"0/{RUN}/artifacts", 1, 100),
        listed(f"0/{RUN}/notes", 1, 1_000),
        listed(f"0/{RUN}/notes/deep", 1, 10_000),
        listed(f"0/models/{MODEL}", 1, 100_000),
    )

    assert found.places[("0", RUN, "artifacts")].size == Size(1, 100)
    assert found.foreign == {f"0/{RUN}": Size(3, 11_010), "0/models": Size(1, 100_000)}


def test_an_empty_directory_beside_artifacts_is_not_the_entitys_shell() -> None:
    """Whatever it counts as, it is not the run's directory, and nothing of the run's is in it."""
    found = places(
        listed(f"0/{RUN}", has_directories=True), listed(f"0/{RUN}/empty"), listed(f"0/{RUN}/a/b")
    )

    assert f"0/{RUN}" not in found
    assert f"0/{RUN}/a" not in found  # it holds a directory
    assert all(place.inside[-1] != RUN and not place.size.files for place in found.values())


def test_what_lies_in_an_entity_is_its_own() -> None:
    """An experiment inside a run's directory, or a model logged as files: the outermost counts."""
    found = inventory(
        listed(f"0/{RUN}/artifacts", 1, 1),
        listed(f"0/{RUN}/artifacts/7/{OTHER}", has_directories=True),
        listed(f"0/{RUN}/artifacts/7/{OTHER}/artifacts", 1, 10),
        listed(f"0/{RUN}/artifacts/models/{MODEL}", 1, 100),
    )

    assert list(found.places) == [("0", RUN, "artifacts")]
    assert found.places[("0", RUN, "artifacts")].size == Size(3, 111)
    assert found.foreign == {}


def test_empty_directories_are_not_worth_a_word() -> None:
    """Foreign is what holds files; where nothing lies nothing is reported."""
    found = inventory(listed(""), listed("a"), listed("a/b", has_directories=True))

    assert (found.places, found.foreign, found.total) == ({}, {}, Size())


def test_a_place_that_vanished_is_no_shell() -> None:
    """A store tells it as a directory that holds others: nothing is removed for it."""
    found = places(listed(f"0/{RUN}", has_directories=True), listed(f"0/{RUN}/artifacts"))

    assert not any(place.is_shell for place in found.values())


_NAMES = st.sampled_from(["0", "models", "traces", "artifacts", "x", RUN, OTHER, MODEL, TRACE])
_LISTED = st.builds(
    Listed,
    st.lists(_NAMES, max_size=6).map(tuple),
    st.integers(0, 9),
    st.integers(0, 99),
    st.floats(0, 9),
    st.booleans(),
)


@given(st.lists(_LISTED, max_size=20, unique_by=lambda one: one.inside))
def test_no_byte_is_lost_or_counted_twice(found: list[Listed]) -> None:
    """Places and foreign add up to the total; only files count, and a shell has none."""
    around = {one.inside[:depth] for one in found for depth in range(len(one.inside))}
    found = [one._replace(has_directories=one.inside in around) for one in found]
    files = [one for one in found if one.size.files]
    made = take_inventory("/art", files)
    counted = sum((place.size for place in made.places.values()), Size())
    foreign = sum(made.foreign.values(), Size())

    assert counted + foreign == made.total == sum((one.size for one in files), Size())
    shells = [place for place in take_inventory("/art", found).places.values() if place.is_shell]
    assert not any(place.size.files for place in shells)
