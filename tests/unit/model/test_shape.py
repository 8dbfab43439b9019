from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_cleanup.model.entity import Entity, EntityKind, run
from mlflow_cleanup.model.shape import (
    Shape,
    is_own_place,
    is_usual_experiment,
    shape_of,
)

RUN = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
MODEL, TRACE = f"m-{RUN}", f"tr-{RUN}"
A_RUN, A_MODEL, A_TRACE = (
    run(RUN),
    Entity(EntityKind.LOGGED_MODEL, MODEL),
    Entity(EntityKind.TRACE, TRACE),
)


@pytest.mark.parametrize(
    ("inside", "shape"),
    [
        (f"0/{RUN}", Shape(A_RUN, above=1, depth=2)),
        (f"0/{RUN}/artifacts", Shape(A_RUN, above=1, depth=3)),
        (f"0/{RUN}/artifacts/model/data", Shape(A_RUN, above=1, depth=3)),
        (f"0/{RUN}/other/deep", Shape(A_RUN, above=1, depth=3)),
        (RUN, Shape(A_RUN, above=0, depth=1)),
        (f"{RUN}/artifacts", Shape(A_RUN, above=0, depth=2)),
        (f"workspaces/team/0/{RUN}/artifacts", Shape(A_RUN, above=3, depth=5)),
        (f"0/models/{MODEL}", Shape(A_MODEL, above=1, depth=3)),
        (f"0/models/{MODEL}/artifacts/x", Shape(A_MODEL, above=1, depth=4)),
        (f"models/{MODEL}/artifacts", Shape(A_MODEL, above=0, depth=3)),
        (f"0/traces/{TRACE}/artifacts", Shape(A_TRACE, above=1, depth=4)),
        # The outermost one counts: what lies in a run is the run's.
        (f"0/{RUN}/artifacts/models/{MODEL}/artifacts", Shape(A_RUN, above=1, depth=3)),
        (f"0/models/{MODEL}/artifacts/{RUN}/artifacts", Shape(A_MODEL, above=1, depth=4)),
        (f"0/{RUN}/artifacts/{OTHER}/artifacts", Shape(A_RUN, above=1, depth=3)),
        # A trace of MLflow 2 has an id like a run's.
        (f"0/traces/{RUN}/artifacts", Shape(Entity(EntityKind.TRACE, RUN), above=1, depth=4)),
    ],
)
def test_shape_is_read_from_the_names_on_the_way(inside: str, shape: Shape) -> None:
    """Whose directory it would be, where its experiment is, and where its place begins."""
    assert shape_of(inside.split("/")) == shape


@pytest.mark.parametrize(
    "inside",
    [
        "",
        "0",
        "0/model",
        f"0/{RUN[:-1]}",
        f"0/{RUN}0",
        f"0/{RUN.upper()}",
        f"0/{RUN}\n",
        f"0/ {RUN}",
        f"0/{RUN[:-1]}é",
        f"0/{RUN[:-1]}\udcff",
        "0/models",
        f"0/models/{TRACE}",
        f"0/models/{MODEL}0",
        f"0/models/{MODEL.upper()}",
        f"0/models/{MODEL}\n",
        f"0/Models/{MODEL}",
        f"0/{MODEL}/artifacts",
        f"0/{TRACE}/artifacts",
        f"0/traces/{MODEL}/artifacts",
        "0/models/models",
    ],
)
def test_other_names_have_no_shape(inside: str) -> None:
    """What only resembles one is foreign."""
    assert shape_of(inside.split("/") if inside else []) is None


@given(st.lists(st.sampled_from(["0", "models", "traces", "artifacts", RUN, OTHER, MODEL, TRACE])))
def test_shape_lies_within_the_names(inside: list[str]) -> None:
    """Whatever the way, the place is on it, the entity is named there, the experiment above it."""
    shape = shape_of(inside)
    if shape is None:
        assert RUN not in inside
        return
    assert 0 <= shape.above < shape.depth <= len(inside)
    assert shape.entity.id in inside[shape.above : shape.depth]
    assert shape_of(inside[: shape.depth]) == shape
    assert shape_of(inside[: shape.above]) is None


@pytest.mark.parametrize(
    ("inside", "entity"),
    [
        (f"0/{RUN}/artifacts", A_RUN),
        (f"{RUN}/artifacts", A_RUN),
        (f"any/where/{RUN}/artifacts", A_RUN),
        (f"0/models/{MODEL}/artifacts", A_MODEL),
        (f"0/traces/{TRACE}/artifacts", A_TRACE),
    ],
)
def test_own_place_is_the_entitys_own_directory(inside: str, entity: Entity) -> None:
    """The end of the way names the entity and nothing more; no other entity's place it is."""
    names = inside.split("/")

    assert is_own_place(names, entity)
    for other in (A_RUN, A_MODEL, A_TRACE, run(OTHER)):
        assert is_own_place(names, other) is (other == entity)


@pytest.mark.parametrize(
    ("inside", "entity"),
    [
        ("", A_RUN),
        ("artifacts", A_RUN),
        (RUN, A_RUN),
        (f"0/{RUN}", A_RUN),
        (f"0/{RUN}/artifacts/model", A_RUN),
        (f"0/{RUN}/Artifacts", A_RUN),
        (f"0/{RUN}/artifacts/artifacts", A_RUN),
        (f"0/{OTHER}/artifacts", A_RUN),
        (f"0/{MODEL}/artifacts", A_MODEL),
        (f"0/models/{MODEL}", A_MODEL),
        (f"0/models/{MODEL}/artifacts/model", A_MODEL),
        (f"0/models/m-{OTHER}/artifacts", A_MODEL),
        (f"0/traces/{MODEL}/artifacts", A_MODEL),
        (f"0/models/{TRACE}/artifacts", A_TRACE),
        (f"0/{RUN}/artifacts", Entity(EntityKind.MODEL_VERSION, RUN)),
        (f"0/{RUN}/artifacts", Entity(EntityKind.EXPERIMENT, RUN)),
        (f"0/{RUN}/artifacts", Entity(EntityKind.PIN, RUN)),
    ],
)
def test_any_other_place_is_not_its_own(inside: str, entity: Entity) -> None:
    """Around it, in it, beside it, another's: none of these may be acted on in its name."""
    assert not is_own_place(inside.split("/") if inside else [], entity)


@pytest.mark.parametrize(
    "inside", ["0", "1", "17", "9" * 20, "workspaces/team/0", "workspaces/default/12"]
)
def test_usual_experiment_is_a_number_where_mlflow_puts_it(inside: str) -> None:
    """At the top, or in a workspace."""
    assert is_usual_experiment(inside.split("/"))


@pytest.mark.parametrize(
    "inside",
    [
        "",
        "backup",
        "0/1",
        "9" * 21,
        "-1",
        "0x1",
        "1.0",
        " 1",
        "1\n",
        "٣",  # digits of other scripts are names that somebody gave
        "\uff11",
        "²",
        "backup/0",
        "workspaces",
        "workspaces/0",
        "workspaces/team",
        "workspaces/team/0/1",
        "workspaces/team/more/0",
        "Workspaces/team/0",
    ],
)
def test_other_places_are_no_usual_experiment(inside: str) -> None:
    """A copy of runs that somebody keeps under a name of their own is none of MLflow's."""
    assert not is_usual_experiment(inside.split("/") if inside else [])
