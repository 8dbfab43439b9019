from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from mlflow_cleanup.model.entity import Entity, EntityKind, run
from mlflow_cleanup.model.item import Size
from mlflow_cleanup.model.location import Location
from mlflow_cleanup.model.plan import Plan
from mlflow_cleanup.model.verdict import Keep, Kept


def test_sizes_add_up() -> None:
    """Files and bytes are added each by themselves."""
    assert Size(1, 10) + Size(2, 100) == Size(3, 110)
    assert Size() + Size(1, 1_000) == Size(1, 1_000)


def test_an_entity_is_known_by_kind_and_id() -> None:
    """A run and a logged model with one id are two things."""
    assert run("1") == Entity(EntityKind.RUN, "1")
    assert run("1") != Entity(EntityKind.LOGGED_MODEL, "1")
    assert str(run("1")) == "run 1"


def test_a_keep_says_its_reason_and_who_stands_in_the_way() -> None:
    """The reason stands alone or with its detail in brackets."""
    assert str(Keep(Kept.PINNED)) == "pinned by an operator"
    assert str(Keep(Kept.LIVE_CLAIM, "trace tr-1")) == "a live entity still claims it (trace tr-1)"


@pytest.mark.parametrize("kept", list(Kept))
def test_only_somebodys_wish_is_a_protection(kept: Kept) -> None:
    """An active run, a claim and a pin protect; every other reason is our own not knowing."""
    assert kept.is_protection == (kept in {Kept.ACTIVE, Kept.LIVE_CLAIM, Kept.PINNED})


@pytest.mark.parametrize("value", [Size(), run("1"), Location("/r", ("a",)), Plan()])
def test_the_nouns_are_values_that_cannot_be_changed(value: object) -> None:
    """A value handed down stays what it was."""
    field = next(iter(type(value).__slots__))  # type: ignore[attr-defined]

    with pytest.raises(FrozenInstanceError):
        setattr(value, field, None)
